"""In which order do tasks stand, the same in every process?"""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from cosmos_venv.exceptions import CosmosLoadDbtException


def in_order(ids: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[str]:
    """The ids in topological order, those that become free in one step by name.

    :param edges: pairs of upstream and downstream id.
    :raises CosmosLoadDbtException: when there is a circle, with its ids. dbt makes none, a hand-made manifest can.
    """
    downstream: dict[str, list[str]] = {each: [] for each in ids}
    waiting_for = dict.fromkeys(downstream, 0)
    for before, after in edges:
        downstream[before].append(after)
        waiting_for[after] += 1
    ordered: list[str] = []
    free = sorted(each for each, number in waiting_for.items() if not number)
    while free:
        ordered += free
        freed = []
        for before in free:
            for after in downstream[before]:
                waiting_for[after] -= 1
                if not waiting_for[after]:
                    freed.append(after)
        free = sorted(freed)
    if len(ordered) < len(downstream):
        _raise_circle(downstream)
    return ordered


def _raise_circle(downstream: dict[str, list[str]]) -> None:
    """graphlib could have done all of it, at three times the price; here it finds the circle."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for before, each in downstream.items():
        for after in each:
            sorter.add(after, before)
    try:
        sorter.prepare()
    except CycleError as error:
        # graphlib lists each id before the one that needs it, the first one again at the end.
        raise CosmosLoadDbtException(
            f"The nodes depend on each other in a circle: {' -> '.join(error.args[1])}. Write the manifest anew."
        ) from error
