"""Points of a race that are seen from outside, and the plan: what is to happen at which point.

A point is known by what appears in files, which any implementation leaves: calls of the fake dbt, builds of sdists, the
lock file. It is asked again and again and answers once it is reached. What was there when the point was made does not
count.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.environments.fake_venv import FakeVenv
from pytest_cosmos_venv.environments.scripted_dbt import DbtCall, read_dbt_calls
from pytest_cosmos_venv.environments.sdist import Sdist, SourceBuild
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from pytest_cosmos_venv.errors import ToolkitMisuse, require_seconds, with_timeout
from pytest_cosmos_venv.fake_dbt import RECORD_VARIABLE
from pytest_cosmos_venv.processes.lock_history import LOCK_FILE, read_owner
from pytest_cosmos_venv.races.event_log import ACTOR_VARIABLE
from pytest_cosmos_venv.races.messages import EVENTS, Act, RaceOrder
from pytest_cosmos_venv.races.timeline import Timeline

TIMEOUT = 30.0
LOOK_AGAIN = 0.001  # seconds: a task may pass a point, such as a lock that is free at once, in a few milliseconds
CREATING, LOCKED, WAITING, INSTALLING, RUNNING = "creating", "locked", "waiting", "installing", "running"
WAITING_LINE = "Waiting for virtualenv lock"
"""Cosmos and implementations that follow it log this while a task waits for another one's lock."""
_NEEDS = {
    CREATING: "virtualenv_dir=PATH",
    LOCKED: "virtualenv_dir=PATH",
    INSTALLING: "cosmos_wheelhouse in the test, with an add_sdist(...)",
    RUNNING: "cosmos_wheelhouse or cosmos_fake_venv in the test",
}


@dataclass(frozen=True, kw_only=True)
class FakeDbtBuilds:
    """The fakes of a test that report while it races.

    :param wheelhouse: the wheelhouse of the test, whose sdists tell when they are built; None where the test has none.
    :param fake_venvs: the fake environments of the test, whose dbt writes down its calls.
    """

    wheelhouse: Wheelhouse | None = None
    fake_venvs: Sequence[FakeVenv] = ()

    @property
    def records(self) -> tuple[Path, ...]:
        """Folders in which calls of dbt are on record."""
        named = os.environ.get(RECORD_VARIABLE)
        folders = [*([Path(named)] if named else []), *(venv.folder for venv in self.fake_venvs)]
        return tuple(dict.fromkeys(folders))

    def calls(self) -> list[DbtCall]:
        """All calls of dbt on record."""
        return [call for folder in self.records for call in read_dbt_calls(folder)]

    def builds(self) -> list[SourceBuild]:
        """All builds of sdists on record."""
        folders = [] if self.wheelhouse is None else self.wheelhouse._builds.glob("*")
        return [build for folder in folders for build in Sdist(path=folder, _builds=folder).builds]


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A point was reached.

    :param at: the time at which that was seen, in seconds since the epoch.
    :param pid: the PID of the process that was there, where the point tells.
    :param actor: the contender that was there, where the point tells.
    :param what: the file or the call that was seen, in words.
    """

    at: float
    pid: int | None = None
    actor: str | None = None
    what: str = ""


@dataclass(frozen=True)
class Point:
    """A moment in the life of a task that others can see.

    :param name: the name in timelines and in messages.
    :param look: returns None as long as the point is not reached. It may be asked a thousand times a second.
    """

    name: str
    look: Callable[[], Sighting | None]

    @with_timeout
    def wait(self, *, timeout: float = TIMEOUT) -> Sighting:
        """The sighting, as soon as the point is reached.

        :param timeout: seconds.
        :raises ToolkitMisuse: when it has not been reached by then.
        """
        end = real_time.monotonic() + timeout
        while True:
            sighting = self.look()
            if sighting is not None:
                return sighting
            if real_time.monotonic() > end:
                raise ToolkitMisuse(f"{self.name} was not reached within {timeout:g} s.")
            real_time.sleep(LOOK_AGAIN)


def file_appears(file: Path, *, name: str = "") -> Point:
    """The point at which a file is there that was not there when this was called, or has been replaced since.

    :param file: the file to look for.
    :param name: the name of the point; empty: that of the file.
    """
    before = _identity(file)

    def look() -> Sighting | None:
        now = _identity(file)
        return Sighting(at=real_time.now(), what=str(file)) if now is not None and now != before else None

    return Point(name or file.name, look)


def first_file_under(folder: Path, *, name: str = "creating") -> Point:
    """The point at which any new file is in a folder, at any depth; lock files do not count.

    :param folder: the folder; it may be missing.
    :param name: the name of the point.
    """
    before = frozenset(_files_under(str(folder)))

    def look() -> Sighting | None:
        new = next((file for file in _files_under(str(folder)) if file not in before), None)
        return None if new is None else Sighting(at=real_time.now(), what=new)

    return Point(name, look)


def lock_taken(virtualenv_dir: Path, *, name: str = "locked") -> Point:
    """The point at which the lock file names a process that it did not name before.

    :param virtualenv_dir: the directory in which the lock file lies.
    :param name: the name of the point.
    """
    before = lock_owner(virtualenv_dir)

    def look() -> Sighting | None:
        owner = lock_owner(virtualenv_dir)
        return (
            None
            if owner in {None, before}
            else Sighting(at=real_time.now(), pid=owner, what=f"PID {owner} in the lock")
        )

    return Point(name, look)


def dbt_reported(folder: Path, *, name: str = "running") -> Point:
    """The point at which a fake dbt has begun.

    :param folder: the folder of a ``ScriptedDbt``, or what ``COSMOS_DBT_RECORD_DIR`` names.
    :param name: the name of the point.
    """
    return any_call_reported(lambda: read_dbt_calls(folder), name=name)


def any_call_reported(read_calls: Callable[[], Iterable[DbtCall]], *, name: str) -> Point:
    """The point at which a fake dbt has begun, wherever its calls are on record.

    :param read_calls: reads all calls on record.
    :param name: the name of the point.
    """
    before = {(call.pid, call.started_at) for call in read_calls()}

    def look() -> Sighting | None:
        for call in read_calls():
            if (call.pid, call.started_at) not in before and call.command != "--version":
                actor = call.env.get(ACTOR_VARIABLE)
                return Sighting(at=real_time.now(), pid=call.pid, actor=actor, what=f"dbt {call.command}")
        return None

    return Point(name, look)


def build_begins(*sdists: Sdist, name: str = "installing") -> Point:
    """The point at which an installer has begun to build one of these sdists.

    :param *sdists: from ``cosmos_wheelhouse.add_sdist(...)``.
    :param name: the name of the point.
    """
    return any_build_begins(lambda: [build for sdist in sdists for build in sdist.builds], name=name)


def any_build_begins(read_builds: Callable[[], Iterable[SourceBuild]], *, name: str) -> Point:
    """The point at which an installer has begun to build an sdist, also one that comes to be known later.

    :param read_builds: reads all builds on record.
    :param name: the name of the point.
    """
    before = {(build.pid, build.started_at) for build in read_builds()}

    def look() -> Sighting | None:
        for build in read_builds():
            if (build.pid, build.started_at) not in before:
                return Sighting(at=real_time.now(), pid=build.pid, what=f"a build in process {build.pid}")
        return None

    return Point(name, look)


def lock_owner(virtualenv_dir: Path) -> int | None:
    """The PID that the lock file names, or None when it is not there or names none.

    :param virtualenv_dir: the directory in which the lock file lies.
    """
    return read_owner(virtualenv_dir / LOCK_FILE)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _files_under(folder: str) -> Iterator[str]:
    """Paths of the files in a folder. ``os.walk`` is no help: the first is wanted at once, and folders may vanish."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_under(entry.path)
        elif not entry.name.startswith("cosmos_virtualenv."):
            yield entry.path


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a race: what is to happen beside the work, at which points, and how long all may take.

    :param kill_at: point at which a contender is killed: a name or a point.
    :param stop_at: point at which a contender is stopped.
    :param continue_at: point at which it goes on; None: when all others have ended.
    :param victim: index of the only contender that is meant; None takes the first that is there.
    :param virtualenv_dir: the directory that the contenders share, for ``creating`` and ``locked``.
    :param fakes: the fakes of the test, for ``installing`` and ``running``.
    :param timeout: seconds for the whole race.
    :param grace: seconds for what contenders leave running to end by itself.
    """

    kill_at: str | Point | None = None
    stop_at: str | Point | None = None
    continue_at: str | Point | None = None
    victim: int | None = None
    virtualenv_dir: Path | None = None
    fakes: FakeDbtBuilds
    timeout: float
    grace: float

    @property
    def acts(self) -> dict[str, Act]:
        """Signals that contenders send themselves at points of their own."""
        pairs = ((self.kill_at, signal.SIGKILL), (self.stop_at, signal.SIGSTOP))
        return {name_of(at): Act(signal=number, victim=self.victim) for at, number in pairs if at and is_own(at)}

    def new_builds(self) -> Callable[[], list[SourceBuild]]:
        """A function that reads the builds of the test's sdists that begin after this call."""
        read = self.fakes.builds
        before = {(build.pid, build.started_at) for build in read()}
        return lambda: [build for build in read() if (build.pid, build.started_at) not in before]

    def check(self, contenders: int) -> None:
        """Refuse what means nothing here.

        :param contenders: number of those that race.
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
        """All points that can be seen from outside in this race, by name. What is there by now does not count.

        :param order: the race, whose outputs are looked through.
        """
        given = [point for point in (self.kill_at, self.stop_at, self.continue_at) if isinstance(point, Point)]
        seen = {point.name: point for point in given}
        outputs = [order.output_of(index) for index in range(len(order.names))]
        seen.setdefault(WAITING, _said(outputs, order.names, WAITING_LINE))
        if self.virtualenv_dir is not None:
            seen.setdefault(CREATING, first_file_under(self.virtualenv_dir))
            seen.setdefault(LOCKED, lock_taken(self.virtualenv_dir))
        if self._can_see(INSTALLING):
            seen.setdefault(INSTALLING, any_build_begins(self.fakes.builds, name=INSTALLING))
        if self._can_see(RUNNING):
            seen.setdefault(RUNNING, any_call_reported(self.fakes.calls, name=RUNNING))
        return seen

    def _can_see(self, name: str) -> bool:
        if name == RUNNING:
            return bool(self.fakes.records)
        return (self.fakes.wheelhouse if name == INSTALLING else self.virtualenv_dir) is not None


def is_own(point: str | Point | None) -> bool:
    """Whether contenders tell this point of themselves, by ``contender.point(name)``.

    :param point: a point or its name; None is no point.
    """
    return isinstance(point, str) and point not in {*_NEEDS, WAITING}


def name_of(point: str | Point) -> str:
    """The name of a point.

    :param point: the point itself, or its name already.
    """
    return point if isinstance(point, str) else point.name


def own_point(order: RaceOrder, name: str) -> Point:
    """A point that contenders tell of themselves: the first of them, or the one that was stopped or killed there.

    :param order: the race.
    :param name: the name that contenders give to ``contender.point(name)``.
    """

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
    """Whether a process stands still by a signal.

    :param pid: the PID of the process; None is taken for this process.
    """
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
    """The names of these points in one line, for messages.

    :param points: the points by name.
    """
    return ", ".join(sorted(points))
