"""Waiting for what another process or thread does: one deadline for all tests, longer on a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

_POLL = 0.005
_VARIABLE = "COSMOS_VENV_TESTS_SLOWNESS"
_QUIET = 0.15
"""Seconds that a Python takes to start with these modules on two quiet cores."""


def _slowness() -> float:
    """How many times longer than on a quiet machine a process takes: 1 to 3, measured once for all workers."""
    if _VARIABLE not in os.environ:
        began = time.monotonic()
        for _ in range(3):
            subprocess.run([sys.executable, "-I", "-c", "import asyncio, json, logging"], check=True)
        os.environ[_VARIABLE] = str(min(3.0, max(1.0, (time.monotonic() - began) / 3 / _QUIET)))
    return float(os.environ[_VARIABLE])


DEADLINE = 90.0 * _slowness()
"""Seconds that an event may take, a start of Airflow among them. pytest ends a test after 600 s (`timeout`)."""


def wait_until(
    happened: Callable[[], object], otherwise: str = "the event did not come", *, seconds: float = DEADLINE
) -> None:
    """Wait for an event; fails when it does not come.

    :param happened: tells whether it has come.
    :param otherwise: what is said when it does not.
    :param seconds: that it may take.
    """
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, otherwise
        time.sleep(_POLL)
