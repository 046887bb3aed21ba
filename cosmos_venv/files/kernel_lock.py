"""Kernel locks (``fcntl.flock``): opening a file to lock it, locking it, and whether it is still the file of its name.

Always a file, never a directory: on NFS the lock of a directory is one host's own. A user who may read a file may lock
it, and keep all others from it: so users who may not write to its folder may not read it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cosmos_venv.files.durable_files import open_own

_FOR_THE_OWNER = 0o600
_FOR_A_GROUP = 0o660
_NOT_OURS_TO_WRITE = {errno.EACCES, errno.EPERM, errno.EROFS}
_GONE = {errno.ENOENT, errno.ESTALE}
NOBODY_LOCKS = _NOT_OURS_TO_WRITE | {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""What a mount answers that cannot be written to, or knows no locks: there nobody removes anything, either."""


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
    """Return the permission bits for a file that is to be locked: the group has some where it may write to the folder.

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
    """The file of a name, open to be locked for this process alone.

    A file that nobody needs may be swept away. So a lock counts only on the file that still has the name; else the file
    that has the name now is opened and tried.

    :ivar descriptor: of the file that was opened last.
    :ivar is_inherited: set by the one who starts a process that inherits the descriptor, and is to keep the lock.
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


def is_locked_or_lockless(descriptor: int) -> bool:
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

    Closing alone frees it late: a process that was started meanwhile has closed its copy some time after the call that
    starts it has returned.

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
    """Return whether the open file still has its name: before it was locked, another one may have taken its place.

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
