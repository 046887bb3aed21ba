"""The properties of a project's YAML files, in each of the ways to write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .configs import merged_config


class Described(NamedTuple):
    """One resource in a YAML file: its properties, the file, and the folders from ``models/`` (or such) to the file."""

    properties: dict[str, Any]
    file: str
    folders: tuple[str, ...]


def columns_of(properties: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return name -> facts of the described columns.

    :param properties: the properties of a node or table.
    """
    found = properties.get("columns") or ()
    return {each["name"]: {"name": each["name"]} for each in found if isinstance(each, dict) and "name" in each}


def at_top(properties: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the configurations that stand beside ``config``, not in it.

    :param properties: the properties of a node.
    :param *keys: the names of configurations that may stand there.
    """
    return {key: properties[key] for key in keys if properties.get(key)}


def listed(value: Any) -> list[Any]:
    """Return a list; a single value becomes a list of one.

    :param value: the value; None: there is nothing.
    """
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def tests_of(properties: Mapping[str, Any]) -> list[Any]:
    """Return the generic tests, as they are written.

    :param properties: the properties of a node, table or column.
    """
    found = properties.get("data_tests", properties.get("tests"))
    return [each for each in found or () if isinstance(each, (str, dict)) and each]


def test_and_arguments(test: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name of a test and its arguments, for each way to write a test.

    :param test: the test, as it is written.
    """
    if isinstance(test, str):
        return test, {}
    if "test_name" in test:
        return str(test["test_name"]), test
    name, given = next(iter(test.items()))
    # Keys of the test itself may stand beside its name, not below it.
    return str(name), {**(given or {}), **{key: test[key] for key in test if key != name}}


def versions_of(known: Mapping[str, Described]) -> Iterator[tuple[str, tuple[str, Any, Described]]]:
    """Yield for each version of a model: the stem of its file, and its name, version and merged properties.

    :param known: name -> properties of each model.
    """
    for name, each in known.items():
        for written in each.properties.get("versions") or ():
            version = written.get("v")
            config = merged_config(each.properties.get("config") or {}, written.get("config") or {})
            own = Described({**each.properties, "config": config}, each.file, each.folders)
            stems = [written.get("defined_in") or f"{name}_v{version}"]
            stems += [name] if str(version) == str(latest_version(each.properties)) else []
            yield from ((stem, (name, version, own)) for stem in stems)


def latest_version(properties: Mapping[str, Any]) -> Any:
    """Return the version of a model for a ``ref()`` without a version; None where the model has no versions.

    :param properties: the properties of the model.
    """
    versions = [each.get("v") for each in properties.get("versions") or ()]
    numbers = all(re.fullmatch(r"\d+(\.\d+)?", str(each)) for each in versions)
    return properties.get("latest_version") or max(versions, key=float if numbers else str, default=None)


def tests_of_version(properties: Mapping[str, Any], version: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the tests and columns that one version declares. They replace the tests and columns of the model.

    :param properties: the properties of the model.
    :param version: the entry of the version; None: the model has no versions.
    """
    version = version or {}
    own = {key: version[key] for key in ("data_tests", "tests") if key in version}
    columns = version.get("columns")
    if columns is None:
        return own
    chosen: list[Any] = []
    for each in columns:
        if "include" in each:
            names = each["include"]
            left = each.get("exclude") or ()
            chosen += [
                column
                for column in properties.get("columns") or ()
                if (names in ("all", "*") or column["name"] in names) and column["name"] not in left
            ]
    named = [each for each in columns if "name" in each]
    replaced = {each["name"] for each in named}
    return {**own, "columns": [*(each for each in chosen if each["name"] not in replaced), *named]}


def freshness_of(said: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the freshness limits of a source; later mappings override earlier ones. None where ``freshness`` is null.

    :param said: the mappings that may have ``freshness``, the least specific first.
    """
    unset = {"count": None, "period": None}
    merged: dict[str, Any] | None = {"warn_after": unset, "error_after": unset, "filter": None}
    for each in said:
        if "freshness" in each:
            given = each["freshness"]
            merged = None if given is None else {**(merged or {"warn_after": unset, "error_after": unset}), **given}
    return merged
