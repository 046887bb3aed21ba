"""Points of a race that are seen from outside, in files, with any implementation.

A point is recognised by calls of the fake dbt, builds of sdists, the lock file or a line of a log. It is polled until
it is reached. Calls, builds and files from before the point was made do not count.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.environments.fake_venv import FakeVenv
from pytest_cosmos_venv.environments.scripted_dbt import DbtCall, read_dbt_calls
from pytest_cosmos_venv.environments.sdist import Sdist, SourceBuild
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from pytest_cosmos_venv.fake_dbt import RECORD_VARIABLE
from pytest_cosmos_venv.processes.lock_history import LOCK_FILE, read_owner
from pytest_cosmos_venv.races.contender import RaceOrder
from pytest_cosmos_venv.races.spans import ACTOR_VARIABLE
from pytest_cosmos_venv.races.timeline import Timeline

CREATING, LOCKED, WAITING, INSTALLING, RUNNING = "creating", "locked", "waiting", "installing", "running"
NEEDS = {
    CREATING: "virtualenv_dir=PATH",
    LOCKED: "virtualenv_dir=PATH",
    INSTALLING: "cosmos_dbt in the test, with an add_sdist(...)",
    RUNNING: "cosmos_dbt or cosmos_fake_venv in the test",
}
"""Name of a point -> what it needs in order to be seen. ``waiting`` needs nothing."""
_WAITING_LINE = "Waiting for virtualenv lock"
"""Cosmos and implementations that follow it log this line while a task waits for the lock of another task."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """The observation that a point was reached.

    :param at: the time of the observation, in seconds since the epoch.
    :param pid: the PID of the process that reached the point; None: not known.
    :param actor: the contender that reached the point; None: not known.
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
    :param look: returns None as long as the point is not reached. It may be called a thousand times a second.
    """

    name: str
    look: Callable[[], Sighting | None]


@dataclass(frozen=True)
class FakeDbtBuilds:
    """The fakes of a test, and their records of dbt's calls and of builds of sdists.

    :param wheelhouse: the wheelhouse of the test, whose sdists record their builds; None where the test has none.
    :param fake_venvs: the fake environments of the test, whose dbt records its calls.
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
        """Return all calls of dbt on record."""
        return [call for folder in self.records for call in read_dbt_calls(folder)]

    def builds(self) -> list[SourceBuild]:
        """Return all builds of sdists on record."""
        folders = [] if self.wheelhouse is None else self.wheelhouse._builds.glob("*")
        return [build for folder in folders for build in Sdist(path=folder, _builds=folder).builds]


def seen_points(order: RaceOrder, fakes: FakeDbtBuilds, virtualenv_dir: Path | None) -> dict[str, Point]:
    """Return all points that can be seen from outside in a race, by name. Earlier files and calls do not count.

    :param order: the race, whose outputs are looked through.
    :param fakes: the fakes of the test, for ``installing`` and ``running``.
    :param virtualenv_dir: the directory that the contenders share, for ``creating`` and ``locked``.
    """
    seen = [Point(WAITING, lambda: _waiting(order))]
    if virtualenv_dir is not None:
        seen += [first_file_under(virtualenv_dir), lock_taken(virtualenv_dir)]
    if fakes.wheelhouse is not None:
        seen.append(_build_begins(fakes))
    if fakes.records:
        seen.append(_dbt_reported(fakes))
    return {point.name: point for point in seen}


def first_file_under(folder: Path) -> Point:
    """Return the point ``creating``: a new file below a folder, at any depth. Lock files do not count.

    :param folder: the folder; it may be missing.
    """
    before = frozenset(_files_under(str(folder)))

    def look() -> Sighting | None:
        new = next((file for file in _files_under(str(folder)) if file not in before), None)
        return None if new is None else Sighting(at=real_time.now(), what=new)

    return Point(CREATING, look)


def lock_taken(virtualenv_dir: Path) -> Point:
    """Return the point ``locked``: the lock file names a process that it did not name before.

    :param virtualenv_dir: the directory in which the lock file lies.
    """
    before = lock_owner(virtualenv_dir)

    def look() -> Sighting | None:
        owner = lock_owner(virtualenv_dir)
        if owner is None or owner == before:
            return None
        return Sighting(at=real_time.now(), pid=owner, what=f"PID {owner} in the lock")

    return Point(LOCKED, look)


def lock_owner(virtualenv_dir: Path) -> int | None:
    """Return the PID that the lock file names; None when it is not there or names none.

    :param virtualenv_dir: the directory in which the lock file lies.
    """
    return read_owner(virtualenv_dir / LOCK_FILE)


def own_point(order: RaceOrder, name: str) -> Point:
    """Return a point that contenders report by ``contender.point(name)``.

    The sighting names the first contender there; at a point of ``kill_at``, the contender that was killed.

    :param order: the race.
    :param name: the name that contenders give to ``contender.point(name)``.
    """

    def look() -> Sighting | None:
        told = Timeline.read(order.meeting.events).spans(name)
        if name == order.kill_at:
            claim = order.claim_of(name)
            claimed = claim.read_text(encoding="utf-8") if claim.exists() else None
            told = tuple(span for span in told if span.actor == claimed)
        return Sighting(at=told[0].started_at, pid=told[0].pid, actor=told[0].actor, what=name) if told else None

    return Point(name, look)


def is_stopped(pid: int) -> bool:
    """Return whether SIGSTOP has taken effect.

    :param pid: the PID of the process.
    """
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def _build_begins(fakes: FakeDbtBuilds) -> Point:
    before = {(build.pid, build.started_at) for build in fakes.builds()}

    def look() -> Sighting | None:
        for build in fakes.builds():
            if (build.pid, build.started_at) not in before:
                return Sighting(at=real_time.now(), pid=build.pid, what=f"a build in process {build.pid}")
        return None

    return Point(INSTALLING, look)


def _dbt_reported(fakes: FakeDbtBuilds) -> Point:
    before = {(call.pid, call.started_at) for call in fakes.calls()}

    def look() -> Sighting | None:
        for call in fakes.calls():
            if (call.pid, call.started_at) not in before and call.command != "--version":
                actor = call.env.get(ACTOR_VARIABLE)
                return Sighting(at=real_time.now(), pid=call.pid, actor=actor, what=f"dbt {call.command}")
        return None

    return Point(RUNNING, look)


def _waiting(order: RaceOrder) -> Sighting | None:
    for index, name in enumerate(order.names):
        output = order.output_of(index)
        if output.exists() and _WAITING_LINE in output.read_text(encoding="utf-8", errors="replace"):
            return Sighting(at=real_time.now(), actor=name, what=f"{_WAITING_LINE!r} in its log")
    return None


def _files_under(folder: str) -> Iterator[str]:
    """Paths of the files below a folder, found lazily: callers stop at the first new file, and folders may vanish."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_under(entry.path)
        elif not entry.name.startswith("cosmos_virtualenv."):
            yield entry.path
