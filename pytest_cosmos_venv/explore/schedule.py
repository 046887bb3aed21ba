"""Running one schedule: forking its contenders, letting one go on at a time, and judging the result."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from pytest_cosmos_venv.explore.contender import (
    BEGIN,
    END,
    compete,
    own_frames,
)
from pytest_cosmos_venv.explore.run import Schedule
from pytest_cosmos_venv.explore.stepping import (
    AT,
    BLOCKED,
    ENDS,
    SLEEPS,
    GivenUp,
    has_child,
    made_steps,
    receive,
    send,
)
from pytest_cosmos_venv.explore.steps import (
    EVERYTHING,
    GO,
    KILL,
    KILLED_BEFORE,
    WRITE,
    ExploredStep,
    Footprint,
    is_change,
)
from pytest_cosmos_venv.explore.virtual_clock import times_ahead
from pytest_cosmos_venv.processes.descendants import end_descendants
from pytest_cosmos_venv.races.contender import Contender
from pytest_cosmos_venv.races.meeting import contender_name
from pytest_cosmos_venv.races.result import Outcome

Work = Callable[[Contender], object]
Choice = tuple[int, str]
"""A contender, and what is done with it: ``go``, ``kill``, or the name of an error."""
READY, ASLEEP, DUE, WAITING, OVER = "a", "s", "d", "b", "e"
"""The state of a contender before a step, as a letter. In this order:

- it can go on;
- it sleeps;
- it sleeps and wakes next, since no contender can go on;
- it waits for a lock, or for all others;
- it has ended.
"""
_LONGEST_STEP = 30.0  # seconds of real time from one step to the next
_NO_LIMIT = 1_000_000_000
_DIGITS_OF_A_SECOND = 10  # since the epoch; three more are milliseconds
_TIME = re.compile(r"(?<![0-9a-f])\d{10}(?:\d{3}){0,3}(?![0-9a-f])")
_SHOWN_OUTPUT = 2_000


@dataclass(frozen=True, kw_only=True)
class ExplorationPlan:
    """What is explored: the same for all schedules.

    :param contenders: their functions.
    :param after: the function of one more contender, which begins when all others have ended; None: there is none.
    :param fresh: fills the folder of each schedule; None: it stays empty.
    :param check: judges each schedule by raising an error; None: nothing does.
    :param may_raise: exceptions with which a contender may end.
    :param most_steps: the number of steps after which a contender counts as endless.
    """

    contenders: tuple[Work, ...]
    after: Work | None = None
    fresh: Callable[[Path], object] | None = None
    check: Callable[[Schedule], object] | None = None
    may_raise: tuple[type[BaseException], ...] = ()
    most_steps: int = 2_000

    @property
    def works(self) -> tuple[Work, ...]:
        """The functions of all contenders, that of ``after`` last."""
        return self.contenders if self.after is None else (*self.contenders, self.after)


class ScheduleTrace(NamedTuple):
    """One schedule, as it went.

    :param steps: in the order in which they were made.
    :param standing: before each step, a letter for each contender.
    :param failure: what was wrong, in words; empty: nothing.
    :param divergence: where the schedule could not be followed; empty: nowhere.
    :param run: the ``Schedule``, pickled; empty where it was not requested.
    """

    steps: list[ExploredStep]
    standing: list[str]
    failure: str
    divergence: str
    run: bytes


@dataclass
class _Process:
    """One contender of the schedule that runs."""

    pid: int
    channel: Connection
    how: str = AT
    name: str = ""
    text: str = ""
    until: Any = ""
    outcome: Outcome | None = None
    locks: list[str] = field(default_factory=list)
    spans: set[str] = field(default_factory=set)
    had_error: bool = False

    def kill(self) -> None:
        """Kill the process. Its channel stays open."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Stuck(Exception):
    """A contender does not come to its next step."""


class Bench:
    """Runs schedules one after the other, in a process of its own.

    :param plan: what is explored.
    :param folder: an empty folder for the files of the schedules.
    :param own: descriptor of this process's channel. Contenders close it, or their children would keep it open.
    """

    def __init__(self, plan: ExplorationPlan, folder: Path, *, own: int) -> None:
        self._plan = plan
        self._own = own
        # The folder has the same name in each schedule: code may derive names from its path.
        self._root = folder / "explored"
        # It lives as long as this process.
        self._output = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        for descriptor in (1, 2):
            os.dup2(self._output.fileno(), descriptor)
        # Line-buffered: a killed contender loses no line.
        sys.stdout = sys.stderr = open(1, "w", 1, closefd=False, encoding="utf-8", errors="replace")  # noqa: SIM115

    def run(self, choices: Sequence[Choice], *, names: Mapping[int, str], with_run: bool = False) -> ScheduleTrace:
        """Run one schedule.

        :param choices: the choices, step by step. After them the last contender goes on while it can, then the first
            one that can.
        :param names: number of choices made -> name of the step that the last chosen contender must make next.
        :param with_run: whether the trace holds the pickled ``Schedule``.
        """
        os.ftruncate(self._output.fileno(), 0)
        os.lseek(self._output.fileno(), 0, os.SEEK_SET)
        self._root.mkdir()
        running = _Running(self._plan, os.path.realpath(self._root), self._own)
        try:
            running.go(choices, names)
        finally:
            running.end()
        run = running.result(self._root)
        failure = running.failure or self._judge(run)
        if failure and (shown := self._shown_output()):
            failure = f"{failure}\nThe contenders' output:\n{shown}"
        shutil.rmtree(self._root)
        return ScheduleTrace(
            running.steps, running.standing, failure, running.divergence, pickle.dumps(run) if with_run else b""
        )

    def _judge(self, run: Schedule) -> str:
        for outcome in run.outcomes:
            if outcome.end or outcome.traceback:
                return f"{outcome.actor} {outcome.in_words}\n{outcome.traceback or ''}".strip()
        try:
            if self._plan.check is not None:
                self._plan.check(run)
        except BaseException as error:  # noqa: BLE001 - what pytest.fail() raises is no Exception
            return words_of(error)
        return ""

    def _shown_output(self) -> str:
        sys.stdout.flush()
        size = os.fstat(self._output.fileno()).st_size
        text = os.pread(self._output.fileno(), _SHOWN_OUTPUT, max(0, size - _SHOWN_OUTPUT))
        return text.decode(errors="replace").strip()


class _Running:
    """One schedule while it runs.

    :param plan: what is explored.
    :param root: the explored folder.
    :param own: descriptor that contenders close.
    """

    def __init__(self, plan: ExplorationPlan, root: str, own: int) -> None:
        self.steps: list[ExploredStep] = []
        self.standing: list[str] = []
        self.failure = ""
        self.divergence = ""
        self._plan = plan
        self._root = root
        self._own = own
        self._clock = 0.0
        self._last: int | None = None
        self._idle_wakes = 0
        self._has_after = plan.after is not None
        if plan.fresh is not None:
            plan.fresh(Path(root))
        self._processes = self._begin()
        times = times_ahead()
        self._names = {str(process.pid): f"<pid of {contender_name(i)}>" for i, process in enumerate(self._processes)}
        # The same digits within a hex digest are no PID.
        self._pids = re.compile(rf"(?<![0-9a-f])({'|'.join(self._names)})(?![0-9a-f])")
        self._started = times[time.CLOCK_REALTIME]
        for process in self._processes:
            self._tell(process, ([each.pid for each in self._processes], times))
            self._hear(process)

    def _begin(self) -> list[_Process]:
        works = self._plan.works
        made: list[_Process] = []
        for index, work in enumerate(works):
            ours, theirs = Pipe()
            pid = os.fork()
            if pid == 0:
                for other in made:
                    other.channel.close()
                ours.close()
                os.close(self._own)
                compete(
                    work,
                    index,
                    len(works),
                    self._root,
                    theirs,
                    most_steps=self._plan.most_steps,
                    may_raise=self._plan.may_raise,
                )
            theirs.close()
            made.append(_Process(pid, ours))
        return made

    def go(self, choices: Sequence[Choice], names: Mapping[int, str]) -> None:
        """Run it to its end.

        :param choices: what is chosen, step by step.
        :param names: as for ``Bench.run``.
        """
        at = 0
        while not self.failure:
            if at < len(choices) and not self.divergence:
                (index, action), count = choices[at], 1
                if not self._is_possible(index, action):
                    self.divergence = f"step {at + 1}: {contender_name(index)} cannot go on there"
                    continue
                while at + count < len(choices) and choices[at + count] == (index, GO):
                    count += 1
            else:
                index, action, count = self._default(), GO, _NO_LIMIT
                if index is None:
                    return
            made = self._choose(index, action, count)
            at += made
            found = self._processes[index].name
            if names.get(at, found) != found and not self.divergence:
                self.divergence = f"after step {at}, {contender_name(index)} comes to {found}, not to {names[at]}"

    def _default(self) -> Any:
        """Return the contender that goes on without a choice; None when no contender can."""
        letters = self.letters()
        ready = [index for index, letter in enumerate(letters) if letter == READY]
        if self._last in ready:
            return self._last
        found = ready or [index for index, letter in enumerate(letters) if letter == DUE]
        if not found and WAITING in letters[: len(self._plan.contenders)]:
            waiting = [i for i, letter in enumerate(letters) if letter == WAITING and i < len(self._plan.contenders)]
            told = ", ".join(f"{contender_name(i)} ({self._processes[i].text})" for i in waiting)
            self.failure = f"No contender can go on: {told}"
        return found[0] if found else None

    def letters(self) -> str:
        """Return the state of each contender, as letters."""
        found = []
        are_others_over = all(process.outcome is not None for process in self._processes[:-1])
        for index, process in enumerate(self._processes):
            if process.outcome is not None:
                found.append(OVER)
            elif self._has_after and index == len(self._processes) - 1 and not are_others_over:
                found.append(WAITING)
            else:
                found.append({AT: READY, ENDS: READY, SLEEPS: ASLEEP, BLOCKED: WAITING}[process.how])
        sleeps = {index: self._processes[index].until for index, letter in enumerate(found) if letter == ASLEEP}
        if READY not in found and sleeps:
            first = min(sleeps.values())
            found = [DUE if sleeps.get(index) == first else letter for index, letter in enumerate(found)]
        return "".join(found)

    def _is_possible(self, index: int, action: str) -> bool:
        letter = self.letters()[index] if index < len(self._processes) else OVER
        return letter != OVER if action == KILL else letter in {READY, ASLEEP, DUE}

    def _choose(self, index: int, action: str, count: int) -> int:
        """Let a contender make ``count`` steps, or kill it; return the number of steps that were made."""
        process = self._processes[index]
        before = self.letters()
        if action == KILL:
            self._die(index, process, before)
            return 1
        self._last = index
        if process.how == SLEEPS:
            self._wake(process)
        if process.how == ENDS:
            self._finish(index, process, before)
            return 1
        self._tell(process, (count, action, self._clock))
        process.had_error = process.had_error or action != GO
        made = self._hear(process)
        for number, step in enumerate(made_steps(index, made, self._clock, action)):
            self._add(step, before if number == 0 else self._letters_within(index))
        return len(made)

    def _letters_within(self, index: int) -> str:
        """Return the letters between two steps of one contender, which itself can go on."""
        process = self._processes[index]
        how, outcome, process.how = process.how, process.outcome, AT
        process.outcome = None
        letters = self.letters()
        process.how, process.outcome = how, outcome
        return letters

    def _wake(self, process: _Process) -> None:
        # A sleep may take longer than asked for. Otherwise a contender that polls for an hour would make thousands of
        # steps.
        self._idle_wakes = 0 if any(is_change(step.footprint) for step in self.steps[-20:]) else self._idle_wakes + 1
        self._clock = max(self._clock, float(process.until))
        if self._idle_wakes > 5:
            self._clock += min(2.0 ** (self._idle_wakes - 5) / 100, 3600.0)

    def _add(self, step: ExploredStep, standing: str) -> None:
        process = self._processes[step.contender]
        for lock in [resource for resource, _ in step.footprint if resource.startswith("lock:") and step.name != KILL]:
            if step.name == "close" or step.text.endswith("LOCK_UN"):
                process.locks = [held for held in process.locks if held != lock]
            elif not step.outcome and step.name in {"flock", "fcntl"}:
                process.locks.append(lock)
        if step.name in {BEGIN, END} and step.action == GO:
            (process.spans.add if step.name == BEGIN else process.spans.discard)(f"span:{step.text.partition(' ')[2]}")
        released = {resource for resource, mode in step.footprint if mode == WRITE}
        for other in self._processes:
            if other.how == BLOCKED and other is not process and (other.until in released or EVERYTHING in released):
                other.how = AT
        text = self._pids.sub(lambda found: self._names[found[0]], step.text)
        self.steps.append(step._replace(text=_TIME.sub(self._time_in_words, text)))
        self.standing.append(standing)

    def _time_in_words(self, found: re.Match[str]) -> str:
        """Return words for a time in the name of a file: the time itself differs in each schedule."""
        seconds = int(found[0]) / 10.0 ** (len(found[0]) - _DIGITS_OF_A_SECOND) - self._started
        if abs(seconds) > self._clock + _LONGEST_STEP:
            return found[0]
        return f"<start + {seconds:.3g} s>" if seconds >= 0 else "<before the start>"

    def _death(self, index: int, process: _Process) -> Footprint:
        return tuple(
            (each, WRITE) for each in (f"process:{index}", *dict.fromkeys(process.locks), *sorted(process.spans))
        )

    def _die(self, index: int, process: _Process, before: str) -> None:
        process.kill()
        process.outcome = Outcome(actor=contender_name(index), pid=process.pid, signal=signal.SIGKILL)
        text = f"{KILLED_BEFORE}{process.text}"
        self._add(ExploredStep(index, KILL, KILL, text, "", self._death(index, process), self._clock), before)

    def _finish(self, index: int, process: _Process, before: str) -> None:
        value, error, told, end = pickle.loads(process.until)  # noqa: S301 - our own process has pickled it
        self._tell(process, None)
        os.waitpid(process.pid, 0)
        process.outcome = Outcome(
            actor=contender_name(index),
            pid=process.pid,
            value=value,
            exception=error,
            traceback=None if process.had_error else told,
            exit_code=0 if error is None else 1,
            end=end,
        )
        text = "makes too many steps" if end else "returns" if error is None else f"raises {error}"
        self._add(ExploredStep(index, GO, "end", text, "", self._death(index, process), self._clock), before)

    def _tell(self, process: _Process, order: Any) -> None:
        """Send an order to a contender. If another contender has killed it, ``_hear`` notices."""
        with suppress(GivenUp):
            send(process.channel, order)

    def _hear(self, process: _Process) -> list[tuple[Any, ...]]:
        """Wait until a contender has stopped again; returns the steps that it has made."""
        if not process.channel.poll(_LONGEST_STEP):
            raise Stuck(
                f"A contender does not come to its next step within {_LONGEST_STEP:.0f} s: it waits for something that "
                f"is not seen. Its last step: {process.text}"
            )
        try:
            made, process.how, process.name, process.text, process.until = receive(process.channel)
        except GivenUp:
            os.waitpid(process.pid, 0)
            index = self._processes.index(process)
            process.outcome = Outcome(actor=contender_name(index), pid=process.pid, end="died")
            self.failure = f"{contender_name(index)} has died after: {process.text}"
            return []
        return list(made)

    def end(self) -> None:
        """End all contenders that are left, and close what belongs to them."""
        for index, process in enumerate(self._processes):
            if process.outcome is None:
                process.kill()
                process.outcome = Outcome(actor=contender_name(index), pid=process.pid, end=f"waits: {process.text}")
        for process in self._processes:
            process.channel.close()
        end_others()

    def result(self, root: Path) -> Schedule:
        """Return the ``Schedule`` that was run.

        :param root: the explored folder.
        """
        outcomes = tuple(process.outcome for process in self._processes if process.outcome is not None)
        return Schedule(outcomes=outcomes, steps=tuple(self.steps), folder=root, divergence=self.divergence)


def end_others() -> None:
    """End the processes that contenders have started and left behind."""
    if has_child():
        end_descendants()


def words_of(error: BaseException) -> str:
    """Return an error in words, with the last line of the test that raised it.

    :param error: the error.
    """
    frames = own_frames(error)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
    name = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return f"{where}{name}{error}"
