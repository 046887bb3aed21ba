"""The lock in every order of its steps: one holder at a time, nobody waits for ever, whatever is killed and wherever.

The protocol, which the checks below state: the kernel lock first; then a record that is linked, never renamed; only the
owner removes its record, and only the record that it has judged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from cosmos_venv.environments import lock as lock_module
from cosmos_venv.environments.lock import KERNEL_LOCK_FILENAME, LOCK_FILENAME, LockRecord, VirtualenvLock
from cosmos_venv.exceptions import VirtualenvLockTimeout
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv import Contender, CosmosRace
from pytest_cosmos_venv.explore.explorer import FailingSchedule
from pytest_cosmos_venv.explore.run import Schedule
from tests.explored import FURTHER, PROOF, SECONDS

# Names that a kill leaves behind, which a sweep knows.
APART = re.compile(r"\.[0-9a-f]{32}|\.cosmos_virtualenv\.lock\.[0-9a-f]{32}")
LINK = os.link
NO_PROCESS = 2**22 + 1  # beyond the largest number that Linux gives to a process


def hold(contender: Contender) -> list[str]:
    lines: list[str] = []
    lock = VirtualenvLock(contender.folder)
    with (
        lock.acquire(max_tries=9, cancellation=Cancellation(), report=lines.append),
        contender.span("held"),
    ):
        pass
    return lines


def hold_at_once(contender: Contender) -> None:
    """The same, without waiting for anybody."""
    lock = VirtualenvLock(contender.folder)
    with (
        suppress(VirtualenvLockTimeout),
        lock.acquire(max_tries=0, cancellation=Cancellation(), report=print),
        contender.span("held"),
    ):
        pass


def hold_as_others_do(contender: Contender) -> None:
    """Another implementation, which knows the PID file alone and makes it in one step. It overrides nobody."""
    file = contender.folder / LOCK_FILENAME
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    os.write(descriptor, str(os.getpid()).encode())
    os.close(descriptor)
    with contender.span("held"):
        pass
    assert file.read_text() == str(os.getpid()), "the record was taken away"
    file.unlink()


def override_as_others_do(contender: Contender) -> None:
    """The implementation of the reference: it looks for the process of the PID, then writes its own PID into the file.

    Between the two steps it overwrites whatever record has appeared, which nobody can prevent. Its own record must
    never be taken away: 0.2.0 knew a record by its inode, which a PID that is written into the file does not change.
    """
    file = contender.folder / LOCK_FILENAME
    with suppress(FileNotFoundError):
        text = file.read_text()
        if not text or psutil.pid_exists(int(text)):
            return
    file.write_text(str(os.getpid()))
    with contender.span("overridden"):
        pass
    assert file.read_text() == str(os.getpid()), "the record was taken away"
    file.unlink()


def one_holder_and_nothing_left(run: Schedule) -> None:
    if run.timeline.count("held"):
        run.timeline.assert_max_concurrent("held", 1)
    left = {path.name for path in run.folder.iterdir()} - {KERNEL_LOCK_FILENAME}
    unknown = {name for name in left if not (run.killed and APART.fullmatch(name))}
    assert not unknown, f"left behind: {unknown}"


def record(text: str, *, age: float = 60.0) -> Callable[[Path], None]:
    """The record of an owner that is gone."""

    def write(folder: Path) -> None:
        file = folder / LOCK_FILENAME
        file.write_text(text)
        then = file.stat().st_mtime - age
        os.utime(file, (then, then))

    return write


STALE = {
    "none": None,
    "dead": record(str(NO_PROCESS)),
    "empty": record(""),
    "garbage": record("no number"),
    "reused": record("1", age=10**9),
}


@pytest.mark.parametrize("form", STALE)
def test_one_holds_it_at_a_time_whatever_was_left_there(cosmos_race: CosmosRace, form: str) -> None:
    exploration = cosmos_race.explore(
        [hold, hold],
        fresh=STALE[form],
        check=one_holder_and_nothing_left,
        preemptions=1,
        kills=0,
        seconds=SECONDS,
    )

    assert exploration.is_complete


def test_a_killed_holder_binds_nobody(cosmos_race: CosmosRace) -> None:
    exploration = cosmos_race.explore(
        [hold, hold], after=hold, check=one_holder_and_nothing_left, preemptions=0, kills=1, seconds=SECONDS
    )

    assert exploration.is_complete


def test_the_record_of_another_implementation_is_respected(cosmos_race: CosmosRace) -> None:
    exploration = cosmos_race.explore(
        [hold, hold_as_others_do],
        check=one_holder_and_nothing_left,
        preemptions=1,
        kills=0,
        seconds=SECONDS,
    )

    assert exploration.is_complete


@pytest.mark.parametrize(
    ("works", "form", "preemptions", "kills"),
    [
        pytest.param([hold, hold], "none", 2, 0, id="two", marks=PROOF),
        pytest.param([hold, hold], "none", 1, 1, id="two-killed", marks=PROOF),
        pytest.param([hold, hold], "none", 2, 1, id="two-killed-2", marks=FURTHER),
        pytest.param([hold, hold], "dead", 1, 1, id="two-stale", marks=FURTHER),
        pytest.param([hold, hold, hold], "none", 2, 0, id="three", marks=FURTHER),
        pytest.param([hold, hold, hold], "dead", 1, 0, id="three-stale", marks=PROOF),
        pytest.param([hold, hold_as_others_do], "none", 2, 0, id="with-another", marks=PROOF),
        pytest.param([hold, override_as_others_do], "dead", 2, 0, id="with-another-that-overwrites", marks=PROOF),
    ],
)
def test_one_holds_it_at_a_time_however_often_they_are_interrupted(
    cosmos_race: CosmosRace, works: list[Any], form: str, preemptions: int, kills: int
) -> None:
    exploration = cosmos_race.explore(
        works,
        fresh=STALE[form],
        after=hold if kills else None,
        check=one_holder_and_nothing_left,
        preemptions=preemptions,
        kills=kills,
        seconds=SECONDS,
    )

    print(exploration)
    assert exploration.is_complete


# Faults, put back in: what the lock would do without one of its precautions.
def judges_records_without_the_kernel_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "flock_at_once", lambda _: True)
    monkeypatch.setattr(VirtualenvLock, "_remove", lambda self, _: self.file.unlink(missing_ok=True) or True)


def replaces_a_record_that_has_just_appeared(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        with suppress(FileNotFoundError):
            target.unlink()
        LINK(source, target)

    monkeypatch.setattr(os, "link", link)


def releases_whatever_stands_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def release(self: VirtualenvLock, _: Callable[[str], None]) -> None:
        self.file.unlink(missing_ok=True)

    monkeypatch.setattr(VirtualenvLock, "_release", release)


def keeps_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VirtualenvLock, "_remove", lambda *_: True)


def takes_any_record_for_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LockRecord, "why_stale", lambda *_, **__: "it is there")


def knows_a_record_by_its_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LockRecord, "__eq__", lambda self, other: other is not None and self.file == other.file)


def shows_its_record_before_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """As others do: an empty file for a moment, which nobody may take for a record of nobody."""

    def link(source: Path, target: Path) -> None:
        target.touch(exist_ok=False)
        target.write_text(source.read_text())

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(lock_module, "flock_at_once", lambda _: True)
    monkeypatch.setattr(lock_module, "_UNFINISHED_GRACE", 0.0)


ON_A_STALE_RECORD = (judges_records_without_the_kernel_lock, knows_a_record_by_its_file_alone)


@pytest.mark.parametrize(
    ("fault", "works", "preemptions", "told"),
    [
        pytest.param(judges_records_without_the_kernel_lock, [hold, hold], 2, "At most 1 held", marks=PROOF),
        pytest.param(
            replaces_a_record_that_has_just_appeared,
            [hold, hold_as_others_do],
            2,
            "raised FileNotFoundError",
            marks=PROOF,
        ),
        (releases_whatever_stands_there, [hold_at_once, hold_as_others_do], 1, "contender-1 raised FileNotFoundError"),
        (keeps_the_record, [hold, hold], 0, "contender-1 never ends"),
        (takes_any_record_for_stale, [hold, hold_as_others_do], 1, "contender-1 raised FileNotFoundError"),
        (knows_a_record_by_its_file_alone, [hold, override_as_others_do], 2, "contender-1 raised FileNotFoundError"),
        pytest.param(shows_its_record_before_it_is_whole, [hold, hold], 2, "left behind", marks=PROOF),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_that_is_put_back_is_found(
    cosmos_race: CosmosRace,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
    works: list[Any],
    preemptions: int,
    told: str,
) -> None:
    fault(monkeypatch)

    with pytest.raises(FailingSchedule, match=rf"\A.*{told}") as failure:
        cosmos_race.explore(
            works,
            check=one_holder_and_nothing_left,
            preemptions=preemptions,
            kills=0,
            fresh=STALE["dead"] if fault in ON_A_STALE_RECORD else None,
        )

    print(fault.__name__, failure.value.seed)
