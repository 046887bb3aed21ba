"""LOCK: a task that finds the lock with a live owner waits for it, and for how long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_cosmos_venv import Sdist, VenvLock, VenvLocks

from .bench import Bench
from .gate import reader_of
from .processes import comes_true, watch_until_rest
from .requirements import requirement
from .waiting import RESTS, what_it_comes_to

TRIES = 3
AT_MOST_AFTER = 30.0
"""Seconds that a task may take to stop waiting, once its tries are over."""
LIVE = os.getpid()
"""Of a process that lives, and has begun long before any lock file is written: the suite's own."""


@pytest.fixture
def lock(bench: Bench, cosmos_venv_lock: VenvLocks) -> VenvLock:
    return cosmos_venv_lock(bench.virtualenv_dir)


@pytest.fixture
def held(bench: Bench) -> Sdist:
    """What each environment of these tests needs built; the installer waits there until it is released."""
    return bench.wheelhouse.add_sdist("dbt-core", hold=True)


@pytest.fixture
def few_tries(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bench.adapter.setting("virtualenv_max_retries_lock", TRIES).items():
        monkeypatch.setenv(name, value)


def stays_young(file: Path) -> bool:
    """Let the file look as if it had been touched just now, as long as it is there."""
    try:
        os.utime(file)
    except FileNotFoundError:
        return False
    return True


@requirement("LOCK-003")
def test_a_task_waits_for_the_live_process_in_the_lock_file(bench: Bench, lock: VenvLock, held: Sdist) -> None:
    lock.held_by(LIVE)

    with bench.start(bench.kept_task()) as running:
        did, owner = what_it_comes_to(bench, running, held), lock.owner

    assert did == RESTS, f"the task must wait for process {LIVE}, whose PID stands in {lock.file}; seen: {did}"
    assert owner == LIVE, f"the lock must go on naming process {LIVE} while a task waits; seen: {owner}"


@requirement("LOCK-004")
def test_a_waiting_task_goes_on_when_the_lock_is_released(bench: Bench, lock: VenvLock, held: Sdist) -> None:
    lock.held_by(LIVE)

    with bench.start(bench.kept_task()) as running:
        what_it_comes_to(bench, running, held)
        lock.release()
        went_on = comes_true(lambda: held.builds or not running.running, deadline=bench.deadline)
        held.release()
        outcome = running.finish().outcomes[0]

    said = "a task that waits must go on once the lock is released"
    assert went_on, f"{said}; seen: it did not, within {bench.deadline:g} s. {outcome}"
    assert outcome.succeeded, f"a task that has waited must then succeed; seen: {outcome}"


@requirement("LOCK-005")
@pytest.mark.usefixtures("few_tries")
def test_a_task_waits_as_many_seconds_as_tries_were_allowed(bench: Bench, lock: VenvLock, held: Sdist) -> None:
    lock.held_by(LIVE)

    with bench.start(bench.kept_task(), prepares_airflow=False) as running:
        stopped = comes_true(lambda: held.builds or not running.running, deadline=TRIES + AT_MOST_AFTER + bench.slack)
        held.release()
        finished = running.finish()

    said = f"with {TRIES} tries the task must wait at least {TRIES} s, and stop within {TRIES + AT_MOST_AFTER:g} s"
    assert stopped, f"{said}; seen: it still waits. {finished.outcomes[0]}"
    (task,) = finished.timeline.spans("task")
    ends = [build.started_at for build in held.builds] or [task.end]
    waited = ends[0] - task.started_at
    assert waited >= TRIES, f"{said}; seen: it went on after {waited:.1f} s. {finished.outcomes[0]}"


@requirement("LOCK-015")
@pytest.mark.usefixtures("few_tries")
def test_a_task_never_takes_the_lock_of_a_live_process(bench: Bench, lock: VenvLock, held: Sdist) -> None:
    lock.held_by(LIVE)

    with bench.start(bench.kept_task(), prepares_airflow=False) as running:
        comes_true(lambda: held.builds or not running.running, deadline=TRIES + AT_MOST_AFTER + bench.slack)
        installed, owner = bool(held.builds), lock.owner
        held.release()
        outcome = running.finish().outcomes[0]

    said = f"when its {TRIES} tries are over, a task must leave the lock to process {LIVE}, which lives, and say so"
    assert not installed, f"{said}; seen: it installs, and the lock names process {owner}. {outcome}"
    assert lock.owner == LIVE, f"{said}; seen: the lock names {lock.owner}. {outcome}"
    assert not outcome.succeeded, f"{said}; seen: {outcome}"
    assert str(LIVE) in str(outcome.exception), f"{said}; seen: its error does not name the process. {outcome}"


@requirement("LOCK-018")
def test_a_task_waits_for_the_live_task_of_another_host(bench: Bench, lock: VenvLock, held: Sdist) -> None:
    made = bench.adapter.foreign_host_record(lock.directory)
    assert made, "an adapter that declares foreign_hosts must make a record of another host; seen: it made none"
    owner = lock.owner

    with bench.start(bench.kept_task()) as running:
        did = what_it_comes_to(bench, running, held)

    said = "a task must wait for the owner on another host, whatever process has that PID here"
    assert did == RESTS, f"{said}; seen: {did}"
    assert lock.owner == owner, f"{said}; seen: the lock names {lock.owner} instead of {owner}"


@requirement("LOCK-021")
def test_a_task_survives_the_moment_in_which_the_lock_file_is_empty(bench: Bench, held: Sdist) -> None:
    bench.virtualenv_dir.mkdir()
    file = bench.virtualenv_dir / "cosmos_virtualenv.lock"
    file.touch()

    with reader_of(file) as was_read, bench.start(bench.kept_task()) as running:
        # Its owner has truncated the file and not yet written: the number comes as soon as the task has looked.
        watch_until_rest(
            running.pids,
            lambda: was_read() or not stays_young(file) or not running.running,
            deadline=bench.deadline,
        )
        file.write_text(str(LIVE), encoding="ascii")
        did = what_it_comes_to(bench, running, held)
        file.unlink(missing_ok=True)
        held.release()
        outcome = running.finish().outcomes[0]

    said = "a task that reads the lock file before its live owner has written its PID must wait as if it had"
    assert did == RESTS, f"{said}; seen: {did}"
    assert outcome.succeeded, f"{said}, and go on when it is released; seen: {outcome}"
