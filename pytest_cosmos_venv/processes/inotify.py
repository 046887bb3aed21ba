"""Who changed a folder? Linux tells every change of a name in order, also of what is gone again."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

APPEARED, CHANGED, VANISHED = "appeared", "changed", "vanished"

_MODIFY, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
_MOVED_AWAY, _OVERFLOWN, _IGNORED = 0x800, 0x4000, 0x8000
_ALL = _MODIFY | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _MOVED_AWAY
_HEADER = struct.Struct("iIII")


@dataclass
class FolderEvents:
    """What happens to one name in a folder, from the moment this is made.

    :param name: in that folder.
    :param has_lost_it: whether the folder is not in its place any more, or more has happened than the kernel keeps.
    """

    _descriptor: int
    name: str
    has_lost_it: bool = False

    @classmethod
    def of(cls, folder: Path, name: str) -> FolderEvents | None:
        """None where the system does not tell."""
        if sys.platform != "linux":
            return None
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if descriptor < 0:  # a user may have only so many
            return None
        if libc.inotify_add_watch(descriptor, os.fsencode(folder), _ALL) < 0:
            os.close(descriptor)
            return None
        return cls(descriptor, name)

    def wait(self, seconds: float) -> bool:
        """Whether anything has happened that was not read; waits so long for it."""
        poll = select.poll()  # not select.select, which knows no descriptor beyond 1023
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def read(self) -> list[str]:
        """What has happened since the last call, in order."""
        try:
            return list(self._parse(os.read(self._descriptor, 65536)))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Watch no longer."""
        os.close(self._descriptor)

    def _parse(self, data: bytes) -> Iterator[str]:
        at = 0
        while at < len(data):
            _, mask, _, length = _HEADER.unpack_from(data, at)
            name = data[at + _HEADER.size : at + _HEADER.size + length].rstrip(b"\0")
            at += _HEADER.size + length
            if mask & (_MOVED_AWAY | _OVERFLOWN | _IGNORED):
                self.has_lost_it = True
            elif os.fsdecode(name) == self.name:
                yield _word(mask)


def _word(mask: int) -> str:
    if mask & (_CREATE | _MOVED_TO):
        return APPEARED
    return VANISHED if mask & (_DELETE | _MOVED_FROM) else CHANGED
