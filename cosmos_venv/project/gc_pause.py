"""The garbage collector, paused while a DAG is built."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 50_000
"""Objects that Python looks through in about ten milliseconds."""


@contextmanager
def no_collection() -> Iterator[None]:
    """Within this block, or as a decorator within the function, the garbage collector does not start by itself.

    Python looks through all objects whenever some more have been made: with the collector, decoding 20,000 models takes
    six times as long. Blocks may be nested. A collector that was disabled before stays disabled.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()  # not gc.freeze(): Airflow freezes objects before it forks, and those must stay frozen
    try:
        yield
    finally:
        _count_as_old()
        gc.enable()


def _count_as_old() -> None:
    """Move the new objects into the oldest generation, so that the next collection does not look through all of them.

    Freezing and unfreezing takes no time, however many objects there are. Objects that somebody else has frozen must
    stay frozen: Airflow freezes objects before it forks the process that reads a DAG file. To count frozen objects,
    Python walks along all of them: 25 ms after the import of Airflow, twice the time of a small DAG. So few new
    objects are left alone: Python looks through them sooner.
    """
    if gc.get_count()[0] >= _MANY and gc.get_freeze_count() == 0:
        gc.freeze()
        gc.unfreeze()
