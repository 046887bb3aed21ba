"""The successive owners of a lock file, recorded by a thread during a test.

On Linux inotify reports every change of a name in order, so no owner is missed. The PID of an owner that released the
lock before the file could be read (well under a millisecond) is unknown. On other systems, and on Linux after the
folder was removed or moved, the thread reads the file every millisecond.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_cosmos_venv import real_time

APPEARED, CHANGED, VANISHED = "appeared", "changed", "vanished"

_MODIFY, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
_MOVED_AWAY, _OVERFLOWN, _IGNORED = 0x800, 0x4000, 0x8000
_ALL = _MODIFY | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _MOVED_AWAY
_HEADER = struct.Struct("iIII")
LOCK_FILE = "cosmos_virtualenv.lock"
KERNEL_LOCK_FILE = "cosmos_virtualenv.flock"
"""The file that cosmos-venv locks in the kernel; Cosmos has no such file."""
_TURN = 0.02  # seconds after which the thread checks whether it must end
_LOOK_AGAIN = 0.001  # seconds between two reads of the file where inotify is not available


@dataclass
class FolderEvents:
    """The changes of one name in a folder, from the moment this object is made.

    :param name: the name of the file in that folder.
    :param has_lost_it: whether events are no longer complete: the folder was removed or moved, or the kernel's queue
        was full.
    """

    _descriptor: int
    name: str
    has_lost_it: bool = False

    @classmethod
    def of(cls, folder: Path, name: str) -> FolderEvents | None:
        """Watch a folder; return None where inotify is not available.

        :param folder: an existing directory.
        :param name: the file in it whose changes count.
        """
        if sys.platform != "linux":
            return None
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if descriptor < 0:  # the kernel limits the number of inotify instances of a user
            return None
        if libc.inotify_add_watch(descriptor, os.fsencode(folder), _ALL) < 0:
            os.close(descriptor)
            return None
        return cls(descriptor, name)

    def wait(self, seconds: float) -> bool:
        """Whether there are unread events.

        :param seconds: the longest wait for an event, in seconds.
        """
        poll = select.poll()  # select.select fails with descriptors above 1023
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def read(self) -> list[str]:
        """The changes since the last call, in order: ``APPEARED``, ``CHANGED`` or ``VANISHED``."""
        try:
            return list(self._parse(os.read(self._descriptor, 65536)))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)

    def _parse(self, data: bytes) -> Iterator[str]:
        at = 0
        while at < len(data):
            _, mask, _, length = _HEADER.unpack_from(data, at)
            name = data[at + _HEADER.size : at + _HEADER.size + length].rstrip(b"\0")
            at += _HEADER.size + length
            if mask & (_MOVED_AWAY | _OVERFLOWN | _IGNORED):
                # Events are no longer complete: the folder is gone, or the kernel's queue was full.
                self.has_lost_it = True
            elif os.fsdecode(name) == self.name:
                yield _word(mask)


def _word(mask: int) -> str:
    # A lock may be published by a rename, so a file that was moved here counts as created.
    if mask & (_CREATE | _MOVED_TO):
        return APPEARED
    return VANISHED if mask & (_DELETE | _MOVED_FROM) else CHANGED


def read_text(file: Path) -> str | None:
    """The text of a lock file, stripped; None when the file is missing or cannot be read.

    :param file: the lock file.
    """
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def pid_in(text: str | None) -> int | None:
    """The text as a number; None when the text is no number.

    :param text: what a lock file holds; None where there is no file.
    """
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def read_owner(file: Path) -> int | None:
    """The PID in a lock file; None when there is no file, or no number in it.

    :param file: the lock file.
    """
    return pid_in(read_text(file))


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """One holder of the lock.

    :param pid: the PID in the file; None when the file held no number, or was gone before it could be read.
    :param text: the text in the file.
    :param since: the time at which this owner was seen first, in seconds since the epoch.
    :param until: the time at which the file was gone or named another owner, in seconds since the epoch; None while
        the file names this owner.
    """

    pid: int | None
    text: str
    since: float
    until: float | None = None


class LockHistory:
    """The owners of a lock file, from the moment this object is made.

    :param file: the lock file, whose folder exists; the owner that the file names now is the first owner.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._owners: list[LockOwner] = []
        self._guard = threading.Lock()
        self._is_over = threading.Event()
        # Whether the file of the current owner was read before the kernel reported that the file had appeared.
        self._is_ahead = False
        self._events = FolderEvents.of(file.parent, file.name)
        self._take_in(read_text(file))
        self._thread = threading.Thread(target=self._watch, name=f"watches {file.name}", daemon=True)
        self._thread.start()

    @property
    def owners(self) -> tuple[LockOwner, ...]:
        """All owners so far, the earliest first."""
        self.catch_up()
        return tuple(self._owners)

    def close(self) -> None:
        """Stop watching and end the thread."""
        self._is_over.set()
        self._thread.join()
        if self._events is not None:
            self._events.close()

    def _watch(self) -> None:
        while not self._is_over.is_set():
            if self._events is None or self._events.has_lost_it:
                self._is_over.wait(_LOOK_AGAIN)
            elif not self._events.wait(_TURN):
                continue
            self.catch_up()

    def catch_up(self) -> None:
        """Record all changes up to now."""
        with self._guard:
            if self._events is None or self._events.has_lost_it:
                self._take_in(read_text(self._file))
                return
            while True:
                for event in self._events.read():
                    self._note(event)
                text = read_text(self._file)
                # With unread events the text may already be a later owner's: read the events first, in order.
                if not self._events.wait(0.0):
                    known = len(self._owners)
                    self._take_in(text)
                    self._is_ahead = self._is_ahead or len(self._owners) > known
                    return

    def _note(self, event: str) -> None:
        is_known, self._is_ahead = self._is_ahead and event == APPEARED, False
        if is_known:
            return
        if event in {APPEARED, VANISHED}:
            self._close()
        if event == APPEARED:
            self._owners.append(LockOwner(pid=None, text="", since=real_time.now()))

    def _take_in(self, text: str | None) -> None:
        current = self._owners[-1] if self._owners and self._owners[-1].until is None else None
        if text is None:
            self._close()
        elif current is not None and not current.text:
            self._owners[-1] = replace(current, pid=pid_in(text), text=text)
        elif current is None or text not in {"", current.text}:
            # An empty file does not mean another owner: a writer truncates the file before it writes.
            self._close()
            self._owners.append(LockOwner(pid=pid_in(text), text=text, since=real_time.now()))

    def _close(self) -> None:
        if self._owners and self._owners[-1].until is None:
            self._owners[-1] = replace(self._owners[-1], until=real_time.now())
