"""How does one wait for other processes inside of a test? By the kernel's clock: the test may have frozen Python's."""

from __future__ import annotations

import select
import time

_LOOK_AGAIN = 0.002


def now() -> float:
    """Seconds of the kernel's monotonic clock, which neither freezegun nor time-machine replaces."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def pause() -> None:
    """A moment. Not ``time.sleep``, which a frozen clock may move instead; a signal handler may raise out of it."""
    select.select([], [], [], _LOOK_AGAIN)
