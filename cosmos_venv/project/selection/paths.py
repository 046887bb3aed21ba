"""Which nodes does a path or glob mean? As the project's files would say, but told by the manifest: no file is read."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.entry import NodeEntry
from cosmos_venv.project.selection.graph import SelectionGraph, path_of
from cosmos_venv.project.selection.names import is_wild


def matching_paths(graph: SelectionGraph, value: str) -> Iterable[str]:
    """Ids of what is declared or described in a file or folder of the root project that the value means.

    dbt looks it up in the root project and compares relative paths: a file at the same place in a package counts too.

    :raises CosmosValueError: when dbt would refuse the value.
    """
    pattern = PurePosixPath(value)
    if not pattern.parts:
        raise CosmosValueError("the path is empty: name a file or folder of the project, such as models/staging.")
    if pattern.is_absolute():
        raise CosmosValueError("the path is absolute: name it relative to the project's folder.")
    index = graph.labelled(_paths)
    found = [str(pattern)]
    if is_wild(value):
        found = [path for path in index if _fits(path.split("/"), list(pattern.parts))]
    if value.endswith("/") or pattern.name == "**":  # folders alone; what is below them counts anyway
        files = graph.labelled(_files)
        found = [path for path in found if path not in files]
    return (unique_id for path in found for unique_id in _if_in_root(graph, index.get(path, [])))


def _if_in_root(graph: SelectionGraph, ids: list[str]) -> Iterable[str]:
    root = graph.project_name
    return ids if root is None or any(graph.entries[each].package_name == root for each in ids) else ()


def _paths(entry: NodeEntry) -> Iterable[str]:
    """The file that declares the node with all folders above it, and the YAML file that describes it."""
    parts = path_of(entry).split("/")
    yield from ("/".join(parts[: length + 1]) for length in range(len(parts) - 1))
    yield from _files(entry)


def _files(entry: NodeEntry) -> Iterable[str]:
    yield path_of(entry)
    if entry.patch_path:
        yield entry.patch_path.partition("://")[2].replace("\\", "/")


def _fits(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])
