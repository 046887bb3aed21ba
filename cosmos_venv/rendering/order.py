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
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(ids, ()))
    for before, after in edges:
        sorter.add(after, before)
    try:
        sorter.prepare()
    except CycleError as error:
        # graphlib lists each id before the one that needs it, the first one again at the end.
        raise CosmosLoadDbtException(
            f"The nodes depend on each other in a circle: {' -> '.join(error.args[1])}. Write the manifest anew."
        ) from error
    ordered: list[str] = []
    while sorter.is_active():
        free = sorted(sorter.get_ready())
        sorter.done(*free)
        ordered += free
    return ordered
