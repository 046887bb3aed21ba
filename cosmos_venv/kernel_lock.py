"""How a file is opened to be locked (``fcntl.flock``) by whoever may reach it, and whether it is still the one.

Always a file, never a directory: on NFS the lock of a directory is one host's own.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

_FOR_A_GROUP = 0o664
_NOT_OURS_TO_WRITE = {errno.EACCES, errno.EPERM, errno.EROFS}
_GONE = {errno.ENOENT, errno.ESTALE}
NOBODY_LOCKS = {
    *_NOT_OURS_TO_WRITE,
    *(errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL),
}
"""What a mount answers that cannot be written to, or knows no locks: there nobody removes anything, either."""


def open_for_locking(path: Path) -> int:
    """A descriptor of the file, made when missing, never truncated.

    Another user's file is opened for reading: that is enough for a lock, except on NFS, which asks for writing.

    :raises OSError: when it can be neither made nor read.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, _FOR_A_GROUP)
    except OSError as error:
        if error.errno not in _NOT_OURS_TO_WRITE:
            raise
        try:
            return os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise error from None


def open_to_ask(path: Path) -> int:
    """As ``open_for_locking``, of a file that is there: nothing is made.

    :raises OSError: when it is not there, or cannot be read.
    """
    try:
        return os.open(path, os.O_RDWR)
    except OSError as error:
        if error.errno not in _NOT_OURS_TO_WRITE:
            raise
        return os.open(path, os.O_RDONLY)


def is_locked_or_lockless(descriptor: int) -> bool:
    """Whether it is locked now for this process alone; also where the mount knows no locks: then nobody waits there."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def is_locked_by_another(descriptor: int) -> bool:
    """Whether another open file has it for itself alone; False where the mount knows no locks.

    It is asked with a shared lock, so that two who ask at once do not take each other for its owner.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    unlock(descriptor)
    return False


def unlock(descriptor: int) -> None:
    """Give the lock back. Closing alone would leave it to a child that was forked meanwhile."""
    with suppress(OSError):  # a mount that knows no locks
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_still(descriptor: int, path: Path) -> bool:
    """Whether the open file still has that name: before it was locked, another one may have taken its place.

    :raises OSError: when the name cannot be looked up.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError as error:
        if error.errno in _GONE:  # ESTALE: removed on another host
            return False
        raise
