"""Does this thread hold a directory's kernel lock already? Then asking again must not make it wait for itself.

A lock belongs to a descriptor, so that a second descriptor of the same process would wait for the first.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosmos_venv.environments.lock import VirtualenvLock


@dataclass(frozen=True)
class _Holder:
    lock: VirtualenvLock
    pid: int  # a child that was forked knows of it, and does not hold it
    thread: int


_holders: dict[tuple[int, int], _Holder] = {}


def held_here(descriptor: int) -> VirtualenvLock | None:
    """The lock through which this thread holds the file that is open here."""
    holder = _holders.get(_file_of(descriptor))
    if holder is None or (holder.pid, holder.thread) != (os.getpid(), threading.get_ident()):
        return None
    return holder.lock


@contextmanager
def holding(descriptor: int, lock: VirtualenvLock) -> Iterator[None]:
    """Within this block ``held_here`` gives the lock to this thread. The kernel lets one in at a time."""
    file = _file_of(descriptor)
    _holders[file] = _Holder(lock, os.getpid(), threading.get_ident())
    try:
        yield
    finally:
        del _holders[file]


def _file_of(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
