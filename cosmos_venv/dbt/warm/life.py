"""Does a server live? Its kernel lock says so, and is asked about without being taken.

A look that took the lock for a moment would tell a server which begins just then that there is another one. Such a lock
belongs to the open file (``F_OFD_SETLK``, Linux 3.15), so keepers, which close that file, give nothing up.
"""

from __future__ import annotations

import fcntl
import os
import struct

# <fcntl.h> of Linux; Python has the names from 3.9 on.
_GET, _SET = 36, 37
# struct flock: type, whence, start, length (0: to the end), pid (0 in such a call), and room to its alignment.
_FLOCK = struct.Struct("hhqqi0q")


def claim(lock: int) -> bool:
    """Take the lock, until the process and all that have inherited the file have closed it. False where it is held.

    :param lock: a descriptor that may write.
    """
    try:
        fcntl.fcntl(lock, _SET, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_claimed(lock: int) -> bool:
    """Whether another open file holds it. Takes nothing.

    :param lock: any descriptor of the file.
    """
    answer = fcntl.fcntl(lock, _GET, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
