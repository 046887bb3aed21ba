"""The nodes that dbt skips when one has failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_TESTS = ("test", "unit_test")


def skipped_behind(unique_id: str, manifest: Mapping[str, Any], command: str) -> set[str]:
    """Return the nodes that dbt skips when one has failed, as far as they are part of the command.

    Behind a model these are all that read it, and its tests. Behind a test these are, in ``dbt build`` alone, the nodes
    that read all that it tests.

    :param unique_id: the unique id of the node that has failed.
    :param manifest: what ``manifest.json`` holds; ``{}``: nothing lies behind.
    :param command: the command, such as ``build``.
    """
    parents = _parents(manifest)
    children: dict[str, set[str]] = {}
    for name, above in parents.items():
        for each in above:
            children.setdefault(each, set()).add(name)
    if unique_id.partition(".")[0] not in _TESTS:
        return _reached([unique_id], children)
    if command != "build":
        return set()
    tested = parents.get(unique_id, set())
    behind = {
        name
        for name in _reached(tested, children)
        if name.partition(".")[0] not in _TESTS and tested <= _reached([name], parents)
    }
    return behind | _reached(behind, children)


def _parents(manifest: Mapping[str, Any]) -> dict[str, set[str]]:
    entries = {name: each for part in ("nodes", "unit_tests") for name, each in (manifest.get(part) or {}).items()}
    return {name: set((each.get("depends_on") or {}).get("nodes") or ()) for name, each in entries.items()}


def _reached(start: Iterable[str], edges: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    todo = list(start)
    while todo:
        new = edges.get(todo.pop(), set()) - reached
        reached |= new
        todo += new
    return reached
