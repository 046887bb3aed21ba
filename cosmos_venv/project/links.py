"""Which tests belong to which nodes of a selection, and what comes after each node?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
def link(selected: Mapping[str, DbtNode], *, detaching: bool = False) -> Selection:
    """Fill in the relations between the selected nodes.

    :param selected: the nodes, tests among them, in the project's order, which the result keeps.
    :param detaching: whether tests of more than one node run apart from their parents.
    """
    tests = [node for node in selected.values() if node.resource_type is DbtResourceType.TEST]
    tests_per_model = {parent: ids for parent, ids in _children(tests).items() if parent in selected}
    own_tests = _children(test for test in tests if _has_one_parent(test)) if detaching else tests_per_model
    downstream = _children(node for node in selected.values() if node.resource_type not in _TESTS)
    nodes = dict(selected)
    for unique_id, node in selected.items():
        # Most nodes are tests, and nothing depends on these.
        if unique_id in tests_per_model or unique_id in downstream or node.has_test or node.downstream:
            nodes[unique_id] = node.related(
                has_test=unique_id in tests_per_model,
                has_non_detached_test=unique_id in own_tests,
                downstream=downstream.get(unique_id) or [],
            )
    return Selection(nodes=nodes, tests_per_model=tests_per_model)


def _has_one_parent(test: DbtNode) -> bool:
    return len(set(test.depends_on)) == 1


def _children(nodes: Iterable[DbtNode]) -> dict[str, list[str]]:
    """Of each node that one of these depends on, the ids of those that do, each once."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        parents = node.depends_on
        for parent in parents if len(parents) == 1 else dict.fromkeys(parents):
            if parent in found:
                found[parent].append(node.unique_id)
            else:
                found[parent] = [node.unique_id]
    return found
