"""Kept packages: who uses them keeps them, who waits goes on, and what a kill leaves of them goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Event

import pytest

from cosmos_venv.dbt.packages import PackageStore
from cosmos_venv.files.kernel_lock import Lease
from cosmos_venv.files.permissions import make_directory
from tests.dbt.harbor import DEADLINE, Project


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


def test_what_somebody_is_removing_is_not_used(project: Project) -> None:
    with project.installed():
        pass
    removing = Lease.exclusive(project.kept[0] / "use")
    assert removing is not None

    with closing(removing), project.installed():
        pass

    assert project.installations == 2


def test_half_an_installation_is_not_used_and_goes_in_time(project: Project) -> None:
    """A kill in the middle of keeping leaves such a folder."""
    half = project.root / "store" / f".{'0123' * 8}"
    (half / "packages" / "cranes").mkdir(parents=True)
    os.utime(half, (time.time() - 7200,) * 2)

    with project.installed():
        pass

    assert project.installations == 1
    assert not half.exists()


def is_open_to_others(folder: Path) -> bool:
    return any(path.lstat().st_mode & 0o022 for path in folder.rglob("*") if not path.is_symlink())


def test_nothing_of_what_is_kept_is_open_to_others_whatever_the_umask(project: Project) -> None:
    store = PackageStore(folder=project.root / "store", make_directory=make_directory)
    before = os.umask(0)
    try:
        for _ in range(2):
            with project.installed(stores=[store]):
                pass
    finally:
        os.umask(before)

    assert (project.installations, is_open_to_others(store.folder)) == (1, False)


@pytest.mark.parametrize("name", ["packages/cranes/macros.sql", "packages/cranes", "packages", ".", "..", "../.."])
def test_what_others_could_have_written_or_replaced_is_not_used(project: Project, name: str) -> None:
    with project.installed():
        pass
    path = project.kept[0] / name
    before = path.stat().st_mode
    path.chmod(0o777)

    with project.installed():
        pass
    with suppress(FileNotFoundError):
        path.chmod(before)

    assert project.installations == 2


TAKE_TURN = """
import sys, time
from pathlib import Path
from cosmos_venv.dbt.packages import PackageStore
from cosmos_venv.processes.cancellation import Cancellation
store = PackageStore(folder=Path(sys.argv[1]), make_directory=lambda path: path.mkdir(exist_ok=True))
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


def test_a_task_that_begins_while_packages_are_copied_shares_them(project: Project) -> None:
    waits, others = Event(), list[Future[bytes]]()

    class Telling(list[str]):
        def append(self, line: str) -> None:
            super().append(line)
            if "Another task installs the same dbt packages" in line:
                waits.set()

    def install_too() -> bytes:
        with project.installed(max_age=0, stores=[store]) as packages:
            return (packages / "cranes" / "macros.sql").read_bytes()

    def make_directory(path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        if path.name == "packages" and not others:  # the copy begins
            others.append(pool.submit(install_too))
            assert waits.wait(DEADLINE)

    project.lines = Telling()
    store = PackageStore(folder=project.root / "store", make_directory=make_directory)
    with ThreadPoolExecutor() as pool, project.installed(max_age=0, stores=[store]):
        found = others[0].result(DEADLINE)

    assert found == b"installation 1"
