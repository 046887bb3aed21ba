"""Which shape do properties have that YAML says of nodes? Or what is wrong with them?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cosmos_venv.exceptions import CosmosLoadDbtException

_LISTS = ("columns", "tables", "versions")
_MAPPINGS = ("config", "meta")


def listed(path: Path, content: Mapping[str, Any], section: str) -> Iterator[dict[str, Any]]:
    """What stands in a section of the file, such as ``models``: those that have a name.

    :raises CosmosLoadDbtException: for what has not dbt's shape, with the file, the node and the key.
    """
    entries = content.get(section) or []
    if not isinstance(entries, list):
        raise CosmosLoadDbtException(f"{path}: {section} is {entries!r}. Write a list.")
    for entry in entries:
        if isinstance(entry, dict) and "name" in entry:
            refuse_other_shapes(path, str(entry["name"]), entry)
            yield entry


def refuse_other_shapes(path: Path, shown: str, properties: Mapping[str, Any]) -> None:
    """:param shown: of what they are, for errors.
    :raises CosmosLoadDbtException: when a list or mapping is something else, there or in what the lists hold.
    """
    for key in _MAPPINGS:
        if not isinstance(properties.get(key), dict | None):
            raise CosmosLoadDbtException(f"{path}: {key} of {shown} is {properties[key]!r}. Write a mapping.")
    for key in _LISTS:
        if not isinstance(properties.get(key), list | None):
            raise CosmosLoadDbtException(f"{path}: {key} of {shown} is {properties[key]!r}. Write a list.")
        for each in properties.get(key) or ():
            if isinstance(each, dict):
                refuse_other_shapes(path, f"{shown}.{each.get('name', each.get('v'))}", each)
