"""A running race, controlled from the test's process: watching for points, sending signals, waiting with a timeout."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.environments.sdist import SourceBuild
from pytest_cosmos_venv.errors import RecordDict, ToolkitMisuse, require_seconds
from pytest_cosmos_venv.races.contender import RUNTIME_VARIABLE, STACK_SIGNAL, WHERE, RaceOrder
from pytest_cosmos_venv.races.points import (
    NEEDS,
    WAITING,
    FakeDbtBuilds,
    Point,
    Sighting,
    is_stopped,
    lock_owner,
    own_point,
    seen_points,
)
from pytest_cosmos_venv.races.prepared import SupervisorLink
from pytest_cosmos_venv.races.result import Outcome, Race, RaceFailure, failure_message, read_outcome
from pytest_cosmos_venv.races.spans import ACTOR_VARIABLE, Span
from pytest_cosmos_venv.races.timeline import INSTALL, Timeline

if TYPE_CHECKING:
    from types import TracebackType

_LOOK_AGAIN = 0.001  # seconds: a task may pass a point, such as a lock that is free at once, in a few milliseconds
_PATIENCE = 0.05
_LONGEST_ANSWER = 0.5
_OUTSIDE = "seen from outside"


@dataclass(frozen=True, kw_only=True)
class RacePlan:
    """The plan of a race: the point at which a contender is killed, and the time limits.

    :param kill_at: point at which a contender is killed: a name or a point.
    :param virtualenv_dir: the directory that the contenders share, for ``creating`` and ``locked``.
    :param fakes: the fakes of the test, for ``installing`` and ``running``.
    :param timeout: seconds for the whole race.
    :param grace: seconds for processes that contenders leave running to end by themselves.
    """

    kill_at: str | Point | None
    virtualenv_dir: Path | None
    fakes: FakeDbtBuilds
    timeout: float
    grace: float

    def check(self) -> None:
        """Refuse points that cannot be seen in this test, and invalid limits.

        :raises ToolkitMisuse: the text names what is missing or wrong.
        """
        can_see = {
            "creating": self.virtualenv_dir,
            "locked": self.virtualenv_dir,
            "installing": self.fakes.wheelhouse,
            "running": self.fakes.records or None,
        }
        point = self.kill_at
        if isinstance(point, str) and point in NEEDS and can_see[point] is None:
            raise ToolkitMisuse(f"kill_at={point!r} is seen from outside and needs {NEEDS[point]}.")
        require_seconds(self.grace, "grace")
        require_seconds(self.timeout, "timeout", is_positive=True)

    @property
    def own_kill_at(self) -> str | None:
        """The point of ``kill_at`` if contenders report it themselves, by ``contender.point(name)``; else None."""
        return self.kill_at if isinstance(self.kill_at, str) and self.kill_at not in {*NEEDS, WAITING} else None


def name_of(point: str | Point) -> str:
    """Return the name of a point.

    :param point: the point itself, or its name already.
    """
    return point if isinstance(point, str) else point.name


class RunningRace:
    """A race that has started. Leaving its ``with`` block ends it, with everything that its contenders started.

    :param link: the link to the supervisor of its contenders.
    :param order: the race, as its contenders know it.
    :param plan: what is to happen at which point.
    :param keep: called with each value that a contender has returned; it keeps DAG runs for the report of a failure.
    """

    def __init__(self, link: SupervisorLink, order: RaceOrder, plan: RacePlan, keep: Callable[[Any], None]) -> None:
        self._link = link
        self._keep = keep
        self._order = order
        self._plan = plan
        self._points = seen_points(order, plan.fakes, plan.virtualenv_dir)
        self._earlier_builds = {_key(build) for build in plan.fakes.builds()}
        self._sightings: dict[str, Sighting] = {}
        self._stops: dict[int, tuple[float, float | None]] = {}
        self._watched: dict[str, Callable[[Sighting], None]] = {}
        self._killed: set[int] = set()
        self._began = real_time.monotonic()
        self._end = self._began + plan.timeout
        if plan.kill_at is not None:
            self._watch(plan.kill_at, self._kill_who_is_there)

    def __enter__(self) -> RunningRace:
        __tracebackhide__ = True
        try:
            self._wait_until(lambda: self._link.is_ready, "were not ready for the start")
            self._link.go()
            self._wait_until(lambda: self._link.has_begun, "did not begin")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """The PIDs of the contenders, in their order."""
        return tuple(self._link.pids)

    @property
    def running(self) -> tuple[int, ...]:
        """Indexes of the contenders that have not ended."""
        self._link.listen(0.0)
        return self._link.running

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._link.is_over()

    @property
    def folder_for_sockets(self) -> Path:
        """The ``XDG_RUNTIME_DIR`` of its contenders."""
        return Path(self._order.variables[RUNTIME_VARIABLE])

    @property
    def timeline(self) -> Timeline:
        """The timeline up to now."""
        told = [self._closed_by_death(span) for span in Timeline.read(self._order.meeting.events)]
        # The record of a test may hold calls of dbt that no contender has made.
        calls = [call for call in self._plan.fakes.calls() if call.env.get(ACTOR_VARIABLE) in self._order.names]
        return Timeline([*told, *self._spans_from_outside()]).with_calls(calls)

    def wait_for(self, point: str | Point, *, timeout: float | None = None) -> Sighting:
        """Return the sighting of a point, as soon as one contender has reached it.

        :param point: a point; or ``creating``, ``locked``, ``waiting``, ``installing``, ``running``; or a name that
            contenders report by ``contender.point(name)``.
        :param timeout: seconds; None: the remaining time of the race.
        :raises RaceFailure: the point is not reached in time, or all contenders have ended without reaching it.
        """
        __tracebackhide__ = True
        name = name_of(point)
        self._watch(point, self._watched.get(name, lambda _: None))
        self._wait(
            lambda: name in self._sightings or not self._link.running, f"have not reached {name!r}", within=timeout
        )
        self._look()  # once more, because the last contender may have reached the point just before its end
        if name not in self._sightings:
            raise self._failure(f"All contenders have ended, and none has reached {name!r}{self._others()}.")
        return self._sightings[name]

    def kill(self, index: int, *, tree: bool = False) -> None:
        """End a contender by SIGKILL; it is dead when this returns.

        :param index: the index of the contender, from 0.
        :param tree: whether its descendants are killed too; False kills its own process only, as when a worker is
            killed.
        """
        __tracebackhide__ = True
        self._link.signal(index, signal.SIGKILL, tree=tree)
        self._killed.add(index)
        self._wait(lambda: index not in self._link.running, "have not died")

    def stop(self, index: int, *, tree: bool = True) -> None:
        """Stop a contender by SIGSTOP until ``resume``; its process is stopped when this method returns.

        :param index: the index of the contender, from 0.
        :param tree: whether its descendants are stopped too, as when its machine hangs.
        """
        __tracebackhide__ = True
        self._link.signal(index, signal.SIGSTOP, tree=tree)
        self._stops[index] = (real_time.now(), None)
        self._wait(
            lambda: index not in self._link.running or is_stopped(self._link.pids[index]),
            "have not stopped",
        )

    def resume(self, index: int) -> None:
        """Continue a stopped contender and its descendants by SIGCONT.

        :param index: the index of the contender, from 0.
        """
        self._link.signal(index, signal.SIGCONT, tree=True)
        if index in self._stops:
            self._stops[index] = (self._stops[index][0], real_time.now())

    def finish(self, *, check: bool = True) -> Race:
        """Wait for the end of all contenders, and of the processes that they have left running.

        :param check: whether to raise for a failed contender; a contender that the race has killed does not count.
        :raises RaceFailure: a contender failed, a point was not reached, or the time was over.
        """
        __tracebackhide__ = True
        self._wait(lambda: not self._link.running, "have not ended")
        self._look()
        self._link.finish(grace=self._plan.grace)
        race = Race(
            outcomes=self._outcomes(),
            timeline=self.timeline,
            sightings=RecordDict(self._sightings, what="point that this race waited for"),
            left_behind=self._link.left_behind,
            services=self._link.services,
        )
        for value in race.values:
            self._keep(value)
        self._check_plan(race)
        failed = [one for at, one in enumerate(race.outcomes) if at not in self._killed and not one.succeeded]
        if check and failed:
            sentence = f"{len(failed)} of {len(race.outcomes)} contenders failed."
            raise RaceFailure(failure_message(sentence, failed, race.timeline))
        return race

    def close(self) -> None:
        """End the race as it is, with everything that its contenders started."""
        try:
            self._link.finish(grace=0.0)
        except ToolkitMisuse:
            if not self._link.is_gone and not self._link.is_closed:  # the contenders die with their supervisor
                raise
        finally:
            self._link.close()

    def _watch(self, point: str | Point, act: Callable[[Sighting], None]) -> None:
        if isinstance(point, Point):
            self._points[point.name] = point
        self._watched[name_of(point)] = act

    def _look(self) -> None:
        """Look at every point that is waited for and that has not been reached."""
        for name, act in list(self._watched.items()):
            if name not in self._sightings:
                sighting = (self._points.get(name) or own_point(self._order, name)).look()
                if sighting is not None:
                    self._sightings[name] = self._with_actor(sighting)
                    act(self._sightings[name])

    def _with_actor(self, sighting: Sighting) -> Sighting:
        if sighting.actor is not None:
            return sighting
        directory, pid = self._plan.virtualenv_dir, sighting.pid
        if pid is None and directory is not None:
            pid = lock_owner(directory)
        index = None if pid is None else _contender_of(pid, self._link.pids, self._order.names)
        return sighting if index is None else replace(sighting, actor=self._order.names[index])

    def _kill_who_is_there(self, sighting: Sighting) -> None:
        index = self._who(sighting)
        self._killed.add(index)
        if self._plan.own_kill_at is None:  # at its own point it kills itself
            self._link.signal(index, signal.SIGKILL, tree=False)

    def _stopped(self) -> set[int]:
        return {index for index, (_, end) in self._stops.items() if end is None}

    def _who(self, sighting: Sighting) -> int:
        if sighting.actor in self._order.names:
            return self._order.names.index(sighting.actor)
        if len(self._link.running) == 1:
            return self._link.running[0]
        raise ToolkitMisuse(
            f"{sighting.what} was seen, but it cannot be told which of {len(self._link.running)} contenders is there: "
            "lead the race by hand with cosmos_race.start(…), wait_for(point) and kill(index)."
        )

    def _wait(self, is_so: Callable[[], bool], what: str, *, within: float | None = None) -> None:
        __tracebackhide__ = True
        if not self._link.has_begun:
            raise ToolkitMisuse("This race has not begun: write `with cosmos_race.start(...) as race:`.")
        self._wait_until(is_so, what, within=within)

    def _wait_until(self, is_so: Callable[[], bool], what: str, *, within: float | None = None) -> None:
        __tracebackhide__ = True
        began = self._began if within is None else real_time.monotonic()
        end = self._end if within is None else min(self._end, began + within)
        while not is_so():
            self._look()
            self._link.listen(_LOOK_AGAIN if self._watched.keys() - self._sightings.keys() else _PATIENCE)
            if real_time.monotonic() > end:
                self._sightings["timeout"] = Sighting(at=real_time.now(), actor="race")
                self._ask_where()
                running = ", ".join(self._order.names[index] for index in self._link.running) or "The contenders"
                raise self._failure(f"{running} {what} within {end - began:g} s{self._others()}.")

    def _ask_where(self) -> None:
        """Make the contenders that still run print their stacks into their output."""
        asked = set(self._link.running) - self._stopped()
        for index in asked:
            self._link.signal(index, STACK_SIGNAL, tree=False)
        end = real_time.monotonic() + _LONGEST_ANSWER
        outputs = [self._order.output_of(index) for index in asked]
        while real_time.monotonic() < end and not all(_says_where(output) for output in outputs):
            real_time.sleep(_LOOK_AGAIN)

    def _check_plan(self, race: Race) -> None:
        __tracebackhide__ = True
        point = self._plan.kill_at
        if point is not None and name_of(point) not in race.sightings:
            raise self._failure(f"kill_at={name_of(point)!r}: no contender has come there{self._others()}.")
        late = [at for at in self._killed if race.outcomes[at].signal is not signal.SIGKILL]
        if point is not None and late:
            raise self._failure(
                f"{race.outcomes[late[0]].actor} had ended before the kill at {name_of(point)!r} came: "
                "let it stay there longer (script a hold), so that what the test sees is what it says."
            )

    def _others(self) -> str:
        """The points that contenders have reported and that can be seen from outside, in words."""
        told = {span.name for span in Timeline.read(self._order.meeting.events) if span.is_point}
        own = ", ".join(sorted(told - self._sightings.keys())) or "nothing"
        return f" (told of: {own}; seen from outside: {', '.join(sorted(self._points))})"

    def _failure(self, sentence: str) -> RaceFailure:
        """The failure with each outcome: contenders that run first, then the others, one of which may be the cause."""
        running = set(self._link.running)
        outcomes = sorted(enumerate(self._outcomes()), key=lambda each: each[0] not in running)
        return RaceFailure(failure_message(sentence, [outcome for _, outcome in outcomes], self.timeline))

    def _outcomes(self) -> tuple[Outcome, ...]:
        codes = {index: code for index, (code, _) in self._link.deaths.items()}
        return tuple(read_outcome(self._order, at, pid, codes.get(at)) for at, pid in enumerate(self._link.pids))

    def _closed_by_death(self, span: Span) -> Span:
        """The span, ended where its contender died meanwhile."""
        if span.ended_at is not None or span.pid not in self._link.pids:
            return span
        death = self._link.deaths.get(self._link.pids.index(span.pid))
        return span if death is None else replace(span, ended_at=death[1])

    def _spans_from_outside(self) -> Iterator[Span]:
        """Spans that contenders do not record themselves: points seen from outside, builds, stops and deaths."""
        known = {seen.pid: seen.actor for seen in self._sightings.values() if seen.actor}
        for name, seen in self._sightings.items():
            if name in self._points or name == "timeout":
                yield Span(seen.actor or _OUTSIDE, name, seen.at, seen.at, seen.pid)
        for build in self._plan.fakes.builds():
            if _key(build) not in self._earlier_builds:
                yield Span(known.get(build.pid, _OUTSIDE), INSTALL, build.started_at, build.ended_at, build.pid)
        for index, (begin, end) in self._stops.items():
            yield Span(self._order.names[index], "stopped", begin, end, self._link.pids[index])
        for index, (code, at) in self._link.deaths.items():
            if code < 0:
                words = f"killed by {signal.Signals(-code).name}"
                yield Span(self._order.names[index], words, at, at, self._link.pids[index])


def _key(build: SourceBuild) -> tuple[int, float]:
    return build.pid, build.started_at


def _contender_of(pid: int, pids: Sequence[int], names: Sequence[str]) -> int | None:
    """The contender to which a process belongs: by its environment, which orphans keep, or by its parents."""
    import psutil

    if pid in pids:
        return pids.index(pid)
    try:
        process = psutil.Process(pid)
        actor = process.environ().get(ACTOR_VARIABLE)
        if actor in names:
            return names.index(actor)
        return next((pids.index(parent.pid) for parent in process.parents() if parent.pid in pids), None)
    except (psutil.Error, OSError):
        return None


def _says_where(output: Path) -> bool:
    return output.exists() and WHERE in output.read_text(encoding="utf-8", errors="replace")
