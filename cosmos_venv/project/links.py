"""Which tests belong to which nodes of a selection, and what comes after each node?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cosmos_venv.constants import DbtResourceType
from cosmos_venv.garbage import no_collection
from cosmos_venv.project.node import DbtNode

_TESTS = (DbtResourceType.TEST, DbtResourceType.UNIT_TEST)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """:param nodes: the selected nodes and tests, each knowing its tests and what comes after it.
    :param tests_per_model: ids of the selected tests of each node that has any, in the project's order.
    """

    nodes: dict[str, DbtNode]
    tests_per_model: dict[str, list[str]]


@no_collection()
def link(selected: Mapping[str, DbtNode]) -> Selection:
    """Fill in the relations between the selected nodes.

    :param selected: the nodes, tests among them, in the project's order, which the result keeps.
    """
    tests_per_model: dict[str, list[str]] = {}
    for test in selected.values():
        if test.resource_type is DbtResourceType.TEST:
            for parent in dict.fromkeys(test.depends_on):
                if parent in selected:
                    tests_per_model.setdefault(parent, []).append(test.unique_id)
    downstream = _downstream(selected)
    return Selection(
        nodes={
            unique_id: node.related(
                has_test=unique_id in tests_per_model,
                # Tests that run apart from their parents are not offered yet: each runs in its parents' test tasks.
                has_non_detached_test=unique_id in tests_per_model,
                downstream=downstream.get(unique_id, []),
            )
            for unique_id, node in selected.items()
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
