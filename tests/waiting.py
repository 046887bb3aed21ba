"""Waiting for events of other processes and threads, with one deadline for all tests, longer on a slow machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")
_POLL = 0.005
_VARIABLE = "COSMOS_VENV_TESTS_SLOWNESS"
_QUIET = 0.15
"""Seconds that Python takes to start and import the modules of ``_slowness`` on two idle cores."""


def _slowness() -> float:
    """The start time of a process relative to an idle machine, from 1 to 3, measured once for all workers."""
    if _VARIABLE not in os.environ:
        began = time.monotonic()
        for _ in range(3):
            subprocess.run([sys.executable, "-I", "-c", "import asyncio, json, logging"], check=True)
        os.environ[_VARIABLE] = str(min(3.0, max(1.0, (time.monotonic() - began) / 3 / _QUIET)))
    return float(os.environ[_VARIABLE])


DEADLINE = 90.0 * _slowness()
"""Seconds that an event may take, a start of Airflow among them. pytest ends a test after 600 s (`timeout`)."""


def wait_until(
    happened: Callable[[], _Found],
    otherwise: str | Callable[[], str] = "the event did not come",
    *,
    seconds: float = DEADLINE,
    pause: float = _POLL,
) -> _Found:
    """Wait for an event, and return the true value of ``happened``.

    :param happened: returns a true value once the event has come; it may raise an error that ends the wait.
    :param otherwise: the message of the failure, or a function that returns the message.
    :param seconds: the time that the event may take.
    :param pause: seconds between two calls of ``happened``; use a longer pause where each call starts a process.
    :raises AssertionError: the event has not come in time.
    """
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        if time.monotonic() > deadline:
            said = otherwise if isinstance(otherwise, str) else otherwise()
            raise AssertionError(f"{said} (waited {seconds:.0f} s)")
        time.sleep(pause)  # noqa: TID251 - the one place
    return found
