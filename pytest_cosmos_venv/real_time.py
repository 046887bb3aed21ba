"""The real time, for waiting and for timelines, also in a test that has frozen or moved Python's clock.

freezegun, time-machine and ``cosmos_airflow.at`` replace ``time.time``, ``time.monotonic`` and ``time.sleep``
wherever they are found, under any name; the functions of this module reach the kernel.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable

FUNCTIONS = {
    name: getattr(time, name) for name in ("sleep", "time", "time_ns", "monotonic", "monotonic_ns", "clock_gettime")
}
"""The functions of ``time`` by name, as they were before a test replaced them. Modules are searched for these objects.
"""


def monotonic() -> float:
    """Return the seconds of the kernel's monotonic clock."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def now() -> float:
    """Return the seconds since the epoch."""
    # freezegun does not replace clock_gettime; time-machine does, and offers an escape hatch.
    time_machine = sys.modules.get("time_machine")
    hatch = time_machine.escape_hatch if time_machine is not None else None
    if hatch is not None and hatch.is_travelling():
        return float(hatch.time.time())
    return time.clock_gettime(time.CLOCK_REALTIME)


def sleep(seconds: float) -> None:
    """Wait; a signal handler may raise out of it.

    :param seconds: the time to wait.
    """
    select.select([], [], [], seconds)


def wait_until(is_so: Callable[[], object], timeout: float, *, every: float = 0.005) -> bool:
    """Wait until a condition is true, and return whether it became true in time.

    :param is_so: the condition, which is checked at least once.
    :param timeout: seconds to wait.
    :param every: seconds between two checks.
    """
    end = monotonic() + timeout
    while not is_so():
        if monotonic() > end:
            return False
        sleep(every)
    return True
