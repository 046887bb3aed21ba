"""Does what this process has started still get on with its work? An installer that downloads says nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil


class Activity:
    """What the processes below this one have written since the last look."""

    def __init__(self) -> None:
        self._written = 0

    def has_gone_on(self) -> bool:
        """Whether they wrote anything since: to files, or to each other. False where the kernel does not tell."""
        import psutil  # not for an installation that is over before the first look

        written = sum(_written_by(process) for process in psutil.Process(os.getpid()).children(recursive=True))
        before, self._written = self._written, written
        return written > before


def _written_by(process: psutil.Process) -> int:
    import psutil

    try:
        return int(process.io_counters().write_chars)
    except (psutil.Error, OSError, AttributeError):  # it has just ended, or this is not Linux
        return 0
