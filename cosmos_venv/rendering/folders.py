"""Which groups do the folders of a project become, and in which of them does a node stand?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

# Airflow takes letters, digits, dashes and underscores in the id of a group.
_NOT_IN_A_GROUP_ID = re.compile(r"[^\w-]")


class Folders:
    """A group for each folder that a node's file lies in.

    :param folders: the folders, relative to the project or to their package.
    :param by_path: whether a folder is known by its whole path; else by its bare name, as in Cosmos: of two folders of
        one name the first one, in the order of their paths, takes in what is in the other.
    """

    def __init__(self, folders: Iterable[Path], *, by_path: bool) -> None:
        self.parents: dict[str, str | None] = {}
        """Each group's id below the root and that of the group around it, each after its parent."""
        self._by_path = by_path
        self._known: dict[str, str] = {}
        # In the order of paths and not of nodes: dbt writes the same project in more than one order.
        self._groups = {folder: self._make(folder) for folder in sorted(set(folders))}

    def group_of(self, folder: Path) -> str | None:
        """Id of the folder's group; None for the project's own folder."""
        return self._groups[folder]

    def _make(self, folder: Path) -> str | None:
        parent: str | None = None
        for part in folder.parts:
            label = _NOT_IN_A_GROUP_ID.sub("_", part)
            group_id = f"{parent}.{label}" if parent else label
            known = self._known.setdefault(group_id if self._by_path else label, group_id)
            if known == group_id:
                self.parents.setdefault(group_id, parent)
            parent = known
        return parent
