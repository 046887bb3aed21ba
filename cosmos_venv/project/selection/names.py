"""Which nodes does a name mean? ``package.folder.model`` of dbt's fully qualified names, any beginning, or the end."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from cosmos_venv.project.entry import NodeEntry
from cosmos_venv.project.selection.graph import SelectionGraph


def is_wild(value: str) -> bool:
    """Whether dbt takes it for a pattern."""
    return any(character in value for character in "*?[]")


def named(graph: SelectionGraph, value: str) -> Iterable[str]:
    """Ids of the nodes that the value means: a name, or a pattern."""
    if is_wild(value):
        return (unique_id for unique_id, entry in graph.entries.items() if _is_meant(entry, value))
    # Of the name of a versioned model the last two parts do, joined by a dot or an underscore, whatever is before them.
    versioned = graph.labelled(_versioned_names).get("_".join(value.split(".")[-2:]), ())
    return (*graph.labelled(_names).get(value, ()), *versioned)


def _names(entry: NodeEntry) -> Iterable[str]:
    if not _has_name(entry):
        return
    yield _leaf(entry)
    for parts in _flat_names(entry):
        yield from (".".join(parts[: length + 1]) for length in range(len(parts)))


def _versioned_names(entry: NodeEntry) -> Iterable[str]:
    return ("_".join((entry.fqn or ())[-2:]),) if _has_name(entry) and entry.version is not None else ()


def _is_meant(entry: NodeEntry, pattern: str) -> bool:
    """From its first part with a wildcard on, the pattern is compared with all the rest of the name.

    A pattern without dots is compared with the name's end too.
    """
    if not _has_name(entry):
        return False
    leaf = _leaf(entry)
    if leaf == pattern or ("." not in pattern and fnmatchcase(leaf, pattern)):
        return True
    return any(_fits(parts, pattern.split(".")) for parts in _flat_names(entry))


def _fits(parts: list[str], pattern: list[str]) -> bool:
    if len(parts) < len(pattern):
        return False
    plain = next((index for index, part in enumerate(pattern) if is_wild(part)), len(pattern))
    return parts[:plain] == pattern[:plain] and fnmatchcase(".".join(parts[plain:]), ".".join(pattern[plain:]))


def _has_name(entry: NodeEntry) -> bool:
    return bool(entry.fqn) and entry.resource_type != "source"


def _leaf(entry: NodeEntry) -> str:
    """The name itself: the last part is the version where there is one."""
    fqn = entry.fqn or []
    return fqn[-2] if entry.version is not None and len(fqn) > 1 else fqn[-1]


def _flat_names(entry: NodeEntry) -> Iterable[list[str]]:
    """The parts with the package and without it. Dots in names part them too."""
    fqn = entry.fqn or []
    return ([part for segment in each for part in segment.split(".")] for each in (fqn, fqn[1:]))
