"""LOCK: what the lock file says, what dead owners have left behind, and several tasks that want one environment."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import CosmosLock, VenvLock
from pytest_cosmos_venv.environments.sdist import Sdist
from pytest_cosmos_venv.processes.lock_history import LockOwner, pid_in, read_text
from pytest_cosmos_venv.processes.pids import Pids
from pytest_cosmos_venv.real_time import wait_until

from ..fixtures import Picture
from ..harness.harness import TEMPORARY_PLACES, Harness
from ..harness.mounts import WriterHalt, watch_readers
from ..harness.probes import OVERWRITING, OVERWRITTEN
from ..harness.processes import Installer, installers_below, lives, two_into_one, watch_until_rest
from ..harness.running import RunningTasks
from ..harness.runs import RESTS, run_begins, wait_for_outcome
from ..options import ROUNDS, asked
from ..requirements import case, requirement

LIVE = os.getpid()
"""PID of a process that lives, and has begun long before any lock file is written: the suite's own."""
LOCK_FILE = "cosmos_virtualenv.lock"
UNTIL_FREE = 5.0
"""Seconds that a killed task's installer may need to end, if the lock file names the installer."""
REWRITING = 0.05
"""Seconds that may pass while one record is replaced by another."""
REST = 3.0
"""Seconds without work after which a task counts as waiting. A task that installs, runs dbt or can go on never rests so
long."""
PAUSE = 0.15
"""Seconds without work after which a task has begun to wait: with work to do, it is running or waiting for a processor,
also when eight tasks share few processors."""
CONTENDERS = 8
SAID = "two tasks must not install into one environment at the same moment"
TRIES = 3
AT_MOST_AFTER = 30.0
"""Seconds that a task may take to stop waiting, once its tries are over."""


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
        assert did is None, f"while a task in a temporary environment ({place}) {moment}, another must run; seen: {did}"
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
def test_a_record_of_ones_own_number_is_overridden(harness: Harness, lock: VenvLock, held: Sdist) -> None:
    first = harness.wheelhouse.add_sdist(
        "dbt-harbor", requires=(), hold=True, fails_with="It fails for the test's sake."
    )
    elsewhere = harness.task(virtualenv_dir=str(harness.folder / "elsewhere"), py_requirements=["dbt-harbor"])

    with harness.start([elsewhere, harness.kept_task()], contenders=1) as running:
        running.race.wait_for("installing")
        lock.held_by(running.pids[0])
        first.release()  # the first operator's installation fails, and the second operator begins
        did = wait_for_outcome(harness, running, held, seconds=REST)
        has_begun, pid = bool(held.builds), running.pids[0]

    said = f"a task must override its own PID ({pid}), left in the lock file by an earlier operator of its process"
    assert has_begun, f"{said}; seen: {did}"


class _Watch:
    """Looks for two installers that work on one environment, in a directory.

    :param running: the tasks that are watched.
    :param directory: their ``virtualenv_dir``.
    :param held: the package that each of them has to build, and waits in.
    :param timeout: seconds that each wait may take.
    :param beside: PIDs of tasks that install there too.
    """

    def __init__(
        self, running: RunningTasks, directory: Path, held: Sdist, *, timeout: float, beside: Iterable[int] = ()
    ) -> None:
        self._running, self._directory, self._timeout = running, directory, timeout
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

    def until_others_rest(self) -> None:
        """Wait until one task installs, and the other tasks rest or have ended."""
        wait_until(lambda: self.look() or self.seen or len(self._held.builds) > self._begun, timeout=self._timeout)
        others = [*{self._running.pids[at] for at in self._running.running} - self.seen]
        watch_until_rest(others, self.look, seconds=PAUSE, with_children=False, timeout=self._timeout)

    def require(self, said: str, *, seen: str = "seen") -> None:
        """Fail if two installers were seen at once.

        Skip if no installer was seen: two of them would not have been seen either.

        :param said: what was required.
        :param seen: the words before what was seen.
        :raises AssertionError: two installers were seen at once.
        """
        __tracebackhide__ = True
        if self.offence is not None:
            one, other = self.offence
            raise AssertionError(f"{said}; {seen}: {one} and {other}, both for {one.target}")
        if not self.seen:
            told = "builds run, and " if self._held.builds else "no build has begun, and "
            pytest.skip(
                f"{told}neither command line nor variables of an installer name an environment in {self._directory}: "
                "whether two fill one at once cannot be seen"
            )


@requirement("LOCK-002")
def test_two_tasks_that_both_find_a_stale_lock_do_not_both_install(
    harness: Harness, lock: VenvLock, held: Sdist, picture: Picture
) -> None:
    lock.stale()

    with (
        closing(WriterHalt(lock.file)) as halt,
        # Four times: so many waits follow.
        harness.start(harness.kept_task(), contenders=2, timeout=4 * harness.timeout) as running,
    ):
        watch = _Watch(running, harness.virtualenv_dir, held, timeout=harness.timeout)
        wait_until(lambda: halt.has_halted or held.builds or not running.running, timeout=harness.timeout)
        # A task that writes into the record that it found is halted there. The other gets time to reach this point.
        watch_until_rest(running.pids, lambda: held.builds or not running.running, timeout=harness.timeout)
        halt.close()
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
    rounds = ROUNDS[asked(pytestconfig, "rounds")]

    for number in range(1, rounds + 1):
        directory = harness.folder / f"virtualenvs-{number}"
        with harness.start(harness.task(virtualenv_dir=str(directory)), contenders=CONTENDERS) as running:
            watch = _Watch(running, directory, held, timeout=harness.timeout)
            watch.until_others_rest()
        watch.require(SAID, seen=f"seen in 1 of {number} rounds of {CONTENDERS} tasks")
    evidence(f"two installers at once were seen in 0 of {rounds} rounds of {CONTENDERS} tasks")


def _until_the_first(tasks: RunningTasks, is_there: Callable[[], object], *, timeout: float) -> None:
    """Wait until ``is_there`` is true of the first task, or the first task waits or has ended."""
    watch_until_rest(tasks.pids[:1], lambda: is_there() or 0 not in tasks.running, seconds=REST, timeout=timeout)


@requirement("LOCK-017")
def test_two_tasks_run_dbt_in_one_environment_at_once(harness: Harness, picture: Picture) -> None:
    script = harness.wheelhouse.script("run", hold=True)

    with harness.start(harness.kept_task(), contenders=2) as running:
        # Two tasks that begin together may pass a broken lock together, which proves nothing: so the second task is
        # stopped until the first runs dbt.
        running.race.stop(1)
        _until_the_first(running, lambda: harness.calls("run"), timeout=harness.timeout)
        running.race.resume(1)
        watch_until_rest(running.pids, lambda: len(harness.calls("run")) == 2, seconds=REST, timeout=harness.timeout)
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
    with suppress(FileNotFoundError):
        os.utime(file)
        return True
    return False


@requirement("LOCK-003")
def test_a_task_waits_for_the_live_process_in_the_lock_file(harness: Harness, lock: VenvLock, held: Sdist) -> None:
    lock.held_by(LIVE)

    with harness.start(harness.kept_task()) as running:
        did, owner = wait_for_outcome(harness, running, held), lock.owner

    said = f"a task must wait for process {LIVE}, whose PID stands in {lock.file}, and leave the lock to it"
    _require_waits(said, did, owner, LIVE)


def _require_waits(said: str, did: str, owner: int | None, required: int) -> None:
    """Fail unless the task has come to rest, and the lock names the process for which the task has to wait."""
    __tracebackhide__ = True
    assert did == RESTS, f"{said}; seen: {did}"
    assert owner == required, f"{said}; seen: the lock names {owner} instead of {required}"


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
    _require_waits(said, did, lock.owner, owner)


@requirement("LOCK-023")
def test_a_pid_that_is_written_over_a_stale_one_keeps_the_lock(harness: Harness, lock: VenvLock, held: Sdist) -> None:
    lock.stale()
    variables = {OVERWRITTEN: str(lock.file), OVERWRITING: str(LIVE)}

    with harness.start(harness.kept_task(), variables=variables) as running:
        did = wait_for_outcome(harness, running, held)

    if LIVE not in [owner.pid for owner in lock.history]:
        pytest.skip("the task does not change the lock file itself, so nobody can come before it")
    said = f"a task that has read a stale PID must not take the lock from process {LIVE}, whose PID was written over it"
    _require_waits(said, did, lock.owner, LIVE)


@requirement("LOCK-021")
def test_a_task_survives_the_moment_in_which_the_lock_file_is_empty(harness: Harness, held: Sdist) -> None:
    harness.virtualenv_dir.mkdir()
    file = harness.virtualenv_dir / LOCK_FILE
    file.touch()

    with watch_readers(file) as was_read, harness.start(harness.kept_task()) as running:
        # The owner has truncated the file and not written yet: its PID comes when the task has read the file, and has
        # then changed it or begun to wait. On a busy machine a faulty task found the PID before it acted.
        watch_until_rest(running.pids, lambda: was_read() or not _stays_young(file), timeout=harness.timeout)
        watch_until_rest(
            running.pids, lambda: _stays_young(file) and read_text(file), timeout=harness.timeout, seconds=PAUSE
        )
        file.write_text(str(LIVE), encoding="ascii")
        did = wait_for_outcome(harness, running, held)
        file.unlink(missing_ok=True)
        held.release()
        outcome = running.finish().outcomes[0]

    said = "a task that reads the lock file before its live owner has written its PID must wait as if it had"
    assert did == RESTS, f"{said}; seen: {did}"
    assert outcome.succeeded, f"{said}, and go on when it is released; seen: {outcome}"
