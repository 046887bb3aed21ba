"""Which tests belong to which nodes of a selection, and what comes after each node?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cosmos_venv.constants import DbtResourceType
from cosmos_venv.project.node import DbtNode

_TESTS = (DbtResourceType.TEST, DbtResourceType.UNIT_TEST)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """:param nodes: the selected nodes and tests, each knowing its tests and what comes after it.
    :param tests_per_model: ids of the selected tests of each node that has any, in the project's order.
    """

    nodes: dict[str, DbtNode]
    tests_per_model: dict[str, list[str]]


def link(selected: Mapping[str, DbtNode], *, detaching: bool = False) -> Selection:
    """Fill in the relations between the selected nodes.

    :param selected: the nodes, tests among them, in the project's order, which the result keeps.
    :param detaching: whether tests of more than one node run apart from their parents.
    """
    tests_per_model: dict[str, list[str]] = {}
    with_own_tests: set[str] = set()
    for test in selected.values():
        if test.resource_type is DbtResourceType.TEST:
            parents = dict.fromkeys(test.depends_on)
            for parent in parents:
                if parent in selected:
                    tests_per_model.setdefault(parent, []).append(test.unique_id)
            if not detaching or len(parents) == 1:
                with_own_tests.update(parents)
    downstream = _downstream(selected)

    def linked(node: DbtNode) -> DbtNode:
        is_tested, is_tested_here = node.unique_id in tests_per_model, node.unique_id in with_own_tests
        after = downstream.get(node.unique_id, [])
        if (is_tested, is_tested_here, after) == (node.has_test, node.has_non_detached_test, node.downstream):
            return node  # as tests are, which most nodes of a project are
        return replace(node, has_test=is_tested, has_non_detached_test=is_tested_here, downstream=after)

    return Selection(
        nodes={unique_id: linked(node) for unique_id, node in selected.items()}, tests_per_model=tests_per_model
    )


def _downstream(nodes: Mapping[str, DbtNode]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in nodes.values():
        if node.resource_type in _TESTS:
            continue
        for parent in dict.fromkeys(node.depends_on):
            found.setdefault(parent, []).append(node.unique_id)
    return found
