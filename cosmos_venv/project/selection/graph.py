"""The nodes of a project as selection sees them: who is whose parent, and which node has which name, tag or path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from cosmos_venv.project.entry import NodeEntry
from cosmos_venv.project.selection.names import Names

if TYPE_CHECKING:
    from cosmos_venv.project.selection.comparison import Comparison

Labels = Callable[[NodeEntry], Iterable[str]]


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
        self.entries = {
            unique_id: entry for unique_id, entry in entries.items() if (entry.config or {}).get("enabled") is not False
        }
        self.project_name = project_name
        self.comparison = comparison
        self._labelled: dict[Labels, dict[str, list[str]]] = {}

    def labelled(self, labels: Labels) -> dict[str, list[str]]:
        """Under each label the ids of the nodes that carry it. Gathered once."""
        index = self._labelled.get(labels)
        if index is None:
            index = self._labelled[labels] = {}
            for unique_id, entry in self.entries.items():
                for label in dict.fromkeys(labels(entry)):
                    index.setdefault(label, []).append(unique_id)
        return index

    def of_type(self, *types: str) -> Iterator[tuple[str, NodeEntry]]:
        by_type = self.labelled(_resource_type)
        return ((unique_id, self.entries[unique_id]) for each in types for unique_id in by_type.get(each, ()))

    @cached_property
    def names(self) -> Names:
        return Names(self.entries)

    @cached_property
    def parents(self) -> dict[str, list[str]]:
        """Only those that are nodes themselves: what is disabled or of another project is passed over."""
        return {
            unique_id: [parent for parent in parents_of(entry) if parent in self.entries]
            for unique_id, entry in self.entries.items()
        }

    @cached_property
    def children(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for unique_id, parents in self.parents.items():
            for parent in parents:
                found.setdefault(parent, []).append(unique_id)
        return found

    def ancestors(self, nodes: Iterable[str], steps: int | None = None) -> set[str]:
        """What comes before them, that many steps up (None: all); of the nodes themselves those that do."""
        return _walk(self.parents, nodes, steps)

    def descendants(self, nodes: Iterable[str], steps: int | None = None) -> set[str]:
        """What comes after them, that many steps down (None: all); of the nodes themselves those that do."""
        return _walk(self.children, nodes, steps)


def parents_of(entry: NodeEntry) -> list[str]:
    """The ids that dbt says the node reads."""
    return (entry.depends_on and entry.depends_on.nodes) or []


def path_of(entry: NodeEntry) -> str:
    """Relative to the project or the package; dbt on Windows writes backslashes."""
    return (entry.original_file_path or "").replace("\\", "/")


def _resource_type(entry: NodeEntry) -> Iterable[str]:
    return (entry.resource_type,)


def _walk(neighbours: Mapping[str, list[str]], nodes: Iterable[str], steps: int | None) -> set[str]:
    found: set[str] = set()
    layer = set(nodes)
    while layer and (steps is None or steps > 0):
        layer = {each for node in layer for each in neighbours.get(node, ()) if each not in found}
        found |= layer
        steps = None if steps is None else steps - 1
    return found
