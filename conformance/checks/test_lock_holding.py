"""LOCK: what the lock file says while a task installs and after, and what dead owners have left behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import psutil
import pytest

from pytest_cosmos_venv import CosmosLock, VenvLock
from pytest_cosmos_venv.environments.sdist import Sdist
from pytest_cosmos_venv.processes.lock_history import LockOwner, pid_in, read_text
from pytest_cosmos_venv.processes.pids import Pids
from pytest_cosmos_venv.real_time import wait_until

from ..harness.harness import TEMPORARY_PLACES, Harness
from ..harness.processes import lives, watch_until_rest
from ..harness.running import RunningTasks
from ..harness.runs import RESTS, run_begins, wait_for_outcome
from ..requirements import case, requirement

LIVE = os.getpid()
LOCK_FILE = "cosmos_virtualenv.lock"
UNTIL_FREE = 5.0
"""Seconds that a killed task's installer may need to end, if the lock file names the installer."""
REWRITING = 0.05
"""Seconds that may pass while one record is replaced by another."""
REST = 3.0
"""Seconds without work after which a task counts as waiting. A task that installs or runs dbt rests never so long."""


def _names_live(lock: VenvLock) -> bool:
    """Whether the lock file names a process that lives."""
    return lock.owner is not None and lives(lock.owner)


def _family_of(pid: int) -> set[int]:
    """The PIDs of a process and of its descendants."""
    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.NoSuchProcess:
        return set()


@requirement("LOCK-001")
def test_the_lock_file_names_the_task_that_installs(harness: Harness, lock: VenvLock) -> None:
    held = harness.add_sdist(hold=True)
    lamp = harness.wheelhouse.add_sdist("harbor-lamp", requires=(), hold=True)

    with harness.start(harness.kept_task(py_requirements=[*harness.requirements(), "harbor-lamp"])) as running:
        # The installer may build the two packages in any order.
        wait_until(lambda: held.builds or lamp.builds or not running.running, timeout=harness.timeout)
        text, family = read_text(lock.file), _family_of(running.pids[0])
        held.release()
        wait_until(lambda: lamp.builds or not running.running, timeout=harness.timeout)
        family |= _family_of(running.pids[0])
        lamp.release()
        outcome = running.finish().outcomes[0]

    said = f"while an installer builds a package, {lock.file} must hold the PID of a live process of the task as text"
    pid = pid_in(text)
    assert pid in family, f"{said}, so one of {sorted(family)}; seen: {'no file' if text is None else repr(text)}"
    builds = [*held.builds, *lamp.builds]
    assert lamp.builds, f"each required package must be installed; seen: no build of harbor-lamp. {outcome}"
    ends = [build.ended_at for build in builds if build.ended_at is not None]
    begun, ended = min(build.started_at for build in builds), max(ends, default=0)
    gap = _longest_gap([owner for owner in lock.history if owner.pid in family], begun, ended)
    assert gap <= REWRITING, (
        f"{said} until the last one is built; seen: for {gap:.3f} s of the {ended - begun:.3f} s it did not. {outcome}"
    )


def _longest_gap(owners: Iterable[LockOwner], since: float, until: float) -> float:
    """Seconds of the longest time between ``since`` and ``until`` in which no owner had the lock."""
    longest, covered = 0.0, since
    for owner in sorted(owners, key=lambda owner: owner.since):
        longest = max(longest, min(owner.since, until) - covered)
        covered = max(covered, until if owner.until is None else owner.until)
    return max(longest, until - covered)


@pytest.mark.parametrize(
    ("when", "runs", "prepare"),
    [
        case("LOCK-010", "a task has succeeded", [0], lambda _: None),
        case("LOCK-011", "its dbt has failed", [1], lambda harness: harness.wheelhouse.script("run", exit_code=1)),
        case("LOCK-012", "its installer has failed", [], lambda harness: harness.add_sdist(fails_with="It must fail.")),
    ],
)
def test_the_lock_is_free_after_a_task_though_its_process_lives(
    harness: Harness, lock: VenvLock, when: str, runs: list[int], prepare: Callable[[Harness], object]
) -> None:
    prepare(harness)
    keeps_alive = harness.wheelhouse.add_sdist("dbt-harbor", requires=(), hold=True)
    first = harness.kept_task()
    then = harness.task(virtualenv_dir=str(harness.folder / "elsewhere"), py_requirements=["dbt-harbor"])

    with harness.start([first, then], contenders=1) as running:
        wait_until(lambda: keeps_alive.builds or not running.running, timeout=harness.timeout)
        text, is_named = read_text(lock.file), _names_live(lock)
        goes_on = bool(keeps_alive.builds)
        running.kill()
        outcome = running.finish().outcomes[0]

    said = f"when {when}, the lock file must name no live process, though the task's own process lives"
    ends = [call.exit_code for call in harness.calls("run")]
    assert ends == runs, f"dbt run must end with {runs or 'nothing, since it never begins'}; seen: {ends}. {outcome}"
    assert not is_named, f"{said}; seen: {text!r}. {outcome}"
    assert goes_on, f"{said}, and goes on with another task; seen: it does not. {outcome}"


@requirement("LOCK-013")
@pytest.mark.parametrize("point", ["installing", "running"])
def test_the_lock_is_free_after_a_kill(harness: Harness, lock: VenvLock, point: str) -> None:
    sdist = harness.add_sdist(hold=point == "installing")
    script = harness.wheelhouse.script("run", hold=point == "running")

    with harness.start(harness.kept_task()) as running:
        running.race.wait_for(point)
        running.terminate()
        is_free = wait_until(lambda: not _names_live(lock), timeout=UNTIL_FREE + harness.slack)
        text = read_text(lock.file)
        killed = running.finish().outcomes[0]

    said = f"after a task was killed at the point {point!r}"
    assert is_free, f"{said} the lock file must name no live process; seen: {text!r}. {killed}"
    sdist.release()
    script.release()
    with harness.start(harness.kept_task()) as running:
        waits = _rests_before_dbt(harness, running)
        outcome = running.finish().outcomes[0]
    assert not waits, f"{said} the next one must not wait; seen: it does nothing for {REST:g} s. {outcome}"
    assert outcome.succeeded, f"{said} the next one must succeed; seen: {outcome}"


def _rests_before_dbt(harness: Harness, running: RunningTasks) -> bool:
    """Whether the only task comes to rest before one more dbt run has begun."""
    before = len(harness.calls("run"))
    return watch_until_rest(
        running.pids,
        lambda: len(harness.calls("run")) > before or not running.running,
        seconds=REST,
        timeout=harness.timeout,
    )


@requirement("LOCK-014")
def test_a_task_leaves_alone_a_lock_that_went_to_another_process(harness: Harness, lock: VenvLock) -> None:
    held = harness.add_sdist(hold=True)

    with harness.start(harness.kept_task()) as running:
        running.race.wait_for("installing")
        lock.held_by(LIVE)
        held.release()
        outcome = running.finish().outcomes[0]

    text = read_text(lock.file)
    assert text == str(LIVE), (
        f"a task that releases its lock must leave a lock file alone that names another live process ({LIVE}); "
        f"seen: {'no file' if text is None else repr(text)}. {outcome}"
    )


@requirement("LOCK-020")
@pytest.mark.parametrize("place", TEMPORARY_PLACES)
def test_no_lock_is_taken_in_a_temporary_environment(harness: Harness, held: Sdist, place: str) -> None:
    with harness.start(harness.temporary_task(place)) as running:
        running.race.wait_for("installing")
        found = [*harness.virtualenv_dir.rglob(LOCK_FILE)]
        waits = [_beside(harness, place)]
        begins, script = run_begins(harness), harness.wheelhouse.script("run", hold=True)
        held.release()
        running.race.wait_for(begins)
        script.take_back()
        found += harness.virtualenv_dir.rglob(LOCK_FILE)
        waits.append(_beside(harness, place))
        script.release()
        outcome = running.finish().outcomes[0]

    assert not found, f"in a temporary environment ({place}) no lock must be taken; seen: {found[0]}"
    for moment, did in zip(("installs", "runs dbt"), waits, strict=True):
        assert did is None, (
            f"while a task with a temporary environment ({place}) {moment}, another must run; seen: {did}"
        )
    assert outcome.succeeded, f"in a temporary environment ({place}) a task must succeed; seen: {outcome}"


def _beside(harness: Harness, place: str) -> str | None:
    """Run one more task with a temporary environment; returns what it did instead of running to a good end."""
    elsewhere = {"virtualenv_dir": str(harness.folder / "beside")} if place == TEMPORARY_PLACES[1] else {}
    wheels = harness.requirements(harness.versions[0])
    with harness.start(harness.temporary_task(place).with_arguments(py_requirements=wheels, **elsewhere)) as running:
        if watch_until_rest(running.pids, lambda: not running.running, seconds=REST, timeout=harness.timeout):
            return RESTS
        outcome = running.finish().outcomes[0]
    return None if outcome.succeeded else str(outcome)


@pytest.mark.parametrize(
    ("what", "leave"),
    [
        case("LOCK-006", "the PID of a dead process", lambda lock, _: lock.stale()),
        case("LOCK-007", "the PID of a zombie", lambda lock, pids: lock.held_by(pids.zombie())),
        case("LOCK-008", "nothing, for 5 minutes", lambda lock, _: lock.empty()),
        case("LOCK-009", "no number", lambda lock, _: lock.garbage()),
        case("LOCK-016", "a PID that went to a younger process", lambda lock, pids: pids.reused(lock.file)),
    ],
)
def test_a_record_that_names_no_living_owner_is_overridden(
    harness: Harness, cosmos_lock: CosmosLock, held: Sdist, what: str, leave: Callable[[VenvLock, Pids], object]
) -> None:
    lock = cosmos_lock(harness.virtualenv_dir)
    leave(lock, cosmos_lock.pids)
    text = lock.file.read_text(encoding="ascii")

    with harness.start(harness.kept_task()) as running:
        did = wait_for_outcome(harness, running, held, seconds=REST)
        has_begun = bool(held.builds)

    assert has_begun, f"a task must override a lock file that holds {what} ({text!r}) and install; seen: {did}"


@requirement("LOCK-022")
def test_a_record_of_ones_own_number_is_overridden(harness: Harness, cosmos_lock: CosmosLock, held: Sdist) -> None:
    first = harness.wheelhouse.add_sdist(
        "dbt-harbor", requires=(), hold=True, fails_with="It fails for the test's sake."
    )
    lock = cosmos_lock(harness.virtualenv_dir)
    elsewhere = harness.task(virtualenv_dir=str(harness.folder / "elsewhere"), py_requirements=["dbt-harbor"])

    with harness.start([elsewhere, harness.kept_task()], contenders=1) as running:
        running.race.wait_for("installing")
        lock.held_by(running.pids[0])
        first.release()  # the first operator's installation fails, and the second operator begins
        did = wait_for_outcome(harness, running, held, seconds=REST)
        has_begun, pid = bool(held.builds), running.pids[0]

    said = (
        f"a task must override a lock file that holds its own PID ({pid}), left by an earlier operator of its process"
    )
    assert has_begun, f"{said}; seen: {did}"
