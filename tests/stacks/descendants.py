"""All processes that a block has started, orphans included: found while it runs, and ended with it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
_LONGEST_END = 10.0


@dataclass(frozen=True)
class Descendants:
    """The processes below this one, but for some of its children and what these have started.

    :param others: these children.
    """

    others: frozenset[psutil.Process]

    def find(self) -> list[psutil.Process]:
        """All of them that are there now."""
        own = {*psutil.Process().children()} - self.others
        found = [*own]
        for each in own:
            with suppress(psutil.NoSuchProcess):
                found += each.children(recursive=True)
        return found

    def end(self) -> None:
        """Kill them until none is left: one of them may have started another one meanwhile."""
        while left := self.find():
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=_LONGEST_END)


@contextmanager
def ended_descendants() -> Iterator[Descendants]:
    """The processes that are started within the block; those that are left at its end are killed.

    A process whose parent has died becomes a child of this one, and not of process 1: so tasks, which have sessions of
    their own, detached builds and servers of warm dbts are found as well, whatever became of the server that started
    them.
    """
    prctl = ctypes.CDLL(None).prctl
    assert prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    started = Descendants(frozenset(psutil.Process().children()))
    try:
        yield started
    finally:
        started.end()
        prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
