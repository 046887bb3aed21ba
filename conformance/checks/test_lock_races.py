"""LOCK: several tasks that want one environment at the same moment, and a task that waits for a live owner."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosLock, VenvLock
from pytest_cosmos_venv.environments.sdist import Sdist
from pytest_cosmos_venv.real_time import wait_until

from ..fixtures import Picture
from ..harness.harness import Harness
from ..harness.mounts import halt_before_writing, watch_readers
from ..harness.processes import Installer, installers_below, two_into_one, watch_until_rest
from ..harness.running import RunningTasks
from ..harness.runs import RESTS, wait_for_outcome
from ..harness.task_process import OVERWRITING, OVERWRITTEN
from ..options import ROUNDS, asked_rounds
from ..requirements import case, requirement

CONTENDERS = 8
SAID = "two tasks must not install into one environment at the same moment"
REST_OF_TWO = 3.0
"""Seconds: a task that could go on would do so earlier."""
REST_OF_MANY = 0.15
"""Seconds: with eight tasks on few processors, a task with work to do is running or waiting for a processor."""
TRIES = 3
AT_MOST_AFTER = 30.0
"""Seconds that a task may take to stop waiting, once its tries are over."""
LIVE = os.getpid()
"""PID of a process that lives, and has begun long before any lock file is written: the suite's own."""


class _Watch:
    """Looks for two installers that work on one environment, in a directory.

    :param running: the tasks that are watched.
    :param directory: their ``virtualenv_dir``.
    :param held: the package that each of them has to build, and waits in.
    :param timeout: seconds that each wait may take.
    :param beside: PIDs of tasks that install there too.
    """

    def __init__(
        self, running: RunningTasks, directory: Path, held: Sdist, *, timeout: float, beside: Sequence[int] = ()
    ) -> None:
        self._running = running
        self.timeout = timeout
        self._directory = directory
        self._held, self._begun = held, len(held.builds)
        self._tasks = [*beside, *running.pids]
        self.seen: set[int] = set()
        """PIDs of the tasks whose installers were seen."""
        self.offence: tuple[Installer, Installer] | None = None

    def look(self) -> bool:
        """Whether two installers were seen at once, or all tasks have ended."""
        found = installers_below(self._directory, self._tasks)
        self.seen |= {each.task for each in found}
        self.offence = self.offence or two_into_one(found)
        return self.offence is not None or not self._running.running

    @property
    def in_words(self) -> str:
        """The two installers that were seen, in words."""
        if self.offence is None:
            return "no two at once"
        one, other = self.offence
        return f"{one} and {other}, both for {one.target}"

    def until_others_rest(self) -> None:
        """Wait until one task installs, and the other tasks rest or have ended."""
        wait_until(lambda: self.look() or self.seen or len(self._held.builds) > self._begun, timeout=self.timeout)
        waiting = [pid for at, pid in enumerate(self._running.pids) if at in self._running.running]
        others = [pid for pid in waiting if pid not in self.seen]
        watch_until_rest(others, self.look, seconds=REST_OF_MANY, with_children=False, timeout=self.timeout)

    def require(self, said: str, *, seen: str = "seen") -> None:
        """Fail if two installers were seen at once.

        Skip if no installer was seen: two of them would not have been seen either.

        :param said: what was required.
        :param seen: the words before what was seen.
        :raises AssertionError: two installers were seen at once.
        """
        __tracebackhide__ = True
        assert self.offence is None, f"{said}; {seen}: {self.in_words}"
        if not self.seen:
            told = "builds run, and " if self._held.builds else "no build has begun, and "
            pytest.skip(
                f"{told}neither command line nor variables of an installer name an environment in {self._directory}: "
                "whether two fill one at once cannot be seen"
            )


@requirement("LOCK-002")
def test_two_tasks_that_both_find_a_stale_lock_do_not_both_install(
    harness: Harness, cosmos_lock: CosmosLock, held: Sdist, picture: Picture
) -> None:
    lock = cosmos_lock(harness.virtualenv_dir)
    lock.stale()

    waits = 4
    with (
        halt_before_writing(lock.file) as halt,
        harness.start(harness.kept_task(), contenders=2, timeout=waits * harness.timeout) as running,
    ):
        watch = _Watch(running, harness.virtualenv_dir, held, timeout=harness.timeout)
        wait_until(lambda: halt.has_halted or held.builds or not running.running, timeout=harness.timeout)
        # A task that writes into the record that it found is halted there. The other gets time to reach this point.
        watch_until_rest(running.pids, lambda: held.builds or not running.running, timeout=harness.timeout)
        halt.end()
        watch.until_others_rest()
        picture(running.end().timeline, "two tasks that both find the lock of a dead process")

    watch.require(f"{SAID}, also when both have found the lock of a dead process")


@requirement("LOCK-002")
def test_a_task_that_comes_during_an_installation_does_not_install_too(harness: Harness, held: Sdist) -> None:
    with harness.start(harness.kept_task()) as first:
        first.race.wait_for("installing")
        with harness.start(harness.kept_task()) as second:
            watch = _Watch(second, harness.virtualenv_dir, held, timeout=harness.timeout, beside=first.pids)
            watch_until_rest(second.pids, watch.look, timeout=harness.timeout)
            watch.look()

    watch.require(SAID)


@requirement("LOCK-002")
def test_no_two_of_eight_tasks_install_at_once(
    harness: Harness, held: Sdist, pytestconfig: pytest.Config, evidence: Callable[[str], None]
) -> None:
    rounds = ROUNDS[asked_rounds(pytestconfig)]

    for number in range(1, rounds + 1):
        directory = harness.folder / f"virtualenvs-{number}"
        with harness.start(harness.task(virtualenv_dir=str(directory)), contenders=CONTENDERS) as running:
            watch = _Watch(running, directory, held, timeout=harness.timeout)
            watch.until_others_rest()
        watch.require(SAID, seen=f"seen in 1 of {number} rounds of {CONTENDERS} tasks")
    evidence(f"two installers at once were seen in 0 of {rounds} rounds of {CONTENDERS} tasks")


def _until_the_first(tasks: RunningTasks, is_there: Callable[[], object], *, timeout: float) -> None:
    """Wait until ``is_there`` is true of the first task, or the first task waits or has ended."""
    watch_until_rest(tasks.pids[:1], lambda: is_there() or 0 not in tasks.running, seconds=REST_OF_TWO, timeout=timeout)


@requirement("LOCK-017")
def test_two_tasks_run_dbt_in_one_environment_at_once(harness: Harness, picture: Picture) -> None:
    script = harness.wheelhouse.script("run", hold=True)

    with harness.start(harness.kept_task(), contenders=2) as running:
        # Two tasks that begin together may pass a broken lock together, which proves nothing: so the second task is
        # stopped until the first runs dbt.
        running.race.stop(1)
        _until_the_first(running, lambda: harness.calls("run"), timeout=harness.timeout)
        running.race.resume(1)
        watch_until_rest(
            running.pids, lambda: len(harness.calls("run")) == 2, seconds=REST_OF_TWO, timeout=harness.timeout
        )
        at_once = len(harness.calls("run"))
        script.release()
        finished = running.finish()
    picture(finished.timeline, "two tasks that share a virtualenv_dir")

    assert at_once == 2, (
        f"two tasks that share a virtualenv_dir must be able to run dbt at the same moment; seen: {at_once} dbt at a "
        f"time, the other task waits.\n{finished.timeline}"
    )


@requirement("LOCK-019")
@pytest.mark.parametrize("point", ["creating", "installing", "running"])
def test_a_killed_task_does_not_fail_the_others(harness: Harness, held: Sdist, point: str) -> None:
    harness.virtualenv_dir.mkdir()
    if point == "running":
        harness.wheelhouse.script("run", nth=1, hold=True)
        held.release()

    with harness.start(harness.kept_task(), virtualenv_dir=harness.virtualenv_dir) as victim:
        victim.race.wait_for(point)
        victim.race.stop(0)
        with harness.start(harness.kept_task(), contenders=2) as others:
            watch_until_rest(others.pids, lambda: not others.running, timeout=harness.timeout)
            begun = len(held.builds)
            # Two tasks that find the dead task's lock at once would race here. LOCK-002 and LOCK-021 judge that race
            # without chance: so the second task is stopped until the first has taken the lock, or has ended.
            others.race.stop(1)
            victim.race.kill(0, tree=True)
            _until_the_first(others, lambda: len(held.builds) > begun, timeout=harness.timeout)
            others.race.resume(1)
            held.release()
            finished = others.finish()

    failed = [str(outcome) for outcome in finished.outcomes if not outcome.succeeded]
    assert not failed, (
        f"when a task is killed at the point {point!r}, the two others that share its virtualenv_dir must succeed; "
        f"seen: {len(failed)} failed: {failed[0] if failed else ''}"
    )


@pytest.fixture
def few_tries(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets tasks wait for the lock only ``TRIES`` seconds.

    :param harness: whose adapter knows the setting.
    :param monkeypatch: the ``monkeypatch`` of the test.
    """
    for name, value in harness.ask("setting", name="virtualenv_max_retries_lock", value=TRIES).items():
        monkeypatch.setenv(name, value)


def _stays_young(file: Path) -> bool:
    """Set the time of the file to now; False when the file is gone."""
    try:
        os.utime(file)
    except FileNotFoundError:
        return False
    return True


@requirement("LOCK-003")
def test_a_task_waits_for_the_live_process_in_the_lock_file(harness: Harness, lock: VenvLock, held: Sdist) -> None:
    lock.held_by(LIVE)

    with harness.start(harness.kept_task()) as running:
        did, owner = wait_for_outcome(harness, running, held), lock.owner

    assert did == RESTS, f"the task must wait for process {LIVE}, whose PID stands in {lock.file}; seen: {did}"
    assert owner == LIVE, f"the lock must go on naming process {LIVE} while a task waits; seen: {owner}"


@requirement("LOCK-004")
def test_a_waiting_task_goes_on_when_the_lock_is_released(harness: Harness, lock: VenvLock, held: Sdist) -> None:
    lock.held_by(LIVE)

    with harness.start(harness.kept_task()) as running:
        wait_for_outcome(harness, running, held)
        lock.release()
        went_on = wait_until(lambda: held.builds or not running.running, timeout=harness.timeout)
        held.release()
        outcome = running.finish().outcomes[0]

    said = "a task that waits must go on once the lock is released"
    assert went_on, f"{said}; seen: it did not, within {harness.timeout:g} s. {outcome}"
    assert outcome.succeeded, f"a task that has waited must then succeed; seen: {outcome}"


@pytest.mark.parametrize("what", [case("LOCK-005", "how long it waits"), case("LOCK-015", "what it does then")])
@pytest.mark.usefixtures("few_tries")
def test_a_task_waits_as_many_seconds_as_tries_were_allowed(
    harness: Harness, lock: VenvLock, held: Sdist, what: str
) -> None:
    lock.held_by(LIVE)

    with harness.start(harness.kept_task(), prepares_airflow=False) as running:
        stopped = wait_until(lambda: held.builds or not running.running, timeout=TRIES + AT_MOST_AFTER + harness.slack)
        installed, owner = bool(held.builds), lock.owner
        held.release()
        finished = running.finish()

    outcome = finished.outcomes[0]
    if what == "how long it waits":
        said = f"with {TRIES} tries the task must wait at least {TRIES} s, and stop within {TRIES + AT_MOST_AFTER:g} s"
        assert stopped, f"{said}; seen: it still waits. {outcome}"
        (task,) = finished.timeline.spans("task")
        waited = ([build.started_at for build in held.builds] or [task.end])[0] - task.started_at
        assert waited >= TRIES, f"{said}; seen: it went on after {waited:.1f} s. {outcome}"
    else:
        said = f"when its {TRIES} tries are over, a task must leave the lock to process {LIVE}, which lives, and say so"
        assert not installed, f"{said}; seen: it installs, and the lock names process {owner}. {outcome}"
        assert lock.owner == LIVE, f"{said}; seen: the lock names {lock.owner}. {outcome}"
        assert not outcome.succeeded, f"{said}; seen: {outcome}"
        assert str(LIVE) in str(outcome.exception), f"{said}; seen: its error does not name the process. {outcome}"


@requirement("LOCK-018")
def test_a_task_waits_for_the_live_task_of_another_host(harness: Harness, lock: VenvLock, held: Sdist) -> None:
    file = harness.ask("kernel_lock_file")
    assert file, "an adapter that declares foreign_hosts must name the file that a task locks (kernel_lock_file)"
    owner = lock.stale(age=0)

    with (lock.directory / file).open("w") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)  # as the task of the other host has it
        with harness.start(harness.kept_task()) as running:
            did = wait_for_outcome(harness, running, held)

    said = "a task must wait for the owner on another host, whatever process has that PID here"
    assert did == RESTS, f"{said}; seen: {did}"
    assert lock.owner == owner, f"{said}; seen: the lock names {lock.owner} instead of {owner}"


@requirement("LOCK-023")
def test_a_pid_that_is_written_over_a_stale_one_keeps_the_lock(harness: Harness, lock: VenvLock, held: Sdist) -> None:
    lock.stale()
    variables = {OVERWRITTEN: str(lock.file), OVERWRITING: str(LIVE)}

    with harness.start(harness.kept_task(), variables=variables) as running:
        did = wait_for_outcome(harness, running, held)

    if LIVE not in [owner.pid for owner in lock.history]:
        pytest.skip("the task does not change the lock file itself, so nobody can come before it")
    said = f"a task that has read a stale PID must not take the lock from process {LIVE}, whose PID was written over it"
    assert did == RESTS, f"{said}; seen: {did}"
    assert lock.owner == LIVE, f"{said}; seen: the lock names {lock.owner}"


@requirement("LOCK-021")
def test_a_task_survives_the_moment_in_which_the_lock_file_is_empty(harness: Harness, held: Sdist) -> None:
    harness.virtualenv_dir.mkdir()
    file = harness.virtualenv_dir / "cosmos_virtualenv.lock"
    file.touch()

    with watch_readers(file) as was_read, harness.start(harness.kept_task()) as running:
        # The owner has truncated the file and not written yet: its PID comes as soon as the task has read the file.
        watch_until_rest(
            running.pids,
            lambda: was_read() or not _stays_young(file) or not running.running,
            timeout=harness.timeout,
        )
        file.write_text(str(LIVE), encoding="ascii")
        did = wait_for_outcome(harness, running, held)
        file.unlink(missing_ok=True)
        held.release()
        outcome = running.finish().outcomes[0]

    said = "a task that reads the lock file before its live owner has written its PID must wait as if it had"
    assert did == RESTS, f"{said}; seen: {did}"
    assert outcome.succeeded, f"{said}, and go on when it is released; seen: {outcome}"
