"""The order of tests: as they stand in their files, but for long ones, with which every worker begins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def long_ones_first(
    items: Sequence[Item],
    workers: int,
    *,
    is_long: Callable[[Item], bool],
    file_of: Callable[[Item], str],
    seconds: Mapping[str, float],
) -> list[Item]:
    """The same items in another order.

    :param workers: ``--dist worksteal`` hands the first one as many as its part, the next one those that follow, ...
    :param file_of: the file of an item. The long ones of a file go to one worker: what they share, such as an
        environment with a real dbt, is made once and not by each worker.
    :param seconds: the time of the long tests of each file, by `file_of`; a file without one counts a minute.
    """
    short = [item for item in items if not is_long(item)]
    ordered: list[Item] = []
    for worker, mine in enumerate(_dealt([item for item in items if is_long(item)], workers, file_of, seconds)):
        share = (len(items) - len(ordered)) // (workers - worker)
        ordered += mine + short[: max(share - len(mine), 0)]
        del short[: max(share - len(mine), 0)]
    return ordered


def _dealt(
    items: Sequence[Item], workers: int, file_of: Callable[[Item], str], seconds: Mapping[str, float]
) -> list[list[Item]]:
    """The items of each worker: whole files, the longest first, each to the worker that has the least time."""
    files: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        files[file_of(item)].append(item)
    dealt: list[list[Item]] = [[] for _ in range(workers)]
    times = [0.0] * workers
    for file in sorted(files, key=lambda each: seconds.get(each, 60.0), reverse=True):
        least = times.index(min(times))
        dealt[least] += files[file]
        times[least] += seconds.get(file, 60.0)
    return dealt
