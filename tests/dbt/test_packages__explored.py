"""Packages of one project in every order of the steps of two tasks: whoever runs dbt has whole ones until dbt ends.

The model: an installation is there whole or not at all, and whoever uses it has a whole copy. Of those that need the
same, one installs and the others take what it has made; where it was killed, another one installs.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from cosmos_venv.dbt import packages
from cosmos_venv.dbt.packages import PackageStore, ProjectPackages, archive_of
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv import Contender, CosmosRace
from pytest_cosmos_venv.explore.explorer import FailingSchedule
from pytest_cosmos_venv.explore.run import Schedule
from tests.dbt.harbor import make_directory
from tests.explored import FURTHER, PROOF, SECONDS

DIGEST = "d" * 64
FILES = ("cranes/dbt_project.yml", "cranes/macros.sql")
AN_HOUR = 3600.0
KNOWN = re.compile(rf"{DIGEST}\.(tar\.gz|flock)")
APART = re.compile(r"\.[0-9a-f]{32}")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project outside of the explored folder: nobody changes it."""
    path = tmp_path / "harbor"
    path.mkdir()
    (path / "dbt_project.yml").write_text("name: harbor\n")
    (path / "packages.yml").write_text("packages:\n  - package: port/cranes\n")
    return path


class Tasks:
    """The tasks of one project.

    :param project: its folder.
    :param max_age: seconds for which an installation is used; 0: each task installs anew.
    """

    def __init__(self, project: Path, max_age: float = AN_HOUR) -> None:
        self._project = project
        self._max_age = max_age

    def use(self, contender: Contender) -> bool:
        """A task: it has whole packages when dbt begins, and when it ends; returns whether it has installed them."""
        place = contender.folder / f"place-{contender.index}"
        place.mkdir()
        has_installed = False

        def install() -> None:
            nonlocal has_installed
            has_installed = True
            for name in FILES:
                (place / "dbt_packages" / name).parent.mkdir(parents=True, exist_ok=True)
                (place / "dbt_packages" / name).touch()

        self._packages(contender.folder).install_into(
            place, install=install, cancellation=Cancellation(), report=lambda _: None
        )
        assert not missing(place), f"not whole: {missing(place)}"
        contender.point("dbt runs")
        assert not missing(place), f"removed in use: {missing(place)}"
        return has_installed

    def published(self, folder: Path) -> None:
        """An installation that another task has made."""
        store = make_store(folder)
        assert store.is_usable()
        installed = folder / "installed"
        for name in FILES:
            (installed / name).parent.mkdir(parents=True, exist_ok=True)
            (installed / name).touch()
        store.publish(DIGEST, archive_of(installed, folder / "package-lock.yml", ()))

    def _packages(self, folder: Path) -> ProjectPackages:
        return ProjectPackages(
            project_dir=self._project,
            digest=DIGEST,
            stores=(make_store(folder),),
            max_age=self._max_age,
            max_wait=AN_HOUR,
        )


def make_store(folder: Path) -> PackageStore:
    return PackageStore(folder=folder / "cache" / "packages", make_directory=make_directory)


def missing(place: Path) -> list[str]:
    return [name for name in FILES if not (place / "dbt_packages" / name).exists()]


def installed_once(run: Schedule) -> None:
    assert run.killed or list(run.values).count(True) <= 1, f"installed by {run.values}"
    nothing_unknown_left(run)


def nothing_unknown_left(run: Schedule) -> None:
    """A name apart is swept away after an hour."""
    names = {path.name for path in (run.folder / "cache" / "packages").iterdir()}
    unknown = {name for name in names if not (KNOWN.fullmatch(name) or (run.killed and APART.fullmatch(name)))}
    assert not unknown, f"left behind: {unknown}"


@pytest.mark.parametrize(
    ("works", "bounds"),
    [
        pytest.param(["use", "use"], (1, 0), id="use-and-use"),
        pytest.param(["use", "renew"], (1, 0), id="use-and-renew"),
        pytest.param(["use", "use"], (2, 0), id="use-and-use-2", marks=FURTHER),  # 3 s of CPU
        pytest.param(["use", "renew"], (2, 0), id="use-and-renew-2", marks=FURTHER),  # 3 s
        pytest.param(["use", "use"], (0, 1), id="use-and-use-killed", marks=PROOF),  # 3 s
        pytest.param(["use", "renew"], (0, 1), id="use-and-renew-killed", marks=PROOF),  # 5 s
        pytest.param(["renew", "renew"], (1, 0), id="renew-and-renew", marks=PROOF),
        pytest.param(["renew", "renew"], (2, 0), id="renew-and-renew-2", marks=FURTHER),  # 9 s
    ],
)
def test_two_tasks_at_once(cosmos_race: CosmosRace, project: Path, works: list[str], bounds: tuple[int, int]) -> None:
    """With a kill at each step beside an interruption, ``use-and-use`` has 848 schedules and takes 38 s of CPU."""
    tasks = {"use": Tasks(project).use, "renew": Tasks(project, max_age=0).use}
    preemptions, kills = bounds
    exploration = cosmos_race.explore(
        [tasks[work] for work in works],
        fresh=Tasks(project).published if "renew" in works else None,
        after=tasks["use"] if kills else None,
        check=nothing_unknown_left if "renew" in works else installed_once,
        preemptions=preemptions,
        kills=kills,
        seconds=SECONDS,
    )

    print(exploration)
    assert exploration.is_complete


# Faults, put back in: what the store would do without one of its precautions.
def uses_what_is_published_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def publish(self: PackageStore, digest: str, archive: bytes) -> None:
        with (self.folder / f"{digest}.tar.gz").open("wb") as file:
            for begin in range(0, len(archive), 100):
                file.write(archive[begin : begin + 100])
                file.flush()

    def unpack(*places: Path) -> None:
        with suppress(OSError, EOFError, tarfile.TarError):
            sound(*places)

    sound = packages.unpack
    monkeypatch.setattr(PackageStore, "publish", publish)
    monkeypatch.setattr(packages, "unpack", unpack)


def takes_no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PackageStore, "turn", lambda *_, **__: nullcontext())


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "works", "told"),
    [
        (uses_what_is_published_in_part, ["use", "use"], "contender-1 raised|not whole"),
        (takes_no_turns, ["use", "use"], r"installed by \(True, True\)"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_that_is_put_back_is_found(
    cosmos_race: CosmosRace,
    monkeypatch: pytest.MonkeyPatch,
    project: Path,
    fault: Callable[[pytest.MonkeyPatch], None],
    works: list[str],
    told: str,
) -> None:
    fault(monkeypatch)
    tasks = {"use": Tasks(project).use, "renew": Tasks(project, max_age=0).use}

    with pytest.raises(FailingSchedule, match=rf"\A.*({told})") as failure:
        cosmos_race.explore(
            [tasks[work] for work in works],
            fresh=Tasks(project).published if "renew" in works else None,
            check=None if "renew" in works else installed_once,
            preemptions=1,
            kills=0,
        )

    print(fault.__name__, failure.value.seed)
