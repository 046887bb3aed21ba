"""What is to happen in a race beside the work, and at which points?"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.environments.sdist import SourceBuild
from pytest_cosmos_venv.errors import ToolkitMisuse, require_seconds
from pytest_cosmos_venv.races.lookalikes import Lookalikes
from pytest_cosmos_venv.races.orders import EVENTS, Act, RaceOrder
from pytest_cosmos_venv.races.points import (
    Point,
    Sighting,
    any_build_begins,
    any_call_reported,
    first_file_under,
    lock_taken,
)
from pytest_cosmos_venv.races.timeline import Timeline

CREATING, LOCKED, WAITING, INSTALLING, RUNNING = "creating", "locked", "waiting", "installing", "running"

WAITING_LINE = "Waiting for virtualenv lock"
"""What Cosmos, and whoever follows it, logs while a task waits for another one's lock."""

_NEEDS = {
    CREATING: "virtualenv_dir=PATH",
    LOCKED: "virtualenv_dir=PATH",
    INSTALLING: "cosmos_wheelhouse in the test, with an add_sdist(...)",
    RUNNING: "cosmos_wheelhouse or cosmos_fake_venv in the test",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who is killed, stopped and continued where, and how long all may take.

    :param kill_at: point at which a contender is killed: a name or a point.
    :param stop_at: point at which a contender is stopped.
    :param continue_at: point at which it goes on; without one, when all others have ended.
    :param victim: index of the only contender that is meant; None takes the one that is there first.
    :param virtualenv_dir: that the contenders share, for ``creating`` and ``locked``.
    :param lookalikes: of the test, for ``installing`` and ``running``.
    :param timeout: seconds for the whole race.
    :param grace: seconds for what contenders leave running to end by itself.
    """

    kill_at: str | Point | None = None
    stop_at: str | Point | None = None
    continue_at: str | Point | None = None
    victim: int | None = None
    virtualenv_dir: Path | None = None
    lookalikes: Lookalikes
    timeout: float
    grace: float

    @property
    def acts(self) -> dict[str, Act]:
        """What contenders do to themselves at points of their own."""
        pairs = ((self.kill_at, signal.SIGKILL), (self.stop_at, signal.SIGSTOP))
        return {name_of(at): Act(signal=number, victim=self.victim) for at, number in pairs if at and is_own(at)}

    def new_builds(self) -> Callable[[], list[SourceBuild]]:
        """Reads the builds of the test's sdists that begin after this call."""
        read = self.lookalikes.builds
        before = {(build.pid, build.started_at) for build in read()}
        return lambda: [build for build in read() if (build.pid, build.started_at) not in before]

    def check(self, contenders: int) -> None:
        """Refuse what means nothing here.

        :param contenders: how many race.
        :raises ToolkitMisuse: with what is missing.
        """
        named = {"kill_at": self.kill_at, "stop_at": self.stop_at, "continue_at": self.continue_at}
        for parameter, point in named.items():
            if not isinstance(point, (str, Point, type(None))):
                raise ToolkitMisuse(f"{parameter}={point!r}: give the name of a point, or a Point.")
            if isinstance(point, str) and point in _NEEDS and not self._can_see(point):
                raise ToolkitMisuse(f"{parameter}={point!r} is seen from outside and needs {_NEEDS[point]}.")
        if self.continue_at is not None and self.stop_at is None:
            raise ToolkitMisuse(f"continue_at={self.continue_at!r} without stop_at: nobody would have been stopped.")
        if self.victim is not None and self.victim not in range(contenders):
            raise ToolkitMisuse(f"victim={self.victim}: there are contenders 0 to {contenders - 1}.")
        if self.kill_at is not None and self.stop_at is not None and name_of(self.kill_at) == name_of(self.stop_at):
            raise ToolkitMisuse(f"kill_at and stop_at are both {name_of(self.kill_at)!r}: only one can happen there.")
        require_seconds(self.grace, "grace")
        require_seconds(self.timeout, "timeout", is_positive=True)

    def points(self, order: RaceOrder) -> dict[str, Point]:
        """All that can be seen from outside in this race, by name. What is there by now does not count."""
        given = [point for point in (self.kill_at, self.stop_at, self.continue_at) if isinstance(point, Point)]
        seen = {point.name: point for point in given}
        outputs = [order.output_of(index) for index in range(len(order.names))]
        seen.setdefault(WAITING, _said(outputs, order.names, WAITING_LINE))
        if self.virtualenv_dir is not None:
            seen.setdefault(CREATING, first_file_under(self.virtualenv_dir))
            seen.setdefault(LOCKED, lock_taken(self.virtualenv_dir))
        if self._can_see(INSTALLING):
            seen.setdefault(INSTALLING, any_build_begins(self.lookalikes.builds, name=INSTALLING))
        if self._can_see(RUNNING):
            seen.setdefault(RUNNING, any_call_reported(self.lookalikes.calls, name=RUNNING))
        return seen

    def _can_see(self, name: str) -> bool:
        if name == RUNNING:
            return bool(self.lookalikes.records)
        return (self.lookalikes.wheelhouse if name == INSTALLING else self.virtualenv_dir) is not None


def is_own(point: str | Point | None) -> bool:
    """Whether contenders tell it of themselves, by ``contender.point(name)``."""
    return isinstance(point, str) and point not in {*_NEEDS, WAITING}


def name_of(point: str | Point) -> str:
    """Of a point, given as itself or by its name."""
    return point if isinstance(point, str) else point.name


def own_point(order: RaceOrder, name: str) -> Point:
    """A point that contenders tell of themselves: the first of them, or, where one was stopped or killed, that one."""

    def look() -> Sighting | None:
        told = Timeline.read(order.folder / EVENTS).spans(name)
        if name in order.acts:
            claimed = _read_claim(order.claim_of(name))
            told = tuple(span for span in told if span.actor == claimed and _has_acted(span.pid, order.acts[name]))
        return Sighting(at=told[0].started_at, pid=told[0].pid, actor=told[0].actor, what=name) if told else None

    return Point(name, look)


def _said(outputs: Sequence[Path], names: Sequence[str], words: str) -> Point:
    def look() -> Sighting | None:
        for output, name in zip(outputs, names, strict=True):
            if output.exists() and words in output.read_text(encoding="utf-8", errors="replace"):
                return Sighting(at=real_time.now(), actor=name, what=f"{words!r} in its log")
        return None

    return Point(WAITING, look)


def _has_acted(pid: int | None, act: Act) -> bool:
    """A contender claims before it stops: one that was let go on in between would stop afterwards."""
    return act.signal != signal.SIGSTOP or is_stopped(pid)


def is_stopped(pid: int | None) -> bool:
    """Whether a process stands still by a signal."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _read_claim(claim: Path) -> str | None:
    try:
        return claim.read_text(encoding="utf-8") or None
    except FileNotFoundError:
        return None


def known_names(points: Mapping[str, Point]) -> str:
    """For messages."""
    return ", ".join(sorted(points))
