"""Kept packages: who uses them keeps them, who waits goes on, and what a kill leaves of them goes."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from cosmos_venv.dbt import packages
from cosmos_venv.dbt.packages import PackageStore
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.files.own_files import make_directory
from cosmos_venv.processes.cancellation import Cancellation
from tests.dbt.harbor import DEADLINE, Project, make_store


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


def test_a_task_that_waits_for_anothers_installation_can_be_killed(project: Project) -> None:
    store, cancellation = make_store(project.root / "store"), Cancellation()
    assert store.is_usable()
    turn = partial(store.turn, "d" * 64, max_wait=DEADLINE, cancellation=cancellation)

    with (
        turn(report=project.lines.append),
        pytest.raises(CommandKilled),
        turn(report=lambda _: cancellation.request()),
    ):
        pytest.fail("it was not this task's turn")

    assert project.lines == []


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
