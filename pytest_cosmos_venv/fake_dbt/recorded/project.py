"""The nodes of a recorded run, as its manifest has them."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..command_line import Invocation
from ..project import Node, Project, is_meant
from ..script import Script

_PARTS = ("nodes", "sources", "unit_tests", "exposures", "metrics", "saved_queries", "semantic_models")
_ONLY_IN_YAML = ("source", "exposure", "metric", "saved_query", "semantic_model")
_TESTS = ("test", "unit_test")


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
        known = [_node(name, each) for name, each in entries.items()]
        known += [_node(name, {}) for name in ran if name not in entries]
        self.nodes = sorted(known, key=lambda node: places.get(node.unique_id, len(places)))
        self.added: list[Node] = []
        self._ran = frozenset(ran)
        self._all = self.nodes

    def check_script(self, script: Script, refusal_of: Callable[[str, str, str], str | None]) -> None:
        """Take what was recorded as it is: a real dbt has done it.

        :param script: the rule of the test for this call.
        :param refusal_of: as in ``Project``.
        """

    def work(self, invocation: Invocation, *, with_added: bool) -> list[Node]:
        """Return the nodes on which a command works; for the freshness of sources, those that have a limit or ran.

        :param invocation: the command line.
        :param with_added: as in ``Project``.
        """
        found = super().work(invocation, with_added=with_added)
        if not invocation.command.startswith("source "):
            return found
        return [node for node in found if node.unique_id in self._ran or _has_limit(node.entry.get("freshness"))]

    def _is_meant(self, node: Node, criterion: str) -> bool:
        """Whether one criterion names the node: what stands only in YAML is named by its method and its own name."""
        method, colon, value = criterion.partition(":")
        if method in _ONLY_IN_YAML and colon:
            words = [node.package, *node.search_name.split(".")]
            wanted = value.split(".")
            # A source may be named alone, with all its tables.
            wanted += ["*"] * (method == "source" and len(wanted) == 1)
            wanted = ["*"] * (len(words) - len(wanted)) + wanted
            return node.kind == method and len(words) == len(wanted) and all(map(fnmatchcase, words, wanted))
        if method in ("", "fqn") or not colon:
            return node.kind not in _ONLY_IN_YAML and is_meant(node, criterion)
        return is_meant(node, criterion)

    def _tests_of(self, chosen: set[str]) -> set[str]:
        """Return the tests of nodes, as dbt selects them with any node that they read."""
        return {node.unique_id for node in self.nodes if node.kind in _TESTS and chosen.intersection(node.depends_on)}


def _node(unique_id: str, entry: dict[str, Any]) -> Node:
    kind, package, *words = unique_id.split(".")
    name = str(entry.get("name") or words[-1 if kind == "source" else 0])
    config = entry.get("config") or {}
    depends_on = (entry.get("depends_on") or {}).get("nodes") or ()
    return Node(
        kind=kind,
        package=str(entry.get("package_name") or package),
        name=name,
        unique_id=unique_id,
        path=str(entry.get("original_file_path") or f"{kind}s/{name}.sql"),
        fqn=tuple(entry.get("fqn") or (package, *words)),
        materialized=str(config.get("materialized") or ("view" if kind == "model" else kind)),
        references=(),
        tags=tuple(entry.get("tags") or ()),
        checksum=str((entry.get("checksum") or {}).get("checksum") or ""),
        depends_on=tuple(depends_on),
        code="",
        schema=str(entry.get("schema") or "main"),
        entry=entry,
    )


def _has_limit(freshness: dict[str, Any] | None) -> bool:
    return any((freshness or {}).get(name, {}).get("count") for name in ("warn_after", "error_after"))
