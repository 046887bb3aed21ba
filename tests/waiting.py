"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

_POLL = 0.005


def wait_until(
    happened: Callable[[], object], otherwise: str = "the event did not come", *, seconds: float = 60.0
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
