"""The nodes of a project as selection sees them: which node has which name, tag or path, and who is whose parent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from cosmos_venv.project.entry import NodeEntry
from cosmos_venv.project.selection.names import Names
from cosmos_venv.project.selection.relations import Relations

if TYPE_CHECKING:
    from cosmos_venv.project.selection.comparison import Comparison

Labels = Callable[[NodeEntry], Iterable[str]]


class SelectionGraph:
    """:param entries: every node of the manifest that is not disabled, by unique id, in the project's order.
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
        self.entries = entries
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

    @cached_property
    def relations(self) -> Relations:
        return Relations(self.entries)


def path_of(entry: NodeEntry) -> str:
    """Relative to the project or the package; dbt on Windows writes backslashes."""
    return (entry.original_file_path or "").replace("\\", "/")


def _resource_type(entry: NodeEntry) -> Iterable[str]:
    return (entry.resource_type,)
