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
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
