"""Leases: a shared kernel lock on ``<directory>.lease`` for as long as a process uses the directory.

Builds of environments have one, and kept dbt packages.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import closing, suppress
from pathlib import Path

from cosmos_venv.files.durable_files import age, open_own
from cosmos_venv.files.kernel_lock import (
    FileToLock,
    flock_at_once,
    is_still,
    mode_beside,
    open_for_locking,
    unlock_and_close,
)

_NOTE_AGAIN_AFTER = 60.0  # seconds: a use is noted to the minute, not once per task on a slow mount


def lease_path(build: Path) -> Path:
    """Return the file whose locks say whether a build is in use.

    :param build: directory of an environment, or of kept dbt packages.
    """
    return build.with_name(f"{build.name}.lease")


class Lease:
    """A lock on a lease file, held until ``close`` or the end of the last process that has the descriptor.

    :param descriptor: of the lease file, locked.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._is_handed_on = False

    @classmethod
    def shared(cls, build: Path, *, make: bool = True) -> Lease | None:
        """Take a lease for one more user, whose use is noted (see ``last_use``); None while a process removes the
        build.

        :param build: the directory that is used.
        :param make: whether a missing lease file is made, and the use is noted; False for a process that only looks.
        :raises OSError: when the file cannot be had, or the mount knows no locks.
        """
        path = lease_path(build)
        try:
            # The file of a published build stands already, perhaps on a read-only mount.
            descriptor = open_own(path, os.O_RDONLY)
        except FileNotFoundError:
            if not make:
                raise
            descriptor = open_own(path, os.O_RDONLY | os.O_CREAT, mode_beside(path))
        lease = cls._locked(descriptor, fcntl.LOCK_SH)
        if lease is not None and make and abs(age(os.fstat(descriptor).st_mtime)) > _NOTE_AGAIN_AFTER:
            with suppress(OSError):  # another user's store: who prunes there sees only what its owner used
                os.utime(descriptor)
        return lease

    @classmethod
    def exclusive(cls, build: Path) -> Lease | None:
        """Take the right to remove a build; None when it is in use.

        :param build: the directory to remove.
        :raises OSError: when the file cannot be had.
        """
        # A task takes its shared lock for as long as it runs, so a build that cannot be had alone is in use.
        return cls._locked(open_for_locking(lease_path(build)), fcntl.LOCK_EX)

    @classmethod
    def _locked(cls, descriptor: int, kind: int) -> Lease | None:
        try:
            is_locked = flock_at_once(descriptor, kind)
        except BaseException:
            os.close(descriptor)
            raise
        if is_locked:
            return cls(descriptor)
        os.close(descriptor)
        return None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptor for ``keep_open`` of a guarded command: its guard holds the lease too, from now on."""
        self._is_handed_on = True
        return () if self._descriptor is None else (self._descriptor,)

    def is_of(self, build: Path) -> bool:
        """Return whether the build's lease file is still the one that is locked here.

        :param build: the directory.
        """
        return self._descriptor is not None and is_still(self._descriptor, lease_path(build))

    @property
    def last_use(self) -> float:
        """The time of the build's last use, in seconds since the epoch: the file's time of modification.

        0 where that lies in a future that no clock explains.
        """
        assert self._descriptor is not None  # noqa: S101 - a closed lease says nothing
        modified = os.fstat(self._descriptor).st_mtime
        return 0.0 if age(modified) == float("inf") else modified

    def close(self) -> None:
        """Give the lease up. May be called again."""
        # Forgotten first: a signal handler that closes it once more must not close another file of that number.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        # A guard keeps the lease until the last process of its command is gone: one lock is held by all copies.
        (os.close if self._is_handed_on else unlock_and_close)(descriptor)


def is_in_use(build: Path) -> bool | None:
    """Return whether a process uses the build now; None when this one cannot know. Makes no file.

    A process that takes a lease in the instant of the question is turned away as by a removal, and looks again.

    :param build: the directory.
    """
    try:
        with closing(FileToLock(lease_path(build), make=False)) as file:
            return not flock_at_once(file.descriptor)
    except FileNotFoundError:
        return False
    except OSError:
        return None


def users_of(build: Path) -> list[int]:
    """Return the PIDs that have the build's lease open, so far as this process may see them (Linux; empty elsewhere).

    :param build: the directory.
    """
    from cosmos_venv.processes.orphans import has_open  # only `env show` asks

    with suppress(OSError):
        lease = lease_path(build).stat()
        pids = (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
        return sorted(pid for pid in pids if pid != os.getpid() and has_open(pid, lease))
    return []
