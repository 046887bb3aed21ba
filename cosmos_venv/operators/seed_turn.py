"""When may a task compare what is remembered of a seed and write it anew? When no other task of this machine does.

A Variable cannot be exchanged in one step. Between tasks of several machines there are some milliseconds left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cosmos_venv.dbt.kept_files import make_private
from cosmos_venv.kernel_lock import is_locked_or_lockless, open_for_locking, unlock

LAYOUT = "seeds-v1"
_MAX_WAIT = 10.0  # seconds: two calls of Airflow's API are waited for, and nobody for ever
_TURN = 0.005


@contextmanager
def own_turn(cache_dir: Path, key: str) -> Iterator[None]:
    """Within this block no other task of this machine is in one with this key. Where nothing can be locked, it may be.

    :param key: of the Variable; its last characters are digits of a hash.
    """
    descriptor = _open(cache_dir / LAYOUT, key)
    try:
        until = time.monotonic() + _MAX_WAIT
        while descriptor is not None and not is_locked_or_lockless(descriptor) and time.monotonic() < until:
            time.sleep(_TURN)
        yield
    finally:
        if descriptor is not None:
            unlock(descriptor)
            os.close(descriptor)


def _open(folder: Path, key: str) -> int | None:
    """One of 256 files, so that there are never more of them, however many seeds come and go."""
    try:
        make_private(folder)
        return open_for_locking(folder / f"{key[-2:]}.flock")
    except OSError:
        return None
