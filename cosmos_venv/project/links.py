"""Which tests belong to which nodes of a selection, and what comes after each node?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cosmos_venv.constants import DbtResourceType
from cosmos_venv.project.node import DbtNode

_TESTS = (DbtResourceType.TEST, DbtResourceType.UNIT_TEST)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """:param nodes: the selected nodes and their tests, each knowing its tests and what comes after it.
    :param tests_per_model: ids of the tests of each node that has any, in the project's order.
    """

    nodes: dict[str, DbtNode]
    tests_per_model: dict[str, list[str]]


def link(nodes: Mapping[str, DbtNode], selected: Iterable[str]) -> Selection:
    """Join to the selected nodes every test of which at least one parent is selected, and fill in the relations.

    :param nodes: all nodes, in the project's order, which the result keeps.
    :param selected: unique ids; all must be in ``nodes``.
    """
    chosen = set(selected)
    tests_per_model: dict[str, list[str]] = {}
    joined = set(chosen)
    for test in nodes.values():
        if test.resource_type is not DbtResourceType.TEST:
            continue
        for parent in dict.fromkeys(test.depends_on):
            if parent in chosen:
                tests_per_model.setdefault(parent, []).append(test.unique_id)
                joined.add(test.unique_id)
    kept = {unique_id: node for unique_id, node in nodes.items() if unique_id in joined}
    downstream = _downstream(kept)
    return Selection(
        nodes={
            unique_id: replace(
                node,
                has_test=unique_id in tests_per_model,
                # Tests that run apart from their parents are not offered yet: each runs in its parents' test tasks.
                has_non_detached_test=unique_id in tests_per_model,
                downstream=downstream.get(unique_id, []),
            )
            for unique_id, node in kept.items()
        },
        tests_per_model=tests_per_model,
    )


def _downstream(nodes: Mapping[str, DbtNode]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in nodes.values():
        if node.resource_type in _TESTS:
            continue
        for parent in dict.fromkeys(node.depends_on):
            found.setdefault(parent, []).append(node.unique_id)
    return found
