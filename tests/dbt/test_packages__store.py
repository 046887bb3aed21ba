"""Kept packages: who uses them keeps them, who waits goes on, and what a kill leaves of them goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from cosmos_venv.dbt import packages
from cosmos_venv.dbt.packages import PackageStore
from cosmos_venv.files.permissions import make_directory
from tests.dbt.harbor import DEADLINE, Project


def test_what_a_newer_one_stands_for_is_removed_and_a_task_that_uses_it_keeps_its_copy(project: Project) -> None:
    with project.installed(), project.installed() as used:
        with project.installed(max_age=0):
            pass
        assert (used / "cranes" / "macros.sql").read_text() == "installation 1"

    assert len(project.kept) == 1


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


@pytest.mark.parametrize("above", range(3))
def test_what_others_could_have_written_or_replaced_is_not_used(project: Project, above: int) -> None:
    with project.installed():
        pass
    path = [project.kept[0], *project.kept[0].parents][above]
    before = path.stat().st_mode
    path.chmod(0o777)

    with project.installed():
        pass
    with suppress(FileNotFoundError):
        path.chmod(before)

    assert project.installations == 2


def test_what_nobody_has_used_for_long_is_removed(project: Project) -> None:
    with project.installed():
        pass
    (kept,) = project.kept
    other, used = (kept.with_name(f"{name}.tar.gz") for name in ("other", "used"))
    for path, seconds in ((other, 31 * 86_400.0), (used, 1.0)):
        path.write_bytes(kept.read_bytes())
        os.utime(path, (time.time() - seconds, 0.0))

    with project.installed(max_age=0):
        pass

    assert project.kept == [kept, used]


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


def test_a_task_that_begins_while_packages_are_kept_shares_them(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, others = Event(), list[Future[bytes]]()

    class Telling(list[str]):
        def append(self, line: str) -> None:
            super().append(line)
            if "Another task installs the same dbt packages" in line:
                waits.set()

    def install_too() -> bytes:
        with project.installed(max_age=0) as packages:
            return (packages / "cranes" / "macros.sql").read_bytes()

    def archive_of(*arguments: Any) -> bytes:
        others.append(pool.submit(install_too))
        assert waits.wait(DEADLINE)
        return sound(*arguments)

    project.lines, sound = Telling(), packages.archive_of
    monkeypatch.setattr(packages, "archive_of", archive_of)
    with ThreadPoolExecutor() as pool, project.installed(max_age=0):
        found = others[0].result(DEADLINE)

    assert found == b"installation 1"
