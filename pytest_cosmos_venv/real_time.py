"""What time is it really? For waiting and for timelines, also in a test that has frozen or moved Python's clock.

freezegun, time-machine and ``cosmos_clock`` replace ``time.time``, ``time.monotonic`` and ``time.sleep`` wherever they
are found, under any name; what is asked here reaches the kernel.
"""

from __future__ import annotations

import select
import sys
import time


def monotonic() -> float:
    """Seconds of the kernel's monotonic clock."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds since the epoch."""
    # freezegun leaves this function alone; time-machine does not, and says how to get past it.
    time_machine = sys.modules.get("time_machine")
    hatch = time_machine.escape_hatch if time_machine is not None else None
    if hatch is not None and hatch.is_travelling():
        return float(hatch.time.time())
    return time.clock_gettime(time.CLOCK_REALTIME)


def sleep(seconds: float) -> None:
    """Nothing happens for so long; a signal handler may raise out of it."""
    select.select([], [], [], seconds)
