"""An exploration: it keeps a queue of schedules, and stops soon after a schedule has failed.

A short text, the seed, repeats a schedule: ``a12(link) b30 a!``. A word is a stretch of steps of one contender: ``a``
is ``contender-0``, the number counts its steps, and the brackets name the next step, before which it was stopped.
``a!`` kills the contender there, ``a:ENOSPC`` lets its next step fail.
"""

from __future__ import annotations

import heapq
import os
import pickle
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse, UnfinishedExplorationWarning
from pytest_cosmos_venv.explore.reduction import Analysis, Cost
from pytest_cosmos_venv.explore.run import Schedule
from pytest_cosmos_venv.explore.schedule import Choice, ExplorationPlan, ScheduleTrace
from pytest_cosmos_venv.explore.steps import GO, KILL, KILLED_BEFORE, ExploredStep
from pytest_cosmos_venv.explore.workers import ScheduleNotRun, Worker, wait_for_workers

_MOST_WORKERS = 2
_LOOKS_FOR_SHORTER = 100  # schedules that are run after the first that has failed
_WORD = re.compile(r"([a-z])(?:(\d+)(?:\((\w+)\))?|(!)|:(E[A-Z]+))")
_DID_NOT_FAIL_AGAIN = "The same schedule did not fail when it was run once more."


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """The result of an exploration.

    :param schedules: number of schedules that were run.
    :param left: number of schedules that were found and not run, because a bound was hit. There may be more.
    :param orders: number of different orders of those steps that do not commute.
    :param seconds: the time that it took.
    :param bounds: the bounds of the exploration, in words.
    """

    schedules: int
    left: int
    orders: int
    seconds: float
    bounds: str

    @property
    def is_complete(self) -> bool:
        """Whether every schedule within the bounds was run, except those that the reduction leaves out.

        The left-out schedules are equivalent to others. This is tested, not proven: random small programs have the same
        orders with and without reduction. ``reduction=False`` runs every schedule.
        """
        return self.left == 0

    def __str__(self) -> str:
        of = "" if self.is_complete else f" of at least {self.schedules + self.left:,}"
        count = f"{self.schedules:,}{of}"
        word = "schedule" if count == "1" else "schedules"
        seen = f"{self.orders:,} orders, {self.seconds:.1f} s"
        return f"explored {count} {word} with {self.bounds}: {seen}"


class FailingSchedule(AssertionError):
    """A schedule in which something is wrong.

    :ivar seed: repeats the schedule, by ``cosmos_race.replay``.
    :ivar run: the schedule as it went.
    :ivar exploration: what had been seen by then.
    :param failure: what is wrong, in words.
    :param seed: the value of the attribute.
    :param run: the value of the attribute.
    :param exploration: the value of the attribute; None for a schedule that was repeated.
    """

    def __init__(self, failure: str, seed: str, run: Schedule, exploration: Exploration | None) -> None:
        self.seed = seed
        self.run = run
        self.exploration = exploration
        picture = run.timeline.draw()
        drawn = f"\n\n{picture}\n(a second stands for a step)" if len(run.timeline) and picture not in failure else ""
        left = f"\n({run.divergence}: the schedule could not be followed from there.)" if run.divergence else ""
        seen = "" if exploration is None else f" ({exploration})"
        ends = "\n".join(f"{outcome.actor} {outcome.in_words}" for outcome in run.outcomes)
        super().__init__(
            f"{failure}\n\nThe shortest schedule that was found{seen}:\n{run.table()}\n\n{ends}{drawn}{left}\n\n"
            f"Again: cosmos_race.replay({seed!r}, …)"
        )


def explore(
    plan: ExplorationPlan, most: Cost, new_folder: Callable[[], Path], *, at_most: int, seconds: float, is_reduced: bool
) -> Exploration:
    """Run the contenders in every order of their steps within the bounds, each time in a new folder.

    :param plan: what is explored.
    :param most: the bounds of one schedule.
    :param new_folder: makes an empty folder.
    :param at_most: number of schedules after which the exploration stops with a warning.
    :param seconds: time after which the exploration stops with a warning.
    :param is_reduced: whether to leave out schedules that are equivalent to others.
    :raises FailingSchedule: a schedule failed.
    """
    __tracebackhide__ = True
    search = _Search(plan, most, is_reduced=is_reduced)
    with _workers(plan, new_folder, max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0))))) as workers:
        found = search.run(workers, at_most=at_most, seconds=seconds)
    if found is not None:
        raise found
    exploration = search.seen()
    if not exploration.is_complete:
        warnings.warn(UnfinishedExplorationWarning(str(exploration)), stacklevel=3)
    return exploration


def replay(seed: str, plan: ExplorationPlan, new_folder: Callable[[], Path]) -> Schedule:
    """Run one schedule again: the one that an exploration has found.

    :param seed: the schedule, as the failure has named it.
    :param plan: what is explored.
    :param new_folder: makes an empty folder.
    :raises FailingSchedule: something is wrong in it.
    :raises ToolkitMisuse: the seed is no schedule.
    """
    __tracebackhide__ = True
    choices, names = choices_of(seed)
    with _workers(plan, new_folder, 1) as (worker,):
        worker.start(seed, choices, names, with_run=True)
        trace = _trace_of(worker)
    run: Schedule = pickle.loads(trace.run)  # noqa: S301 - our own process has pickled it
    if trace.failure:
        raise FailingSchedule(trace.failure, seed, run, None)
    return run


@contextmanager
def _workers(plan: ExplorationPlan, new_folder: Callable[[], Path], count: int) -> Iterator[list[Worker]]:
    with _fast_folder(new_folder) as folder, ExitStack() as ends:
        workers: list[Worker] = []
        for number in range(count):
            own = folder / f"worker-{number}"
            own.mkdir()
            workers.append(Worker(plan, own))
            ends.callback(workers[-1].close)
        yield workers


class _Search:
    """The schedules of one exploration: those that were run, and those that are still to be.

    :param plan: what is explored.
    :param most: the bounds.
    :param is_reduced: whether to leave out schedules that are equivalent to others.
    """

    def __init__(self, plan: ExplorationPlan, most: Cost, *, is_reduced: bool) -> None:
        self._plan = plan
        self._most = most
        self._is_reduced = is_reduced
        self._queue: list[tuple[int, int, int, list[str], tuple[Choice, ...]]] = [(0, 0, 0, [], ())]
        self._known: set[tuple[int, Choice]] = set()
        self._orders: set[int] = set()
        self._met: dict[tuple[int, Choice], list[Cost]] = {}
        self._schedules = 0
        self._pushed = 1
        self._began = real_time.monotonic()
        self._at_work = 0

    def run(self, workers: Sequence[Worker], *, at_most: int, seconds: float) -> FailingSchedule | None:
        """Run all schedules; return the shortest one that has failed.

        :param workers: run them.
        :param at_most: number of schedules.
        :param seconds: the time.
        """
        best: tuple[tuple[int, int, int, tuple[Choice, ...]], ScheduleTrace] | None = None
        last = at_most
        while True:
            is_over = self._schedules + self._at_work >= last or real_time.monotonic() - self._began > seconds
            for worker in workers:
                if worker.job is None and self._queue and not is_over:
                    *_, told, choices = heapq.heappop(self._queue)
                    worker.start((told, choices), choices)
                    self._at_work += 1
                    is_over = self._schedules + self._at_work >= last
            busy = [worker for worker in workers if worker.job is not None]
            if not busy:
                break
            for worker in wait_for_workers(busy):
                told, choices = worker.job
                trace = _trace_of(worker)
                self._at_work -= 1
                self._schedules += 1
                # The texts repeat, so each is interned.
                texts = [sys.intern(step.text) for step in trace.steps]
                if other := trace.divergence or _difference(told, texts[: max(len(choices) - 1, 0)]):
                    raise ToolkitMisuse(_not_repeatable(other))
                cost = self._take(trace, choices, texts)
                if trace.failure:
                    # ``choices`` break ties, so that the same schedule is shown each time, whichever worker ends first.
                    rank = (cost.preemptions, cost.kills + cost.errors, len(trace.steps), choices)
                    if best is None:
                        last = min(at_most, self._schedules + _LOOKS_FOR_SHORTER)
                    if best is None or rank < best[0]:
                        best = rank, trace
        return None if best is None else self._failing(workers[0], best[1], best[0][-1])

    def seen(self) -> Exploration:
        """Return what was seen so far."""
        most = self._most
        bounds = [
            f"at most {count} {word}{'' if count == 1 else 's'}"
            for count, word in ((most.preemptions, "preemption"), (most.kills, "kill"), (most.errors, "error"))
            if count or word != "error"
        ]
        return Exploration(
            schedules=self._schedules,
            left=len(self._queue),
            orders=len(self._orders),
            seconds=real_time.monotonic() - self._began,
            bounds=", ".join(bounds),
        )

    def _take(self, trace: ScheduleTrace, choices: Sequence[Choice], texts: list[str]) -> Cost:
        """Queue the schedules that follow from this one, and return its cost."""
        analysis = Analysis(trace.steps, trace.standing, 0 if self._plan.after is None else 1)
        start = max(len(choices) - 1, 0)
        taken = [(step.contender, step.action) for step in trace.steps]
        prefixes = _prefixes(taken)
        self._known.update(zip(prefixes[start:], taken[start:], strict=False))
        raced = list(analysis.races(start))
        found = raced if self._is_reduced else list(analysis.all_others(start))
        if self._most.kills or self._most.errors:
            found += analysis.faults(start, with_others=not self._is_reduced)
        for at, choice in found:
            if (prefixes[at], choice) in self._known:
                continue
            cost = analysis.cost(at, choice)
            if cost.within(self._most) and not (self._is_reduced and self._is_met(analysis.state(at), choice, cost)):
                self._known.add((prefixes[at], choice))
                self._pushed += 1
                entry = (cost.preemptions, cost.kills + cost.errors, self._pushed, texts, (*taken[:at], choice))
                heapq.heappush(self._queue, entry)
        if analysis.signatures:
            self._orders.add(analysis.signatures[-1])
        return analysis.used

    def _is_met(self, state: int, choice: Choice, cost: Cost) -> bool:
        """Whether a schedule of no higher cost has reached the same state and made the same choice there."""
        met = self._met.setdefault((state, choice), [])
        if any(other.within(cost) for other in met):
            return True
        met.append(cost)
        return False

    def _failing(self, worker: Worker, trace: ScheduleTrace, choices: tuple[Choice, ...]) -> FailingSchedule:
        worker.start(choices, choices, with_run=True)
        again = _trace_of(worker)
        run: Schedule = pickle.loads(again.run)  # noqa: S301 - our own process has pickled it
        failure = again.failure or f"{trace.failure}\n({_DID_NOT_FAIL_AGAIN})"
        return FailingSchedule(failure, seed_of(choices, again.steps), run, self.seen())


def _trace_of(worker: Worker) -> ScheduleTrace:
    __tracebackhide__ = True
    try:
        return worker.trace()
    except ScheduleNotRun as error:
        raise ToolkitMisuse(str(error)) from None


def _prefixes(items: Iterable[object]) -> list[int]:
    """Return a hash for each prefix of a sequence, from the empty prefix to the whole sequence."""
    found = [hash(())]
    for item in items:
        found.append(hash((found[-1], item)))
    return found


def _difference(told: Sequence[str], texts: Sequence[str]) -> str:
    """Return the first step that differs from before, in words; empty where no step differs."""
    pairs = enumerate(zip(told, texts, strict=False), start=1)
    return next((f"step {at} was {old} before, and {new} now" for at, (old, new) in pairs if old != new), "")


def _not_repeatable(other: str) -> str:
    return (
        f"The contenders do not do the same in each run of one schedule ({other}), so that it cannot be explored. "
        "Something that is not seen decides what they do: the time of datetime.now(), a thread, the order of a set, a "
        f"file outside of the folder."
    )


@contextmanager
def _fast_folder(new_folder: Callable[[], Path]) -> Iterator[Path]:
    """Yield an empty folder, in memory where possible: each schedule makes its files anew."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    if not os.access(memory, os.W_OK):
        yield new_folder()
        return
    # Containers that share this memory may use the same PIDs, so the name holds the PID namespace.
    prefix = f"cosmos-schedules-{Path('/proc/self/ns/pid').stat().st_ino}"
    for left in memory.glob(f"{prefix}-*"):  # a killed exploration leaves its folder
        if not Path("/proc", left.name.split("-")[3]).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-{os.getpid()}-", dir=memory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seed_of(choices: Sequence[Choice], steps: Sequence[ExploredStep]) -> str:
    """Return the text of a schedule.

    :param choices: the choices; after them the last contender goes on.
    :param steps: all of its steps.
    """
    words = []
    at = 0
    for (index, action), group in groupby(choices):
        count = len(list(group))
        at += count
        letter = chr(ord("a") + index)
        if action == KILL:
            words.append(f"{letter}!")
        elif action != GO:
            words.append(f"{letter}:{action}")
        else:
            name = next((_name_of(step) for step in steps[at:] if step.contender == index), None)
            words.append(f"{letter}{count}{f'({name})' if name else ''}")
    return " ".join(words)


def _name_of(step: ExploredStep) -> str:
    """The name of a step that was made, or of the step before which its contender was killed."""
    return step.text.removeprefix(KILLED_BEFORE).partition(" ")[0] if step.action == KILL else step.name


def choices_of(seed: str) -> tuple[list[Choice], dict[int, str]]:
    """Return the choices of a seed; and number of choices -> name of the step that the contender must make next.

    :param seed: the text.
    :raises ToolkitMisuse: the text is no seed.
    """
    choices: list[Choice] = []
    names: dict[int, str] = {}
    for word in seed.split():
        found = _WORD.fullmatch(word)
        if found is None:
            raise ToolkitMisuse(
                f"seed={seed!r}: {word!r} is no part of a schedule, such as a12, a12(link), a! or a:EIO."
            )
        letter, count, name, kill, error = found.groups()
        index = ord(letter) - ord("a")
        if kill or error:
            choices.append((index, KILL if kill else error))
            continue
        choices += [(index, GO)] * int(count)
        if name:
            names[len(choices)] = name
    return choices, names
