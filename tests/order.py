"""The order of tests: as they stand in their files, but for long ones, with which every worker begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def long_ones_first(items: Sequence[Item], workers: int, *, is_long: Callable[[Item], bool]) -> list[Item]:
    """The same items in another order.

    :param workers: ``--dist worksteal`` hands the first one as many as its part, the next one those that follow, ...
    """
    long = [item for item in items if is_long(item)]
    short = [item for item in items if not is_long(item)]
    ordered: list[Item] = []
    for worker in range(workers):
        share = (len(items) - len(ordered)) // (workers - worker)
        mine = long[worker::workers]
        ordered += mine + short[: max(share - len(mine), 0)]
        del short[: max(share - len(mine), 0)]
    return ordered
