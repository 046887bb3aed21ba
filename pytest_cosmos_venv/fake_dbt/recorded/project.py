"""The nodes of a recorded run, as its manifest has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..project import Node, Project, node_of
from ..script import Script

_PARTS = ("nodes", "sources", "unit_tests", "exposures", "metrics", "saved_queries", "semantic_models")


class RecordedProject(Project):
    """The project of a recorded run: the nodes of the manifest, those that ran in the order in which they did.

    :param folder: the folder of the project in which the call runs.
    :param manifest: what ``manifest.json`` has held; ``{}``: nothing but the nodes that ran is known.
    :param ran: unique ids of the nodes that ran, in their order.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], ran: list[str]) -> None:
        # Nothing is read from the folder: what was recorded counts.
        self.folder = folder
        self.name = (manifest.get("metadata") or {}).get("project_name") or folder.name
        entries = {name: each for part in _PARTS for name, each in (manifest.get(part) or {}).items()}
        places = {name: place for place, name in enumerate(ran)}
        known = [node_of(name, each) for name, each in entries.items()]
        known += [node_of(name, {}) for name in ran if name not in entries]
        self.nodes = sorted(known, key=lambda node: places.get(node.unique_id, len(places)))
        self.added: list[Node] = []
        self.unread: list[str] = []
        self._ran = frozenset(ran)
        self.all_nodes = self.nodes

    def check_script(self, script: Script, refusal_of: Callable[[str, str, str], str | None]) -> None:
        """Take what was recorded as it is: a real dbt has done it.

        :param script: the rule of the test for this call.
        :param refusal_of: as in ``Project``.
        """

    def _has_freshness(self, node: Node) -> bool:
        return node.unique_id in self._ran or super()._has_freshness(node)
