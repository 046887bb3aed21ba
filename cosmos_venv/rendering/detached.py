"""Which tests run in tasks of their own, beside those of the nodes that they read?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import DbtResourceType, TestBehavior

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode

_DETACHING = (TestBehavior.AFTER_EACH, TestBehavior.BUILD)


class DetachedTests:
    """The tests with more than one parent, where RenderConfig wants them apart; else none.

    :param nodes: the selected nodes; a test counts when one of its parents is among them.
    """

    def __init__(self, nodes: Mapping[str, DbtNode], render: RenderConfig) -> None:
        self.by_parent: dict[str, list[DbtNode]] = {}
        """The tests of each selected node that has some, in the project's order."""
        self.tests: list[DbtNode] = []
        """By unique id."""
        self._ids: set[str] = set()
        if render.should_detach_multiple_parents_tests and render.test_behavior in _DETACHING:
            self._find(nodes)

    def names_of(self, node: DbtNode) -> list[str]:
        """By what dbt selects the node's detached tests: what its own task must leave out."""
        return [selector_of(test) for test in self.by_parent.get(node.unique_id, ())]

    def without(self, test_ids: Iterable[str]) -> list[str]:
        """Those that run with their parents."""
        return [test_id for test_id in test_ids if test_id not in self._ids]

    def _find(self, nodes: Mapping[str, DbtNode]) -> None:
        for test in filter(_is_detachable, nodes.values()):
            parents = [parent for parent in dict.fromkeys(test.depends_on) if parent in nodes]
            for parent in parents:
                self.by_parent.setdefault(parent, []).append(test)
            if parents:
                self.tests.append(test)
                self._ids.add(test.unique_id)
        self.tests.sort(key=lambda test: test.unique_id)


def _is_detachable(node: DbtNode) -> bool:
    """Whether it is a test of more than one node, selected or not."""
    return node.resource_type is DbtResourceType.TEST and len(set(node.depends_on)) > 1


def selector_of(test: DbtNode) -> str:
    """The test's name without the hash behind it, which dbt does not select by."""
    return test.resource_name.partition(".")[0]
