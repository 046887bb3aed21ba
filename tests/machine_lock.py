"""A lock for tests with a real Airflow: only one of them runs at a time, because each needs both cores."""

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

    Use it in a fixture of a test whose time limit excludes fixtures (``func_only``). A process that holds the
    lock goes on: without this, a test that used the Airflow of its module waited ten minutes for its own lock.
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
