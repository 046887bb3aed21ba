"""The order of tests: as they stand in their files, but for long ones, with which every worker begins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def long_ones_first(
    items: Sequence[Item], workers: int, *, is_long: Callable[[Item], bool], file_of: Callable[[Item], Hashable]
) -> list[Item]:
    """The same items in another order.

    :param workers: ``--dist worksteal`` hands the first one as many as its part, the next one those that follow, ...
    :param file_of: the file of an item. The long ones of a file go to one worker: what they share, such as an
        environment with a real dbt, is made once and not by each worker.
    """
    short = [item for item in items if not is_long(item)]
    ordered: list[Item] = []
    for worker, mine in enumerate(_dealt([item for item in items if is_long(item)], workers, file_of)):
        share = (len(items) - len(ordered)) // (workers - worker)
        ordered += mine + short[: max(share - len(mine), 0)]
        del short[: max(share - len(mine), 0)]
    return ordered


def _dealt(items: Sequence[Item], workers: int, file_of: Callable[[Item], Hashable]) -> list[list[Item]]:
    """The items of each worker: whole files, the largest first, each to the one that has the fewest."""
    files: defaultdict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        files[file_of(item)].append(item)
    dealt: list[list[Item]] = [[] for _ in range(workers)]
    for file in sorted(files.values(), key=len, reverse=True):
        min(dealt, key=len).extend(file)
    return dealt
