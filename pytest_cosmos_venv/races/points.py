"""How is it known from outside that a task has come to a point? By what appears in files: any implementation leaves it.

A point is asked again and again and answers once it is reached. What was there when it was made does not count.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse, with_timeout
from pytest_cosmos_venv.processes.lock_file import LOCK_FILE, read_owner
from pytest_cosmos_venv.races.timeline import ACTOR_VARIABLE

if TYPE_CHECKING:
    from pytest_cosmos_venv.environments.dbt_record import DbtCall
    from pytest_cosmos_venv.environments.sdist import Sdist, SourceBuild

TIMEOUT = 30.0
LOOK_AGAIN = 0.001


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A point was reached.

    :param at: when that was seen, in seconds since the epoch.
    :param pid: of the process that was there, where the point tells.
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

    :param name: in timelines and in messages.
    :param look: None as long as it is not reached. May be asked a thousand times a second.
    """

    name: str
    look: Callable[[], Sighting | None]

    @with_timeout
    def wait(self, *, timeout: float = TIMEOUT) -> Sighting:
        """The sighting, as soon as it is reached.

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
    """``file`` is there; it was not when this was called, or has been replaced since.

    :param name: of the point. Default: that of the file.
    """
    before = _identity(file)

    def look() -> Sighting | None:
        now = _identity(file)
        return Sighting(at=real_time.now(), what=str(file)) if now is not None and now != before else None

    return Point(name or file.name, look)


def first_file_under(folder: Path, *, name: str = "creating") -> Point:
    """Any file in ``folder``, at any depth, that was not there before; lock files do not count.

    :param name: of the point.
    """
    before = frozenset(_files_under(str(folder)))

    def look() -> Sighting | None:
        new = next((file for file in _files_under(str(folder)) if file not in before), None)
        return None if new is None else Sighting(at=real_time.now(), what=new)

    return Point(name, look)


def lock_taken(virtualenv_dir: Path, *, name: str = "locked") -> Point:
    """The lock file of a ``virtualenv_dir`` names a process that it did not name before.

    :param name: of the point.
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
    """A look-alike dbt that is led to ``folder`` has begun.

    :param folder: of a ``ScriptedDbt``, or what ``COSMOS_DBT_RECORD_DIR`` names.
    :param name: of the point.
    """
    from pytest_cosmos_venv.environments.dbt_record import read_dbt_calls

    return any_call_reported(lambda: read_dbt_calls(folder), name=name)


def any_call_reported(read_calls: Callable[[], Iterable[DbtCall]], *, name: str) -> Point:
    """As ``dbt_reported``, wherever the calls are on record."""
    before = {(call.pid, call.started_at) for call in read_calls()}

    def look() -> Sighting | None:
        for call in read_calls():
            if (call.pid, call.started_at) not in before and call.command != "--version":
                actor = call.env.get(ACTOR_VARIABLE)
                return Sighting(at=real_time.now(), pid=call.pid, actor=actor, what=f"dbt {call.command}")
        return None

    return Point(name, look)


def build_begins(*sdists: Sdist, name: str = "installing") -> Point:
    """An installer has begun to build one of these.

    :param sdists: from ``cosmos_wheelhouse.add_sdist(...)``.
    :param name: of the point.
    """
    return any_build_begins(lambda: [build for sdist in sdists for build in sdist.builds], name=name)


def any_build_begins(read_builds: Callable[[], Iterable[SourceBuild]], *, name: str) -> Point:
    """As ``build_begins``, for sdists that may come to be known later."""
    before = {(build.pid, build.started_at) for build in read_builds()}

    def look() -> Sighting | None:
        for build in read_builds():
            if (build.pid, build.started_at) not in before:
                return Sighting(at=real_time.now(), pid=build.pid, what=f"a build in process {build.pid}")
        return None

    return Point(name, look)


def lock_owner(virtualenv_dir: Path) -> int | None:
    """The process that the lock file names, or None when it is not there or names none."""
    return read_owner(virtualenv_dir / LOCK_FILE)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _files_under(folder: str) -> Iterator[str]:
    """Without ``os.walk``: the first file is wanted at once, and folders may vanish meanwhile."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_under(entry.path)
        elif not entry.name.startswith("cosmos_virtualenv."):
            yield entry.path
