"""The garbage collector, paused while a DAG is built, and memory given back to the system."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 50_000
"""Objects that Python looks through in about ten milliseconds."""


@contextmanager
def no_collection() -> Iterator[None]:
    """Within this block, or as a decorator within the function, the garbage collector does not start by itself.

    Python looks through all that is there each time that some more has been made: of 20,000 models decoding alone takes
    six times as long. Blocks may lie in each other. A collector that was switched off before stays so.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()  # not freeze: Airflow freezes before it forks, and what it has frozen must stay so
    try:
        yield
    finally:
        _count_as_old()
        gc.enable()


def give_back() -> None:
    """Give memory that nothing uses any more back to the system.

    The C library keeps what it was once given, up to 32 MiB a piece: a manifest's text would stay while the DAG is
    made.
    """
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def _count_as_old() -> None:
    """Move the new objects into the oldest generation, so that the next collection does not look through all of them.

    Freezing and thawing takes no time, whatever there is. What somebody else has frozen must stay so: Airflow freezes
    objects before it forks the process that reads a DAG file. To count what is frozen is a walk along all of it, of an
    imported Airflow 25 ms, twice what a small DAG takes: few objects are left to Python, which looks through them
    sooner.
    """
    if gc.get_count()[0] >= _MANY and gc.get_freeze_count() == 0:
        gc.freeze()
        gc.unfreeze()
