"""The faults that the stand-in has now: none, unless a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_present: set[str] = set()


def has(fault: str) -> bool:
    """Whether it has this fault now."""
    return fault in _present


@contextmanager
def fault(name: str) -> Iterator[None]:
    """The stand-in has this fault for the length of the block."""
    _present.add(name)
    try:
        yield
    finally:
        _present.remove(name)
