"""The order of tests: every worker begins with long tests; the other tests keep the order of their files."""

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

    :param workers: the number of workers; ``--dist worksteal`` gives each worker one contiguous share of the items.
    :param file_of: the file of an item. The long tests of a file go to one worker, so that what they share, such as an
        environment with a real dbt, is made once.
    :param seconds: file -> time of its long tests; a file without a time counts as a minute.
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
    """The long tests of each worker: files are assigned whole, the longest first, to the worker with the least time."""
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
