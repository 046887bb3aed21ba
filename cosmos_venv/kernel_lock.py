"""How a file is opened to be locked (``fcntl.flock``) by whoever may reach it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_READABLE_BY_ALL = 0o644
_NOT_OURS_TO_WRITE = {errno.EACCES, errno.EPERM, errno.EROFS}


def open_for_locking(path: Path) -> int:
    """A descriptor of the file, made when missing, never truncated.

    Another user's file is opened for reading: that is enough for a lock, except on NFS, which asks for writing.

    :raises OSError: when it can be neither made nor read.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, _READABLE_BY_ALL)
    except OSError as error:
        if error.errno not in _NOT_OURS_TO_WRITE:
            raise
        try:
            return os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise error from None
