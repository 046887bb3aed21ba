"""A race that runs, led from the test's process: it watches for points, sends signals, and waits with a time limit."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse, require, with_timeout
from pytest_cosmos_venv.races.contender import WHERE, WHERE_ARE_YOU
from pytest_cosmos_venv.races.messages import RUNTIME_VARIABLE, RaceOrder
from pytest_cosmos_venv.races.plan import (
    LOOK_AGAIN,
    Plan,
    Point,
    Sighting,
    is_own,
    is_stopped,
    known_names,
    name_of,
    own_point,
)
from pytest_cosmos_venv.races.result import Observations, Race, RaceFailure, contender_of, failure_message
from pytest_cosmos_venv.races.supervisor_client import SupervisorLink

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_cosmos_venv.races.timeline import Timeline

_PATIENCE = 0.05
_LONGEST_ANSWER = 0.5


class RunningRace:
    """A race that has started. Leaving its ``with`` block ends it, with everything that its contenders started.

    :param link: the link to the supervisor of its contenders.
    :param order: the race, as its contenders know it.
    :param plan: what is to happen at which point.
    :param keep: called with each value that a contender has returned; it keeps outcomes, to be shown if the test fails.
    """

    def __init__(self, link: SupervisorLink, order: RaceOrder, plan: Plan, keep: Callable[[Any], None]) -> None:
        self._link = link
        self._keep = keep
        self._order = order
        self._plan = plan
        self._points = plan.points(order)
        self._sightings: dict[str, Sighting] = {}
        self._seen: dict[str, Sighting] = {}
        self._stops: dict[int, tuple[float, float | None]] = {}
        self._observations = Observations(
            order=order,
            link=link,
            calls=plan.fakes.calls,
            builds=plan.new_builds(),
            seen=self._seen,
            stops=self._stops,
        )
        self._watched: dict[str, Callable[[Sighting], None]] = {}
        self._killed: set[int] = set()
        self._began = real_time.monotonic()
        self._end = self._began + plan.timeout
        self._watch_for_plan()

    def __enter__(self) -> RunningRace:
        __tracebackhide__ = True
        try:
            self._wait_until(lambda: self._link.is_ready, "were not ready for the start")
            self._link.go()
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
        return self._observations.timeline

    @with_timeout
    def wait_for(self, point: str | Point, *, timeout: float | None = None) -> Sighting:
        """The sighting of a point, as soon as one contender has reached it.

        :param point: a point; or ``creating``, ``locked``, ``waiting``, ``installing``, ``running``; or the name of one
            that contenders tell of by ``contender.point(name)``.
        :param timeout: seconds; None: those that the race has left.
        :raises RaceFailure: when it is not reached by then, or all contenders have ended without it.
        """
        __tracebackhide__ = True
        require(point, "point", (str, Point), "the name of a point, or a Point")
        name = name_of(point)
        if isinstance(point, Point):
            self._points[name] = point
        self._watched.setdefault(name, lambda _: None)
        self._wait(
            lambda: name in self._sightings or not self._link.running, f"have not reached {name!r}", within=timeout
        )
        self._look()  # the last time after the last contender has ended
        if name not in self._sightings:
            raise self._failure(f"All contenders have ended, and none has reached {name!r}{self._others()}.")
        return self._sightings[name]

    def point(self, name: str) -> Point:
        """The point that ``wait_for(name)`` looks for: with it, one can wait for one of several.

        :param name: the name, as ``wait_for`` takes it.
        """
        return self._points.get(name) or own_point(self._order, name)

    def kill(self, index: int, *, tree: bool = False) -> None:
        """End a contender by SIGKILL; it is dead when this returns.

        :param index: the index of the contender, from 0.
        :param tree: whether all that it started is meant too; otherwise its own process alone is, as when a worker is
            killed.
        """
        __tracebackhide__ = True
        self._signal_kill(index, tree=tree)
        self._wait(lambda: index not in self._link.running, "have not died")

    def stop(self, index: int, *, tree: bool = True) -> None:
        """Stop a contender where it is, until ``resume``; it stands still when this returns.

        :param index: the index of the contender, from 0.
        :param tree: whether all that it started is meant too, as when its machine stands still.
        """
        __tracebackhide__ = True
        self._signal_stop(index, tree=tree)
        self._wait(lambda: index not in self._link.running or is_stopped(self._link.pids[index]), "have not stopped")

    def resume(self, index: int) -> None:
        """Let a contender that was stopped go on, with all that it started.

        :param index: the index of the contender, from 0.
        """
        self._link.signal(index, signal.SIGCONT, tree=True)
        if index in self._stops:
            self._stops[index] = (self._stops[index][0], real_time.now())

    def finish(self, *, check: bool = True) -> Race:
        """Wait for the end of all contenders, and of what they have left running.

        :param check: whether to raise when a contender has failed that the race did not kill.
        :raises RaceFailure: a contender failed, a point was not reached, or the time was over.
        """
        __tracebackhide__ = True
        self._wait(lambda: not self._link.running, "have not ended")
        self._look()
        self._link.finish(grace=self._plan.grace)
        race = self._observations.race(self._sightings)
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
            if not self._link.is_gone and not self._link.is_closed:  # its contenders have died with it
                raise
        finally:
            self._link.close()

    def _watch_for_plan(self) -> None:
        plan = self._plan
        if plan.kill_at is not None:
            self._watched[name_of(plan.kill_at)] = self._kill_who_is_there
        if plan.stop_at is not None:
            self._watched[name_of(plan.stop_at)] = self._stop_who_is_there
        if plan.continue_at is not None:
            self._watched[name_of(plan.continue_at)] = lambda _: self._resume_all()

    def _kill_who_is_there(self, sighting: Sighting) -> None:
        index = self._who(sighting)
        self._killed.add(index)
        if not is_own(self._plan.kill_at):  # there it has done it itself, on the very spot
            self._signal_kill(index, tree=False)

    def _stop_who_is_there(self, sighting: Sighting) -> None:
        index = self._who(sighting)
        # At a point of its own it has stopped itself, and alone, on the very spot; here what it started is stopped.
        self._signal_stop(index, tree=True)
        self._stops[index] = (sighting.at, None)
        if self._plan.continue_at is not None and name_of(self._plan.continue_at) in self._sightings:
            self.resume(index)

    def _signal_kill(self, index: int, *, tree: bool) -> None:
        self._link.signal(index, signal.SIGKILL, tree=tree)
        self._killed.add(index)

    def _signal_stop(self, index: int, *, tree: bool) -> None:
        self._link.signal(index, signal.SIGSTOP, tree=tree)
        self._stops[index] = (real_time.now(), None)

    def _resume_all(self) -> None:
        for index in self._stopped():
            self.resume(index)

    def _stopped(self) -> set[int]:
        return {index for index, (_, end) in self._stops.items() if end is None}

    def _who(self, sighting: Sighting) -> int:
        if self._plan.victim is not None:
            return self._plan.victim
        if sighting.actor in self._order.names:
            return self._order.names.index(sighting.actor)
        if len(self._order.names) == 1:
            return 0
        if len(self._link.running) == 1:
            return self._link.running[0]
        raise ToolkitMisuse(
            f"{sighting.what} was seen, but it cannot be told which of {len(self._link.running)} contenders is there: "
            "say which one is meant with victim=INDEX."
        )

    def _look(self) -> None:
        """Look at every point that is waited for and that has not been reached."""
        for name, act in list(self._watched.items()):
            if name not in self._sightings:
                sighting = self.point(name).look()
                if sighting is not None:
                    self._sightings[name] = self._with_actor(sighting)
                    if not is_own(name) or name in self._points:
                        self._seen[name] = self._sightings[name]
                    act(self._sightings[name])

    def _with_actor(self, sighting: Sighting) -> Sighting:
        if sighting.actor is not None:
            return sighting
        index = contender_of(sighting.pid, self._link.pids, self._order.names, self._plan.virtualenv_dir)
        return sighting if index is None else replace(sighting, actor=self._order.names[index])

    def _wait(self, is_so: Callable[[], bool], what: str, *, within: float | None = None) -> None:
        __tracebackhide__ = True
        if not self._link.has_begun:
            raise ToolkitMisuse("This race has not begun: write `with cosmos_task_race.start(...) as race:`.")
        self._wait_until(is_so, what, within=within)

    def _wait_until(self, is_so: Callable[[], bool], what: str, *, within: float | None = None) -> None:
        __tracebackhide__ = True
        began = self._began if within is None else real_time.monotonic()
        end = self._end if within is None else min(self._end, began + within)
        while not is_so():
            self._look()
            # Only stopped contenders are left: without this the race would wait for them until its time is over.
            if set(self._link.running) <= self._stopped() and self._plan.stop_at is not None:
                self._resume_all()
            self._link.listen(LOOK_AGAIN if self._watched.keys() - self._sightings.keys() else _PATIENCE)
            if real_time.monotonic() > end:
                self._seen["timeout"] = Sighting(at=real_time.now(), actor="race")
                self._ask_where()
                raise self._failure(f"{self._names_of_running()} {what} within {end - began:g} s{self._others()}.")

    def _ask_where(self) -> None:
        """Let the contenders that still run write where they are into their output."""
        asked = set(self._link.running) - self._stopped()
        for index in asked:
            self._link.signal(index, WHERE_ARE_YOU, tree=False)
        end = real_time.monotonic() + _LONGEST_ANSWER
        outputs = [self._order.output_of(index) for index in asked]
        while real_time.monotonic() < end and not all(_says_where(output) for output in outputs):
            real_time.sleep(LOOK_AGAIN)

    def _check_plan(self, race: Race) -> None:
        __tracebackhide__ = True
        for parameter in ("kill_at", "stop_at", "continue_at"):
            point = getattr(self._plan, parameter)
            if point is not None and name_of(point) not in race.sightings:
                raise self._failure(f"{parameter}={name_of(point)!r}: no contender has come there{self._others()}.")
        late = [at for at in self._killed if race.outcomes[at].signal is not signal.SIGKILL]
        if self._plan.kill_at is not None and late:
            raise self._failure(
                f"{race.outcomes[late[0]].actor} had ended before the kill at {name_of(self._plan.kill_at)!r} came: "
                "let it stay there longer (script a hold), so that what the test sees is what it says."
            )

    def _others(self) -> str:
        """The names it might have been, in words."""
        told = {span.name for span in self._observations.told if span.is_point} - self._sightings.keys()
        return f" (told of: {', '.join(sorted(told)) or 'nothing'}; seen from outside: {known_names(self._points)})"

    def _names_of_running(self) -> str:
        return ", ".join(self._order.names[index] for index in self._link.running) or "The contenders"

    def _failure(self, sentence: str) -> RaceFailure:
        """The failure with each outcome: contenders that run first, then the others, one of which may be the cause."""
        running = set(self._link.running)
        outcomes = sorted(enumerate(self._observations.outcomes), key=lambda each: each[0] not in running)
        return RaceFailure(failure_message(sentence, [outcome for _, outcome in outcomes], self.timeline))


def _says_where(output: Path) -> bool:
    return output.exists() and WHERE in output.read_text(encoding="utf-8", errors="replace")
