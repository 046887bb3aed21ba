"""One real Airflow at a time on this machine: each takes both cores."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.installed import ROOT

_FILE = ROOT / ".cache" / "airflow.lock"


_held_by: list[int] = []
"""The PID of this process while it holds the lock; a forked child has the list too."""


@contextmanager
def only_airflow() -> Iterator[None]:
    """Wait until no other test of this checkout runs a real Airflow; then none starts before the block ends.

    For a fixture of a test whose time limit counts the test alone (``func_only``). A process that holds the lock
    already goes on: a test beside the Airflow of its module waited ten minutes for itself.
    """
    if os.getpid() in _held_by:
        yield
        return
    _FILE.parent.mkdir(exist_ok=True)
    with _FILE.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _held_by.append(os.getpid())
        try:
            yield
        finally:
            _held_by.remove(os.getpid())
