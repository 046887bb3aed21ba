"""A clock that stands still while contenders work, and jumps when all of them wait.

A sleeping contender goes on when no other contender can: then the clock jumps to the end of its sleep. Files that
contenders write get the time of this clock. The clock stands while a contender has a child process, whose work takes
real time.
"""

from __future__ import annotations

import math
import os
import random
import tempfile
import time
from collections.abc import Callable
from typing import Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.explore.stepping import SLEEPS, has_child, stepper

_Function = Callable[..., Any]
# Not the current functions of `time`: a test may have replaced them before this import. freezegun itself can cause the
# import, since it reads all names of every module.
_real = real_time.FUNCTIONS
_urandom = os.urandom
_BILLION = 1_000_000_000
_LOOK_AGAIN = 0.002
_CLOCKS = [
    getattr(time, name) for name in ("CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_BOOTTIME") if hasattr(time, name)
]
_AHEAD = 1.0  # seconds: no rounded time of a kernel or a file system may lie after the clock's start
# Seconds, the same in each schedule. With the machine's own clock, the rounding of a sum such as `began + 1.0` changed
# when the clock passed a power of two: a wait had 100 steps before 1,024 s, and 101 steps after.
_MONOTONIC_START = float(2**20)
_started: dict[int, float] = {}


def replaced_clock() -> dict[_Function, _Function]:
    """Return the real functions that tell the time, wait or give random bytes, and what is put in their place."""
    return {
        _real["sleep"]: _sleep,
        _real["time"]: _time,
        _real["time_ns"]: lambda: _nanoseconds(time.CLOCK_REALTIME) if stepper() else _real["time_ns"](),
        _real["monotonic"]: _monotonic,
        _real["monotonic_ns"]: lambda: _nanoseconds(time.CLOCK_MONOTONIC) if stepper() else _real["monotonic_ns"](),
        _real["clock_gettime"]: _clock_gettime,
        _urandom: _random_bytes,
    }


def replace_methods() -> None:
    """Replace what is no function of a module: the random names of ``tempfile``."""
    tempfile._RandomNameSequence.rng = property(lambda _: random)  # type: ignore[attr-defined]


def times_ahead() -> dict[int, float]:
    """Return the times at which a schedule's clocks start, in whole seconds: later than the start of its processes."""
    # With fractions, the last digit of a sum would be rounded differently in each schedule.
    times = {clock: math.ceil(_real["clock_gettime"](clock)) + _AHEAD for clock in _CLOCKS}
    return {**times, time.CLOCK_MONOTONIC: _MONOTONIC_START}


def take_clock(times: dict[int, float]) -> float:
    """Set the clocks of this contender, and return the time at which they start, in seconds since the epoch.

    :param times: of the clocks of the kernel, by their numbers.
    """
    _started.update(times)
    return times[time.CLOCK_REALTIME]


def seed_random(index: int) -> None:
    """Let random values be the same in each schedule.

    :param index: of the contender that this process has become.
    """
    random.seed(index)
    tempfile._name_sequence = None  # type: ignore[attr-defined]


def _clock_gettime(clock: int, /) -> float:
    if stepper() is None or clock not in _started:
        return float(_real["clock_gettime"](clock))
    return _nanoseconds(clock) / _BILLION


def _nanoseconds(clock: int) -> int:
    """Return the clock's nanoseconds. Calls and files take their times from here, so both see the same time."""
    here = stepper()
    return int(_started[clock]) * _BILLION + round((here.clock if here else 0.0) * _BILLION)


def _time() -> float:
    return _clock_gettime(time.CLOCK_REALTIME) if stepper() else float(_real["time"]())


def _monotonic() -> float:
    return _clock_gettime(time.CLOCK_MONOTONIC) if stepper() else float(_real["monotonic"]())


def _sleep(seconds: float, /) -> None:
    here = stepper()
    if here is None:
        _real["sleep"](seconds)
        return
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    if has_child():
        _real["sleep"](min(seconds, _LOOK_AGAIN))
        return
    text = f"sleep {seconds:g} s"
    here.arrive("sleep", text, how=SLEEPS, until=here.clock + seconds)
    here.note("sleep", text, ())


def _random_bytes(size: int, /) -> bytes:
    return _urandom(size) if stepper() is None else random.randbytes(size)  # noqa: S311 - the same in each schedule
