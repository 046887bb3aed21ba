"""Which tests belong to which nodes of a selection, and what comes after each node?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

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
    tests = [(each, node) for each, node in selected.items() if node.resource_type is DbtResourceType.TEST]
    found = _children((each, node.depends_on) for each, node in tests)
    tests_per_model = {parent: ids for parent, ids in found.items() if parent in selected}
    own_tests = _with_own_tests(node for _, node in tests) if detaching else tests_per_model
    downstream_of = _Downstream(selected).of
    nodes = {}
    for unique_id, node in selected.items():
        # Most nodes are tests, and nothing depends on these.
        if node.resource_type in _TESTS:
            nodes[unique_id] = node
            continue
        nodes[unique_id] = node.related(
            has_test=unique_id in tests_per_model,
            has_non_detached_test=unique_id in own_tests,
            downstream_of=downstream_of,
        )
    return Selection(nodes=nodes, tests_per_model=tests_per_model)


def tests_of(selected: Container[str], nodes: Mapping[str, DbtNode]) -> set[str]:
    """Ids of the tests of which a parent is selected.

    :param selected: unique ids.
    :param nodes: all nodes of the project by unique id.
    """
    return {
        unique_id
        for unique_id, node in nodes.items()
        if node.resource_type is DbtResourceType.TEST and any(parent in selected for parent in node.depends_on)
    }


def _with_own_tests(tests: Iterable[DbtNode]) -> set[str]:
    """The nodes that have a test which looks at nothing else."""
    return {parents.pop() for test in tests if len(parents := set(test.depends_on)) == 1}


class _Downstream:
    """Looks for what comes after the nodes when it is first asked, which few renderings do.

    :param selected: as for ``link``.
    """

    def __init__(self, selected: Mapping[str, DbtNode]) -> None:
        self._reads = [(each, node.depends_on) for each, node in selected.items() if node.resource_type not in _TESTS]

    def of(self, unique_id: str) -> list[str]:
        return self._found.get(unique_id) or []

    @cached_property
    def _found(self) -> dict[str, list[str]]:
        return _children(self._reads)


def _children(reads: Iterable[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """Of each node that is read the ids of those that read it, each once.

    :param reads: ids, and the ids that each of them reads.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for unique_id, parents in reads:
        for parent in parents if len(parents) == 1 else dict.fromkeys(parents):
            found[parent].append(unique_id)
    return found
