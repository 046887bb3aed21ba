"""How does one wait for other processes inside of a test? By the kernel's clock: the test may have frozen Python's."""

from __future__ import annotations

from pytest_cosmos_venv import real_time

_LOOK_AGAIN = 0.002


def now() -> float:
    """Seconds of the kernel's monotonic clock, which neither freezegun nor time-machine replaces."""
    return real_time.monotonic()


def pause() -> None:
    """A moment. Not ``time.sleep``, which a frozen clock may move instead; a signal handler may raise out of it."""
    real_time.sleep(_LOOK_AGAIN)
