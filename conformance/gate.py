"""How is a task met at the very moment in which it opens the lock file? The kernel halts writers, and tells of readers.

Linux alone, and leases only on some file systems; elsewhere nobody is ever halted or seen.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CLOSED_UNCHANGED = 0x10  # IN_CLOSE_NOWRITE


class Gate:
    """Halts who opens a file for writing, inside of that call; whoever reads it passes."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def has_somebody(self) -> bool:
        """Whether somebody is halted now."""
        if self._descriptor is None:
            return False
        return fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK

    def open(self) -> None:
        """Let everybody pass from now on."""
        if self._descriptor is not None:
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def gate_before_writing(file: Path) -> Iterator[Gate]:
    """Within this block who opens ``file`` for writing is halted, until ``open`` is called."""
    gate = Gate(_leased(file))
    try:
        yield gate
    finally:
        gate.open()


@contextmanager
def reader_of(file: Path) -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether somebody has read ``file`` since the block began."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    descriptor = -1 if libc is None else libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if libc is None or descriptor < 0:  # a user may have only so many
        yield lambda: False
        return
    try:
        libc.inotify_add_watch(descriptor, os.fsencode(file), _CLOSED_UNCHANGED)
        yield lambda: _has_events(descriptor)
    finally:
        os.close(descriptor)


def _has_events(descriptor: int) -> bool:
    try:
        return bool(os.read(descriptor, 4096))
    except BlockingIOError:
        return False


def _leased(file: Path) -> int | None:
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    descriptor = os.open(file, os.O_RDONLY)
    try:
        # The kernel's word that somebody is there would end this process, were it the usual signal.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
