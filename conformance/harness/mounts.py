"""Directories that are read-only or full for one process, and a lock file at which writers are halted.

Directories become read-only or full by mounts of the process's own: a mount holds for the process and its children, and
is gone with them. On a machine that allows no mounts, requirements that need such a directory are not judged.

The kernel halts writers of a file by a lease, and reports readers by inotify. Both exist on Linux only, and leases work
only on some file systems; elsewhere nothing is ever halted or seen.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pytest_cosmos_venv.processes.mounts import (
    BIND,
    READ_ONLY,
    REMOUNT,
    MountError,
    begin_own_mounts,
    mount,
    refusal_of,
)

_CLOSED_UNCHANGED = 0x10  # IN_CLOSE_NOWRITE
_LOCKED = 2 | 4 | 8
"""nosuid, nodev, noexec: in a namespace of users these flags cannot be taken from a mounted file system."""
_A_PAGE = 4096


class WriterHalt:
    """Halts each process that opens a file for writing, inside of that call, until ``close``; readers pass.

    Where leases do not work, nothing is halted.

    :param file: an existing file.
    """

    def __init__(self, file: Path) -> None:
        self._descriptor: int | None = os.open(file, os.O_RDONLY)
        try:
            # The kernel reports a writer by a signal. Its default, SIGIO, would end this process.
            fcntl.fcntl(self._descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except (AttributeError, OSError):  # this is not Linux; or the file system has no leases
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def has_halted(self) -> bool:
        """Whether a process is halted now."""
        if self._descriptor is None:
            return False
        return fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK

    def close(self) -> None:
        """Let every process pass from now on."""
        if self._descriptor is not None:
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def watch_readers(file: Path) -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether ``file`` was read since the block began.

    :param file: an existing file.
    """
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    descriptor = -1 if libc is None else libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if libc is None or descriptor < 0:  # the kernel limits the number for each user
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


def why_not_mounted(places: Mapping[str, str]) -> str | None:
    """Why these directories cannot be mounted on this machine; None where all can be mounted.

    :param places: as for ``make_places``.
    """
    refusals = (refusal_of(partial(_mount_place, kind, path)) for kind, path in places.items())
    return next(filter(None, refusals), None)


def make_places(places: Mapping[str, str]) -> None:
    """Make directories ``read-only``, with all that is in them, or ``full``, with nothing in them, for this process.

    A mount stays until the process ends.

    :param places: ``read-only`` or ``full`` -> an existing directory.
    :raises MountError: this machine does not let this process mount.
    """
    for kind, path in places.items():
        if refusal := refusal_of(partial(_mount_place, kind, path)):
            raise MountError(f"a directory that is {kind} cannot be had here: {refusal}.")
        _mount_place(kind, path)


def _mount_place(kind: str, path: str) -> None:
    begin_own_mounts()
    if kind != "full":
        # Two calls: the kernel ignores the read-only flag in the call that makes the bind mount.
        mount(path, path, "", BIND)
        mount(path, path, "", BIND | REMOUNT | READ_ONLY | os.statvfs(path).f_flag & _LOCKED)
    else:
        mount("tmpfs", path, "tmpfs", 0, f"size={_A_PAGE},nr_inodes=1000,mode=755")
        Path(path, "ballast").write_bytes(bytes(_A_PAGE))
