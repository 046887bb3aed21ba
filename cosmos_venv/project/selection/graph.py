"""The nodes of a project as selection sees them: who is whose parent, and which node has which name, tag or path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain, repeat
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, NamedTuple

from cosmos_venv.project.entry import NodeEntry
from cosmos_venv.project.selection.names import Names

if TYPE_CHECKING:
    from cosmos_venv.project.selection.comparison import Comparison

Labels = Callable[[NodeEntry], Iterable[str]]
_TESTS = ("test", "unit_test")
# A hundredth of the nodes: to go through their children takes less than to go through all tests.
_FEW = 50


class SelectionGraph:
    """:param entries: every node of the manifest, by unique id, in the project's order.
    :param project_name: the root project's name in dbt.
    :param comparison: what tells how nodes differ from another run's; None where there is none.
    """

    def __init__(
        self,
        entries: Mapping[str, NodeEntry],
        *,
        project_name: str | None = None,
        comparison: Comparison | None = None,
    ) -> None:
        self.entries = _without_disabled(entries)
        self.project_name = project_name
        self.comparison = comparison
        self._labelled: dict[Labels, dict[str, list[str]]] = {}

    def labelled(self, labels: Labels) -> dict[str, list[str]]:
        """Under each label the ids of the nodes that carry it. Gathered once."""
        index = self._labelled.get(labels)
        if index is None:
            index = self._labelled[labels] = {}
            for unique_id, entry in self.entries.items():
                for label in labels(entry):
                    ids = index.setdefault(label, [])
                    if not ids or ids[-1] is not unique_id:  # it may carry one twice
                        ids.append(unique_id)
        return index

    def of_type(self, *types: str) -> Iterator[tuple[str, NodeEntry]]:
        by_type = self.labelled(_resource_type)
        return ((unique_id, self.entries[unique_id]) for each in types for unique_id in by_type.get(each, ()))

    @cached_property
    def names(self) -> Names:
        return Names(self.entries)

    @property
    def parents(self) -> dict[str, list[str]]:
        """Of the nodes that have any. Only those that are nodes themselves: what is disabled or of another project is
        passed over.
        """
        return self._relations.parents

    @property
    def children(self) -> dict[str, list[str]]:
        """Of the nodes that have any."""
        return self._relations.children

    @cached_property
    def _relations(self) -> _Relations:
        return _relations(self.entries)

    def tests_of(self, nodes: set[str]) -> set[str]:
        """The tests that depend on one of them."""
        tests = self._relations.tests
        if len(nodes) * _FEW < len(tests):
            return {child for node in nodes for child in self.children.get(node, ()) if child in tests}
        return {test for test, parents in tests.items() if not nodes.isdisjoint(parents)}

    def ancestors(self, nodes: Iterable[str], steps: int | None = None) -> set[str]:
        """What comes before them, that many steps up (None: all); of the nodes themselves those that do."""
        return _walk(self.parents, nodes, steps)

    def descendants(self, nodes: Iterable[str], steps: int | None = None) -> set[str]:
        """What comes after them, that many steps down (None: all); of the nodes themselves those that do."""
        return _walk(self.children, nodes, steps)

    def with_ancestors(self, nodes: set[str]) -> set[str]:
        """They and all that comes before them, which is less work than to ask which of them do."""
        found = set(nodes)
        layer: Iterable[str] = nodes
        if len(nodes) * _FEW > len(self.parents):
            # In the project's order, in which they lie in memory: half the time where there are many.
            layer = [node for node in self.parents if node in nodes]
        while layer:
            layer = _neighbours(self.parents, layer) - found
            found |= layer
        return found


def parents_of(entry: NodeEntry) -> list[str]:
    """The ids that dbt says the node reads."""
    return (entry.depends_on and entry.depends_on.nodes) or []


def path_of(entry: NodeEntry) -> str:
    """Relative to the project or the package; dbt on Windows writes backslashes."""
    return (entry.original_file_path or "").replace("\\", "/")


def _resource_type(entry: NodeEntry) -> Iterable[str]:
    return (entry.resource_type,)


def _without_disabled(entries: Mapping[str, NodeEntry]) -> Mapping[str, NodeEntry]:
    """Itself where none is, as nearly always: dbt keeps these apart from the others."""
    configs = filter(None, map(attrgetter("config"), entries.values()))
    if False not in map(methodcaller("get", "enabled"), configs):
        return entries
    return {each: entry for each, entry in entries.items() if (entry.config or {}).get("enabled") is not False}


class _Relations(NamedTuple):
    """``tests``: those with parents, and these."""

    parents: dict[str, list[str]]
    children: dict[str, list[str]]
    tests: dict[str, list[str]]


def _relations(entries: Mapping[str, NodeEntry]) -> _Relations:
    """In one go over the entries, which lie about in memory."""
    parents: dict[str, list[str]] = {}
    children: defaultdict[str, list[str]] = defaultdict(list)
    tests: dict[str, list[str]] = {}
    for unique_id, entry in entries.items():
        if read := entry.depends_on and entry.depends_on.nodes:
            parents[unique_id] = read
            if entry.resource_type in _TESTS:
                tests[unique_id] = read
            for parent in read:
                children[parent].append(unique_id)
    for unknown in children.keys() - entries.keys():
        for child in children.pop(unknown):
            parents[child] = [parent for parent in parents[child] if parent != unknown]
    return _Relations(parents, dict(children), tests)


def _walk(neighbours: Mapping[str, list[str]], nodes: Iterable[str], steps: int | None) -> set[str]:
    found: set[str] = set()
    layer = set(nodes)
    while layer and (steps is None or steps > 0):
        layer = _neighbours(neighbours, layer) - found
        found |= layer
        steps = None if steps is None else steps - 1
    return found


def _neighbours(neighbours: Mapping[str, list[str]], nodes: Iterable[str]) -> set[str]:
    return set(chain.from_iterable(map(neighbours.get, nodes, repeat(()))))
