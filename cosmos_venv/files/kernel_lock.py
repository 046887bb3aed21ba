"""Kernel locks (``fcntl.flock``): opening a file to lock it, locking it, and whether it is still the file of its name.

A lock is always on a file, never on a directory: on NFS the lock of a directory counts on one host only. A user who may
read a file may lock it for ever. So users who may not write to the folder of a lock file may not read the file.

A lease is a shared lock on ``<directory>.lease`` for as long as a process uses the directory. Builds of environments
have one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from cosmos_venv.files.own_files import age, open_own

_FOR_THE_OWNER = 0o600
_FOR_A_GROUP = 0o660
_NOT_OURS_TO_WRITE = {errno.EACCES, errno.EPERM, errno.EROFS}
_GONE = {errno.ENOENT, errno.ESTALE}
_UNKNOWN_TO_THE_MOUNT = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
LOCK_NOT_POSSIBLE = _NOT_OURS_TO_WRITE | _UNKNOWN_TO_THE_MOUNT
"""Errors of a mount that this user cannot write to, or that knows no locks: nobody removes anything there either."""
UNSUPPORTED = {errno.EPERM, errno.EACCES, errno.EMLINK} | _UNKNOWN_TO_THE_MOUNT
"""Errors of a mount without links or locks, in a writable directory. A full disk has other errors."""

_NOTE_AGAIN_AFTER = 60.0  # seconds: a use is noted to the minute, not once per task on a slow mount


def open_for_locking(path: Path, *, make: bool = True) -> int:
    """Open a file to be locked. It is never truncated.

    Another user's file is opened for reading: that is enough for a lock, except on NFS, which asks for writing.

    :param path: of the file.
    :param make: whether it is made when it is missing.
    :returns: the file descriptor, which the caller closes.
    :raises OSError: when it can be neither made nor read, or is no plain file.
    """
    try:
        return open_own(path, os.O_RDWR | os.O_CREAT, mode_beside(path)) if make else open_own(path, os.O_RDWR)
    except OSError as error:
        if error.errno not in _NOT_OURS_TO_WRITE:
            raise
        try:
            return open_own(path, os.O_RDONLY)
        except FileNotFoundError:
            raise error from None


def mode_beside(path: Path) -> int:
    """Return the permission bits for a lock file: a group that may write to the folder may read and write the file.

    The umask can take them away.

    :param path: of the file; its folder must exist.
    """
    return _FOR_A_GROUP if path.parent.stat().st_mode & stat.S_IWGRP else _FOR_THE_OWNER


def flock_at_once(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file without waiting.

    :param descriptor: of the file.
    :param kind: ``fcntl.LOCK_EX`` for this process alone, ``fcntl.LOCK_SH`` together with others.
    :returns: False while another process has a lock that excludes this one.
    :raises OSError: when the mount knows no locks.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class FileToLock:
    """A file, opened by its name, for an exclusive lock of this process.

    A sweep may remove a file that nobody needs. So a lock counts only on the file that still has the name; else the
    file that has the name now is opened and tried.

    :ivar descriptor: of the file that was opened last.
    :ivar is_inherited: set by a caller that starts a process which inherits the descriptor and is to keep the lock.
    :param path: the name of the file.
    :param make: as for ``open_for_locking``.
    :param lock: locks the file of a descriptor without waiting; False while another process has it.
    :raises OSError: when the file can be neither made nor read.
    """

    def __init__(self, path: Path, *, make: bool = True, lock: Callable[[int], bool] = flock_at_once) -> None:
        self.path = path
        self.descriptor = open_for_locking(path, make=make)
        self.is_inherited = False
        self._lock = lock

    def try_lock(self) -> bool:
        """Lock the file that has the name, without waiting; False while another process has it.

        :raises OSError: when it cannot be locked, or the file that has the name now can be neither made nor read.
        """
        while self._lock(self.descriptor):
            if is_still(self.descriptor, self.path):
                return True
            another = open_for_locking(self.path)
            os.close(self.descriptor)
            self.descriptor = another
        return False

    def close(self) -> None:
        """Close the descriptor, and free the lock unless a process has inherited it."""
        (os.close if self.is_inherited else unlock_and_close)(self.descriptor)


def try_lock_if_supported(descriptor: int) -> bool:
    """Lock an open file for this process alone, without waiting; also True where the mount knows no locks: then nobody
    waits.

    :param descriptor: of the file.
    """
    try:
        return flock_at_once(descriptor)
    except OSError:
        return True


def unlock(descriptor: int) -> None:
    """Give the lock back.

    Closing alone frees the lock late: a process that was started meanwhile has a copy of the descriptor, and closes it
    some time later.

    :param descriptor: of the file.
    """
    with suppress(OSError):  # a mount that knows no locks
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def unlock_and_close(descriptor: int) -> None:
    """Give the lock back and close the file.

    :param descriptor: of the file.
    """
    unlock(descriptor)
    os.close(descriptor)


def is_still(descriptor: int, path: Path) -> bool:
    """Return whether the open file still has its name: another file may have taken the name before the lock was taken.

    :param descriptor: of the open file.
    :param path: the name.
    :raises OSError: when the name cannot be looked up.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError as error:
        if error.errno in _GONE:  # ESTALE: removed on another host
            return False
        raise


def lease_path(build: Path) -> Path:
    """Return the file whose locks say whether a build is in use.

    :param build: directory of an environment.
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
            with suppress(OSError):  # in another user's store only the uses of its owner are noted
                os.utime(descriptor)
        return lease

    @classmethod
    def exclusive(cls, build: Path) -> Lease | None:
        """Take the right to remove a build; None when it is in use.

        :param build: the directory to remove.
        :raises OSError: when the file cannot be had.
        """
        # A task holds its shared lock for as long as it runs. So a build without a free exclusive lock is in use.
        return cls._locked(open_for_locking(lease_path(build)), fcntl.LOCK_EX)

    @classmethod
    def _locked(cls, descriptor: int, kind: int) -> Lease | None:
        is_locked = False
        try:
            is_locked = flock_at_once(descriptor, kind)
        finally:
            if not is_locked:
                os.close(descriptor)
        return cls(descriptor) if is_locked else None

    def hand_on(self) -> tuple[int, ...]:
        """Return the descriptor for ``keep_open`` of a guarded command: its guard holds the lease too, from now on."""
        self._is_handed_on = True
        return () if self._descriptor is None else (self._descriptor,)

    @property
    def last_use(self) -> float:
        """The time of the build's last use, in seconds since the epoch: the file's time of modification."""
        assert self._descriptor is not None  # noqa: S101 - a closed lease says nothing
        return os.fstat(self._descriptor).st_mtime

    def close(self) -> None:
        """Give the lease up. May be called again."""
        # Forgotten first: a signal handler that closes it once more must not close another file of that number.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        # All copies of a descriptor share one lock: unlocking would take the lease from a guard whose command runs.
        (os.close if self._is_handed_on else unlock_and_close)(descriptor)


def is_in_use(build: Path) -> bool | None:
    """Return whether a process uses the build now; None when this process cannot know. Makes no file.

    A process that takes a lease at that instant fails as during a removal, and tries again.

    :param build: the directory.
    """
    try:
        with closing(FileToLock(lease_path(build), make=False)) as file:
            return not flock_at_once(file.descriptor)
    except FileNotFoundError:
        return False
    except OSError:
        return None
