"""Which PID records bind: the table of the decision, and the facts it is given about real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from cosmos_venv.environments.lock_record import LockNote, LockRecord, Machine, ProcessState, staleness
from tests.kit import WaitUntil

NOW = 1_000_000.0
OWN_PID = 4711
HERE = Machine(host="here", boot_id="this-boot", pid_namespace="pid:[1]", booted_at=NOW - 10_000)
RUNNING = ProcessState(name="python", is_zombie=False, started_at=NOW - 500.75, start_ticks=5000)


def record(text: str = "123", *, age: float = 100.25, note: LockNote | None = None) -> LockRecord:
    return LockRecord(text=text, age=age, written_at=NOW - age, note=note)


def note(
    *, host: str = "here", boot_id: str = "this-boot", pid_namespace: str = "pid:[1]", ticks: int | None = 5000
) -> LockNote:
    return LockNote(pid=123, host=host, boot_id=boot_id, pid_namespace=pid_namespace, process_start_ticks=ticks)


@pytest.mark.parametrize(
    ("found", "process", "expected"),
    [
        pytest.param(record(), RUNNING, False, id="owner-lives"),
        pytest.param(record("123\n"), RUNNING, False, id="newline"),
        pytest.param(record(), replace(RUNNING, started_at=None), False, id="start-unknown"),
        pytest.param(record(), None, True, id="owner-gone"),
        pytest.param(record(), replace(RUNNING, is_zombie=True), True, id="zombie"),
        pytest.param(record(), replace(RUNNING, started_at=NOW - 50), True, id="pid-used-again"),
        pytest.param(record(), replace(RUNNING, started_at=NOW - 100.15), True, id="pid-used-again-within-a-second"),
        pytest.param(record(), replace(RUNNING, started_at=NOW - 100.23), False, id="within-a-tick"),
        pytest.param(record(age=100), replace(RUNNING, started_at=NOW - 99.5), False, id="mount-counts-seconds"),
        pytest.param(record(age=100), replace(RUNNING, started_at=NOW - 98.5), True, id="and-still-younger"),
        pytest.param(record(note=note()), replace(RUNNING, start_ticks=5001), True, id="another-process-of-that-pid"),
        pytest.param(record(note=note()), replace(RUNNING, started_at=NOW), False, id="the-very-process"),
        pytest.param(record(note=note(ticks=None)), RUNNING, False, id="note-without-a-start"),
        pytest.param(record(note=note(ticks=None)), replace(RUNNING, started_at=NOW), True, id="nor-a-living-owner"),
        pytest.param(record(""), None, True, id="empty"),
        pytest.param(record("", age=0.1), None, False, id="empty-this-moment"),
        pytest.param(record("", age=-100), None, True, id="empty-from-the-future"),
        pytest.param(record("garbage"), None, True, id="garbage"),
        pytest.param(record("-5"), None, True, id="negative"),
        pytest.param(record("9" * 30), None, True, id="no-kernel-has-such"),
        pytest.param(record("²"), None, True, id="digit-of-another-script"),
        pytest.param(record(str(OWN_PID)), RUNNING, True, id="own-pid-of-an-earlier-life"),
        pytest.param(record(age=20_000), replace(RUNNING, started_at=NOW - 30_000), True, id="before-boot"),
        pytest.param(record(note=note()), RUNNING, False, id="note-agrees"),
        pytest.param(record(note=note(boot_id="last-boot")), RUNNING, True, id="another-boot"),
        pytest.param(record(age=20_000, note=note()), replace(RUNNING, started_at=0), False, id="clock-was-set"),
        pytest.param(record(age=10, note=note(host="there")), None, False, id="other-host"),
        pytest.param(record(age=70, note=note(host="there")), RUNNING, True, id="other-host-silent"),
        pytest.param(record(age=10, note=note(pid_namespace="pid:[2]")), None, False, id="other-container"),
    ],
)
def test_a_record_binds_while_its_owner_may_live(
    found: LockRecord, process: ProcessState | None, expected: bool
) -> None:
    reason = staleness(found, process=process, here=HERE, own_pid=OWN_PID)

    assert (reason is not None) is expected


def test_the_reason_is_told_in_words() -> None:
    assert staleness(record(), process=None, here=HERE, own_pid=OWN_PID) == "process 123 is not running"


def test_a_living_process_is_seen_with_its_start() -> None:
    state = ProcessState.of(os.getpid())

    assert state is not None
    assert not state.is_zombie
    assert state.start_ticks == LockNote.of_this_process().process_start_ticks is not None


def test_a_start_is_known_to_the_hundredth_of_a_second() -> None:
    """psutil's is up to a second early: it counts from the full second in which the machine was started."""
    before = time.time()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        state = ProcessState.of(process.pid)

    assert state is not None
    assert state.started_at is not None
    assert before - 0.05 < state.started_at < time.time()


def test_a_zombie_is_seen_as_one(wait_until: WaitUntil) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])

    wait_until(lambda: (state := ProcessState.of(process.pid)) is not None and state.is_zombie)

    process.wait()
    assert ProcessState.of(process.pid) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="this-release"),
        pytest.param({"colour": "red"}, id="a-later-release-says-more"),
    ],
)
def test_a_note_says_what_this_release_knows(change: dict[str, object]) -> None:
    own = LockNote.of_this_process(device=7)

    assert LockNote.from_json(json.dumps({**json.loads(own.to_json()), **change})) == own


@pytest.mark.parametrize("text", ["[", "[1]", "1", '{"pid": 1}', '{"colour": "red"}'])
def test_half_a_note_says_nothing(text: str) -> None:
    assert LockNote.from_json(text) is None


@pytest.mark.parametrize(
    ("boot_id", "device", "locked_device", "binds"),
    [
        pytest.param("this-boot", 7, 7, False, id="lost-the-lock-that-we-have"),
        pytest.param("this-boot", 7, None, True, id="the-lock-is-another-s"),
        pytest.param("this-boot", 7, 8, True, id="another-mount-has-other-locks"),
        pytest.param("this-boot", None, 7, True, id="of-an-unknown-mount"),
        pytest.param("another-boot", 7, 7, True, id="another-kernel"),
    ],
)
def test_a_container_that_lost_the_kernel_lock_that_we_have_is_dead(
    boot_id: str, device: int | None, locked_device: int | None, binds: bool
) -> None:
    found = record(age=10, note=replace(note(host="container", boot_id=boot_id), device=device))

    reason = staleness(found, process=None, here=HERE, own_pid=OWN_PID, locked_device=locked_device)

    assert (reason is None) is binds
