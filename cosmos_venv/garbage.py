"""When does Python look for garbage? Not while many objects are made of which none is garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Within this block, or as a decorator within the function, the garbage collector does not start by itself.

    Python looks through all that is there each time that some more has been made: of 20,000 models decoding alone takes
    six times as long. Blocks may lie in each other. Who had switched the collector off finds it switched off.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        _count_as_old()
        gc.enable()


def _count_as_old() -> None:
    """Or Python would look through all that was made at once, as if most of it were garbage by now.

    Freezing and thawing takes no time, whatever there is. What somebody else has frozen must stay so: Airflow does it
    before it forks.
    """
    if gc.get_freeze_count() == 0:
        gc.freeze()
        gc.unfreeze()
