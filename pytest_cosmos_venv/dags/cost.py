"""What does building a DAG cost, beside the cost of an equal plain one in the same process at the same time?"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from pytest_cosmos_venv.dags.plain import Size


@dataclass(frozen=True, kw_only=True)
class ParseCost:
    """What building cost, again and again.

    :param dags: that were built.
    :param size: of the equal plain ones.
    :param built: milliseconds of CPU time of each repeat, child processes that it waited for included.
    :param plain: the same of the plain DAGs, each right before the other.
    """

    dags: Sequence[Any]
    size: Size
    built: tuple[float, ...]
    plain: tuple[float, ...]

    @property
    def milliseconds(self) -> float:
        """Median of what building cost."""
        return median(self.built)

    @property
    def times_plain(self) -> float:
        """Median of how many times as much as the plain DAG each repeat cost."""
        return median(self._ratios)

    @property
    def text(self) -> str:
        """All of it in a sentence, with the spread: what differs from repeat to repeat is noise."""
        ratios = self._ratios
        return (
            f"{_spread(self.built)} of CPU time, {self.times_plain:.1f} ({min(ratios):.1f} to {max(ratios):.1f}) times "
            f"as much as {self.size}: {_spread(self.plain)}; medians of {len(self.built)} repeats"
        )

    @property
    def _ratios(self) -> list[float]:
        return [built / plain for built, plain in zip(self.built, self.plain, strict=True)]


def measure(
    build: Callable[[], object], plain: Callable[[], object], *, repeats: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Milliseconds of CPU time of both, taking turns, so that a busy machine is as unjust to one as to the other."""
    plain()
    with _older_objects_at_rest():
        pairs = [(_milliseconds(plain), _milliseconds(build)) for _ in range(repeats)]
    return tuple(built for _, built in pairs), tuple(plain for plain, _ in pairs)


@contextmanager
def _older_objects_at_rest() -> Iterator[None]:
    """Out of the garbage collector's sight: it takes a quarter of a second to look through an imported Airflow."""
    gc.collect()
    is_ours = gc.get_freeze_count() == 0
    if is_ours:
        gc.freeze()
    try:
        yield
    finally:
        if is_ours:
            gc.unfreeze()


def _milliseconds(build: Callable[[], object]) -> float:
    gc.collect()
    was_enabled = gc.isenabled()
    # Whose turn it is to look for garbage is chance.
    gc.disable()
    try:
        started = _cpu_seconds()
        build()
        return (_cpu_seconds() - started) * 1000
    finally:
        if was_enabled:
            gc.enable()


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _spread(milliseconds: Sequence[float]) -> str:
    return f"{median(milliseconds):.1f} ms ({min(milliseconds):.1f} to {max(milliseconds):.1f})"
