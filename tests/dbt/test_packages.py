"""Packages that are installed once: who finds them, who installs, and what a kill or a cleaner leaves of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from cosmos_venv.dbt.package_files import read_package_files
from cosmos_venv.dbt.package_store import PackageStore
from cosmos_venv.dbt.packages import ProjectPackages
from cosmos_venv.guarded import Cancellation

DEADLINE = 30.0


def make_directory(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def make_store(folder: Path, *, trusted: bool = True, is_read_only: bool = False) -> PackageStore:
    return PackageStore(
        folder=folder, make_directory=make_directory, is_trusted=lambda _: trusted, is_read_only=is_read_only
    )


class Project:
    """A project with a package from somewhere and a local one, and what ``dbt deps`` would do in its stead."""

    def __init__(self, root: Path) -> None:
        self.path = root / "harbor"
        self.root = root
        for folder in (self.path, root / "shared"):
            folder.mkdir()
            (folder / "dbt_project.yml").write_text(f"name: {folder.name}\n")
        (self.path / "packages.yml").write_text("packages:\n  - package: port/cranes\n  - local: ../shared\n")
        self.installations = 0
        self.lines: list[str] = []

    def digest(self, *, variables: str = "", which_dbt: str = "1", **env: str) -> str | None:
        return read_package_files(self.path).digest(variables=variables, env=env, which_dbt=which_dbt)

    @contextmanager
    def installed(
        self, *, max_age: float = 3600, stores: Sequence[PackageStore] | None = None, fails: bool = False
    ) -> Iterator[Path]:
        """The packages folder of a place of its own."""
        packages = ProjectPackages(
            project_dir=self.path,
            digest=self.digest(),
            stores=tuple(stores or [make_store(self.root / "store")]),
            max_age=max_age,
            max_wait=DEADLINE,
        )
        place = self.root / f"run-{time.time_ns()}" / "harbor"
        place.mkdir(parents=True)

        def install() -> None:
            if fails:
                raise ValueError("no such package")
            self.installations += 1
            cranes = place / "dbt_packages" / "cranes"
            (cranes / ".git").mkdir(parents=True)
            (cranes / "macros.sql").write_text(f"installation {self.installations}")
            (place / "dbt_packages" / "shared").symlink_to(place.parent / "shared")
            lock = place / "package-lock.yml"
            own = self.path / "package-lock.yml"
            lock.write_text(own.read_text() if own.exists() else "packages: [cranes 1.0]\n")

        with packages.installed(
            place, install=install, cancellation=Cancellation(), report=self.lines.append
        ) as self.keep_open:
            yield place / "dbt_packages"
        shutil.rmtree(place.parent)

    @property
    def kept(self) -> list[Path]:
        return sorted((self.root / "store").glob("*.*[0-9]"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_second_command_gets_what_the_first_one_installed(project: Project) -> None:
    with project.installed():
        pass
    with project.installed() as packages:
        assert (packages / "cranes" / "macros.sql").read_text() == "installation 1"
        assert (packages / "shared").resolve() == project.root / "shared"
        assert (packages.parent / "package-lock.yml").read_text() == "packages: [cranes 1.0]\n"
        assert not (packages / "cranes" / ".git").exists()

    assert project.installations == 1


def test_what_fails_is_not_kept_and_its_error_goes_on(project: Project) -> None:
    with pytest.raises(ValueError, match="no such package"), project.installed(fails=True):
        pass

    assert not project.kept
    with project.installed():
        assert project.installations == 1


@pytest.mark.parametrize(
    ("has_lock", "max_age", "installations"),
    [
        pytest.param(False, 3600, 1, id="young"),
        pytest.param(False, 0, 2, id="too-old"),
        pytest.param(True, 0, 1, id="pinned"),
    ],
)
def test_without_a_lock_file_an_installation_is_used_for_a_while_and_with_one_for_ever(
    project: Project, has_lock: bool, max_age: float, installations: int
) -> None:
    if has_lock:
        (project.path / "package-lock.yml").write_text("packages: [cranes 1.2]\n")

    for _ in range(2):
        with project.installed(max_age=max_age):
            pass

    assert project.installations == installations


def test_a_file_that_a_cleaner_took_away_is_noticed(project: Project) -> None:
    with project.installed():
        pass
    (project.kept[0] / "packages" / "cranes" / "macros.sql").unlink()

    with project.installed() as packages:
        assert (packages / "cranes" / "macros.sql").read_text() == "installation 2"


def test_what_a_newer_one_stands_for_is_removed_unless_it_is_used(project: Project) -> None:
    with project.installed(), project.installed() as used:
        with project.installed(max_age=0):
            pass
        assert (used / "cranes" / "macros.sql").read_text() == "installation 1"
        assert len(project.kept) == 2

    with project.installed(max_age=0):
        pass

    assert len(project.kept) == 1


def test_a_child_that_has_the_descriptor_keeps_the_packages(project: Project) -> None:
    with project.installed():
        pass
    with project.installed():
        child = subprocess.Popen(["sleep", "60"], pass_fds=project.keep_open)
    try:
        with project.installed(max_age=0):
            pass
        assert len(project.kept) == 2
    finally:
        child.kill()
        child.wait()


def test_half_an_installation_is_not_used_and_goes_in_time(project: Project) -> None:
    """What a kill leaves in the middle of keeping."""
    half = project.root / "store" / ".0123"
    (half / "packages" / "cranes").mkdir(parents=True)
    os.utime(half, (time.time() - 7200,) * 2)

    with project.installed():
        pass

    assert project.installations == 1
    assert not half.exists()


@pytest.mark.parametrize("reason", ["untrusted", "unwritable"])
def test_where_nothing_can_be_kept_each_command_installs(project: Project, reason: str) -> None:
    (project.root / "file").write_text("")
    store = make_store(project.root / ("file" if reason == "unwritable" else "store"), trusted=reason != "untrusted")

    for _ in range(2):
        with project.installed(stores=[store]) as packages:
            assert (packages / "cranes" / "macros.sql").exists()

    assert project.installations == 2
    assert any("not kept for other tasks" in line for line in project.lines)


def test_where_the_first_store_cannot_be_used_the_next_one_is(project: Project) -> None:
    (project.root / "file").write_text("")
    stores = [make_store(project.root / "file"), make_store(project.root / "store")]

    for _ in range(2):
        with project.installed(stores=stores):
            pass

    assert project.installations == 1
    assert len(project.kept) == 1


def test_a_store_that_comes_with_the_image_is_looked_at_first_and_never_written_to(project: Project) -> None:
    with project.installed(stores=[make_store(project.root / "image")]):
        pass
    stores = [make_store(project.root / "image", is_read_only=True), make_store(project.root / "store")]

    with project.installed(stores=stores) as packages:
        assert (packages / "cranes").resolve().is_relative_to(project.root / "image")
    assert not project.kept
    with project.installed(stores=stores, max_age=0):
        pass

    assert len(project.kept) == 1
    assert len(list((project.root / "image").glob("*.*[0-9]"))) == 1


TAKE_TURN = """
import sys, time
from pathlib import Path
from cosmos_venv.dbt.package_store import PackageStore
from cosmos_venv.guarded import Cancellation
store = PackageStore(folder=Path(sys.argv[1]), make_directory=lambda path: path.mkdir(exist_ok=True), is_trusted=bool)
assert store.is_usable()
with store.turn(sys.argv[2], max_wait=30, cancellation=Cancellation(), report=lambda line: None):
    print("in", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def somebody_installs(project: Project) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """A process that has its turn, for the project's packages."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", TAKE_TURN, str(project.root / "store"), str(project.digest())]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout is not None
        assert started[-1].stdout.readline() == "in\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_who_waits_for_an_installer_that_is_killed_goes_on_itself(
    project: Project, somebody_installs: Callable[[], subprocess.Popen[str]]
) -> None:
    installer = somebody_installs()
    waiting = project.lines

    class Killing(list[str]):
        def append(self, line: str) -> None:
            super().append(line)
            installer.kill()

    project.lines = Killing(waiting)
    with project.installed() as packages:
        assert packages.is_dir()

    assert "Another task installs the same dbt packages" in project.lines[0]
    assert project.installations == 1


def test_two_who_have_waited_do_not_wait_for_each_other(
    project: Project, somebody_installs: Callable[[], subprocess.Popen[str]]
) -> None:
    """A package index that is down takes dbt minutes: one after the other would take that long for each."""
    store, digest = make_store(project.root / "store"), str(project.digest())
    installer = somebody_installs()
    waited: list[str] = []

    def end_it(line: str) -> None:
        waited.append(line)
        installer.kill()

    with (
        store.turn(digest, max_wait=DEADLINE, cancellation=Cancellation(), report=end_it),
        store.turn(digest, max_wait=DEADLINE, cancellation=Cancellation(), report=pytest.fail),
    ):
        assert len(waited) == 1


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        pytest.param({"which_dbt": "2"}, True, id="another-dbt"),
        pytest.param({"variables": "day: Monday"}, False, id="vars-that-nobody-reads"),
        pytest.param({"PORT": "1"}, False, id="environment-that-nobody-reads"),
        pytest.param({"DBT_PACKAGE_HUB_URL": "https://hub.example"}, True, id="another-hub"),
    ],
)
def test_what_counts_without_jinja(project: Project, change: dict[str, str], is_another: bool) -> None:
    assert (project.digest(**change) != project.digest()) is is_another


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        pytest.param({"variables": "day: Monday"}, True, id="vars"),
        pytest.param({"REVISION": "v2"}, True, id="a-variable-that-is-named"),
        pytest.param({"DBT_ENV_SECRET_TOKEN": "s3cret"}, False, id="a-password"),
        pytest.param({"PORT": "1"}, False, id="another-variable"),
    ],
)
def test_what_counts_with_jinja(project: Project, change: dict[str, str], is_another: bool) -> None:
    (project.path / "packages.yml").write_text(
        "packages:\n  - git: \"https://{{ env_var('DBT_ENV_SECRET_TOKEN') }}@example.com/cranes.git\"\n"
        "    revision: \"{{ env_var('REVISION', 'v1') }}\"\n"
    )

    assert (project.digest(**change) != project.digest()) is is_another


@pytest.mark.parametrize(
    "file", ["packages.yml", "package-lock.yml", "../shared/packages.yml", "../shared/dbt_project.yml"]
)
def test_each_file_counts_also_those_of_local_packages(project: Project, file: str) -> None:
    before = project.digest()

    (project.path / file).write_text("packages:\n  - package: port/other\n  - local: ../shared\n")

    assert project.digest() != before


@pytest.mark.parametrize(
    "entry",
    ["local: \"{{ env_var('WHERE') }}\"", 'git: "{{ env_var(which) }}"', "git: [unclosed"],
    ids=["local-path", "variable", "not-yaml"],
)
def test_what_only_dbt_can_tell_is_never_shared(project: Project, entry: str) -> None:
    (project.path / "packages.yml").write_text(f"packages:\n  - {entry}\n")

    assert project.digest() is None
    with project.installed(), project.installed():
        pass
    assert project.installations == 2
