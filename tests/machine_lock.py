"""One real Airflow at a time on this machine: each takes both cores."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.installed import ROOT

_FILE = ROOT / ".cache" / "airflow.lock"


@contextmanager
def only_airflow() -> Iterator[None]:
    """Wait until no other test of this checkout runs a real Airflow; then none starts before the block ends.

    For a fixture of a test whose time limit counts the test alone (``func_only``).
    """
    _FILE.parent.mkdir(exist_ok=True)
    with _FILE.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
