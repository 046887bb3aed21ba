"""The result of a race: the outcome of each contender, and everything that is known of the race at any moment.

What is known comes from three sources: the contenders' own words, what was seen from outside, and when each died. A
process that was seen somewhere is known by its environment, its parents, or the lock file.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.environments.scripted_dbt import DbtCall
from pytest_cosmos_venv.environments.sdist import SourceBuild
from pytest_cosmos_venv.errors import RecordDict, RecordTuple
from pytest_cosmos_venv.races.contender import TASK
from pytest_cosmos_venv.races.event_log import ACTOR_VARIABLE, Span
from pytest_cosmos_venv.races.messages import EVENTS, RaceOrder, Result, unpickled
from pytest_cosmos_venv.races.plan import Sighting, lock_owner
from pytest_cosmos_venv.races.supervisor_client import SupervisorLink
from pytest_cosmos_venv.races.timeline import INSTALL, Timeline

_SHOWN_LINES = 30
# Of a contender that was asked where it is.
_OUR_FRAMES = (str(Path(__file__).parent), 'File "<string>"')
_OUTSIDE = "seen from outside"


class RaceFailure(AssertionError):
    """A race did not go as it had to; the message shows which contender failed, what it said, and the timeline."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one contender.

    :param actor: its name: ``contender-0``.
    :param pid: the PID of its process.
    :param value: what its function returned.
    :param exception: type and text of what it raised, or None.
    :param traceback: the same at length.
    :param exit_code: the exit code of its process; None when a signal ended it, or the race when its time was over.
    :param signal: the signal that ended its process, or None.
    :param output: all that it and its children wrote to their standard streams.
    :param has_returned: whether its function came to its end, whatever the exit code.
    """

    actor: str
    pid: int
    value: Any = None
    exception: str | None = None
    traceback: str | None = field(default=None, repr=False)
    exit_code: int | None = None
    signal: signal.Signals | None = None
    output: str = field(default="", repr=False)
    has_returned: bool = True

    @property
    def succeeded(self) -> bool:
        """Whether its function returned."""
        return self.exit_code == 0 and self.exception is None and self.has_returned

    @property
    def in_words(self) -> str:
        """The end in words: ``returned 3``, ``ValueError: ...``, ``killed by SIGKILL``."""
        if self.signal is not None:
            return f"killed by {self.signal.name}"
        if self.exception is not None:
            return self.exception
        if self.exit_code is None:
            return "had not ended"
        if self.exit_code == 0 and not self.has_returned:
            return "the process ended by itself with 0 before it answered"
        return f"returned {self.value!r}" if self.succeeded else f"left with exit code {self.exit_code}"

    def report(self) -> str:
        """The end in words, then the last lines of the traceback and of the output."""
        said = _last_lines(self.output)
        parts = [f"{self.actor} (PID {self.pid}): {self.in_words}", _last_lines(self.traceback or "")]
        return "\n".join([part for part in parts if part] + ([f"its output:\n{said}"] if said else []))


@dataclass(frozen=True, kw_only=True)
class Race:
    """A race that is over.

    :param outcomes: the outcomes of the contenders, in their order.
    :param timeline: their tasks, spans and points, points seen from outside, and the calls of a fake dbt.
    :param sightings: name of a point the race waited for -> when it was reached, and by which contender.
    :param left_behind: processes that the contenders had left running and that did not end by themselves in the time of
        grace, in words. They were killed. A failed comparison with ``()`` tells how such a process is declared.
    :param services: processes that stay by design, in words: declared by the implementation, by ``cosmos_services`` in
        the ini file, or by ``services=...``. They were not waited for, and were killed too.
    :param start_spread: seconds between the first and the last start.
    """

    outcomes: tuple[Outcome, ...]
    timeline: Timeline
    sightings: Mapping[str, Sighting]
    left_behind: tuple[str, ...]
    services: tuple[str, ...]
    start_spread: float

    @property
    def values(self) -> tuple[Any, ...]:
        """The values that the functions returned, in the order of the contenders; None for one that was killed."""
        return RecordTuple((outcome.value for outcome in self.outcomes), of="values", none="nobody raced", word=repr)

    @property
    def winners(self) -> tuple[Outcome, ...]:
        """The outcomes whose function returned."""
        return _outcomes("winners", (outcome for outcome in self.outcomes if outcome.succeeded))

    @property
    def losers(self) -> tuple[Outcome, ...]:
        """The outcomes of those that raised, left or were killed."""
        return _outcomes("losers", (outcome for outcome in self.outcomes if not outcome.succeeded))


def _outcomes(of: str, found: Iterable[Outcome]) -> tuple[Outcome, ...]:
    return RecordTuple(
        found, of=of, none="no contender is one", word=lambda outcome: f"{outcome.actor} {outcome.in_words}"
    )


def read_outcome(order: RaceOrder, index: int, pid: int, exit_code: int | None) -> Outcome:
    """The outcome that a contender has left in the race's folder.

    :param order: the race.
    :param index: the index of the contender, from 0.
    :param pid: the PID of its process.
    :param exit_code: the exit code of its process, negative for a signal; None when it had not ended.
    """
    result = _read_result(order.outcome_of(index))
    value, unreadable = _read_value(result.value, plain=order.plain)
    is_signal = exit_code is not None and exit_code < 0
    return Outcome(
        actor=order.names[index],
        pid=pid,
        value=value,
        exception=result.error or unreadable,
        traceback=result.traceback,
        exit_code=None if is_signal else exit_code,
        signal=signal.Signals(-exit_code) if exit_code is not None and is_signal else None,
        output=_read_output(order.output_of(index)),
        has_returned=result.value is not None,
    )


def failure_message(sentence: str, outcomes: Sequence[Outcome], timeline: Timeline) -> str:
    """The text of a failure: the sentence, a report of each outcome, and the chart.

    :param sentence: what went wrong.
    :param outcomes: the outcomes to show, the most important first.
    :param timeline: the timeline of the race.
    """
    return "\n\n".join([sentence, *(outcome.report() for outcome in outcomes), timeline.draw()])


def _read_result(file: Path) -> Result:
    try:
        found = unpickled(file.read_bytes(), Result)
    except FileNotFoundError:
        return Result()
    except Exception as error:  # noqa: BLE001 - a contender may write there what it likes
        return Result(error=f"what the contender left as its result cannot be read ({error})")
    return found if isinstance(found, Result) else Result(error="what the contender left is no result")


def _read_value(pickled: bytes | None, *, plain: bool) -> tuple[Any, str | None]:
    """The value, and what is wrong with it."""
    if pickled is None:
        return None, None
    try:
        return (unpickled(pickled) if plain else pickle.loads(pickled)), None  # noqa: S301 - where it is trusted
    except Exception as error:  # noqa: BLE001 - unpickling raises whatever the object does
        return None, (
            f"{type(error).__name__}: {error}, when the test's process took in what the contender returned: "
            "return plain data"
        )


def _read_output(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _last_lines(text: str) -> str:
    lines = [line for line in text.rstrip().splitlines() if not any(frame in line for frame in _OUR_FRAMES)]
    cut = [f"... {len(lines) - _SHOWN_LINES} lines above"] if len(lines) > _SHOWN_LINES else []
    return "\n".join([*cut, *lines[-_SHOWN_LINES:]])


@dataclass(frozen=True, kw_only=True)
class Observations:
    """Everything that is known of one race, to be read at any moment of it.

    :param order: the race.
    :param link: the link to its supervisor, which tells PIDs and deaths.
    :param calls: reads what fake dbts have on record.
    :param builds: reads what a wheelhouse of the test has on record of its sdists.
    :param seen: name -> sighting, of points that no contender tells of itself.
    :param stops: index -> when it was stopped and when it was let go on, in seconds since the epoch; None before that.
    """

    order: RaceOrder
    link: SupervisorLink
    calls: Callable[[], list[DbtCall]]
    builds: Callable[[], list[SourceBuild]]
    seen: Mapping[str, Sighting]
    stops: Mapping[int, tuple[float, float | None]]

    @property
    def timeline(self) -> Timeline:
        """All that is known, as one timeline."""
        told = [self._closed_by_death(span) for span in self.told]
        return Timeline([*told, *self._seen(), *self._installs(), *self._stops(), *self._deaths()]).with_calls(
            self._calls()
        )

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes of all contenders, in their order."""
        codes = {index: code for index, (code, _) in self.link.deaths.items()}
        return tuple(read_outcome(self.order, at, pid, codes.get(at)) for at, pid in enumerate(self.link.pids))

    def race(self, sightings: Mapping[str, Sighting]) -> Race:
        """The race, once it is over.

        :param sightings: name -> sighting, of all points that the race waited for.
        """
        starts = [span.started_at for span in self.told.spans(TASK)]
        return Race(
            outcomes=RecordTuple(self.outcomes, of="outcomes", none="nobody raced", word=lambda outcome: outcome.actor),
            timeline=self.timeline,
            sightings=RecordDict(sightings, what="point that this race waited for"),
            left_behind=self.link.remains.left_behind,
            services=self.link.remains.services,
            start_spread=max(starts) - min(starts) if starts else 0.0,
        )

    @property
    def told(self) -> Timeline:
        """The spans that contenders have written down of themselves."""
        return Timeline.read(self.order.folder / EVENTS)

    def _closed_by_death(self, span: Span) -> Span:
        """The span, ended where its contender died meanwhile."""
        if span.ended_at is not None or span.pid not in self.link.pids:
            return span
        death = self.link.deaths.get(self.link.pids.index(span.pid))
        return span if death is None else replace(span, ended_at=death[1])

    def _seen(self) -> Iterator[Span]:
        for name, sighting in self.seen.items():
            yield Span(sighting.actor or _OUTSIDE, name, sighting.at, sighting.at, sighting.pid)

    def _installs(self) -> Iterator[Span]:
        known = {sighting.pid: sighting.actor for sighting in self.seen.values() if sighting.actor}
        for build in self.builds():
            yield Span(known.get(build.pid, _OUTSIDE), INSTALL, build.started_at, build.ended_at, build.pid)

    def _stops(self) -> Iterator[Span]:
        for index, (begin, end) in self.stops.items():
            yield Span(self.order.names[index], "stopped", begin, end, self.link.pids[index])

    def _deaths(self) -> Iterator[Span]:
        for outcome in self.outcomes:
            if outcome.signal is not None:
                index = self.order.names.index(outcome.actor)
                at = self.link.deaths[index][1]
                yield Span(outcome.actor, outcome.in_words, at, at, outcome.pid)

    def _calls(self) -> list[DbtCall]:
        """The calls of dbt that contenders made: a test's record may hold others."""
        return [call for call in self.calls() if call.env.get(ACTOR_VARIABLE) in self.order.names]


def contender_of(pid: int | None, pids: Sequence[int], names: Sequence[str], virtualenv_dir: Path | None) -> int | None:
    """The index of the contender that a process belongs to, or None when that cannot be told.

    :param pid: the PID of the process; None takes the one that the lock file names.
    :param pids: the PIDs of the contenders.
    :param names: the names of the contenders.
    :param virtualenv_dir: the directory in which the lock file lies; None: there is no lock file.
    """
    if pid is None and virtualenv_dir is not None:
        pid = lock_owner(virtualenv_dir)
    if pid is None:
        return None
    if pid in pids:
        return pids.index(pid)
    return _by_environment(pid, names) if _by_environment(pid, names) is not None else _by_parents(pid, pids)


def _by_environment(pid: int, names: Sequence[str]) -> int | None:
    """The contender that a process's environment names, which tells of orphans as well."""
    import psutil

    try:
        actor = psutil.Process(pid).environ().get(ACTOR_VARIABLE)
    except (psutil.Error, OSError):
        return None
    return names.index(actor) if actor in names else None


def _by_parents(pid: int, pids: Sequence[int]) -> int | None:
    """A process that was given another environment still has its parents."""
    import psutil

    try:
        parents = [parent.pid for parent in psutil.Process(pid).parents()]
    except psutil.Error:
        return None
    return next((pids.index(parent) for parent in parents if parent in pids), None)
