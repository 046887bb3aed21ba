"""Data tests that YAML declares, by the names and ids that dbt gives them; and the shape of properties in YAML."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_venv.exceptions import CosmosLoadDbtException

_LISTS = ("columns", "tables", "versions")
_MAPPINGS = ("config", "meta")

# Among the arguments of a test these configure it.
_CONFIG = (
    "severity",
    "tags",
    "enabled",
    "where",
    "limit",
    "warn_if",
    "error_if",
    "fail_calc",
    "store_failures",
    "store_failures_as",
    "meta",
    "database",
    "schema",
    "alias",
)
_HASH_LENGTH = 10


def listed(path: Path, content: Mapping[str, Any], section: str) -> Iterator[dict[str, Any]]:
    """The entries of a section that have a name.

    :param path: the YAML file, for errors.
    :param content: what it says.
    :param section: the key of the section: ``models``.
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
    """Refuse properties in which a list or a mapping is something else, or in what its lists hold.

    :param path: the YAML file, for errors.
    :param shown: what errors call the owner of the properties.
    :param properties: what YAML says of a node, a column, a version or a test.
    :raises CosmosLoadDbtException: for the first of them.
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


@dataclass(frozen=True, kw_only=True)
class Target:
    """A node, or a version of one, that tests are declared on.

    :param shown: as test names have it: ``orders``, ``orders_v2``, ``raw_orders`` for a table of a source.
    :param call: the call by which SQL reads it: ``ref('orders')``.
    :param prefix: the beginning of the names of its tests.
    """

    shown: str
    call: str
    prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class GenericTest:
    """A data test that YAML declares.

    :param kind: name of the test that is applied: ``unique``.
    :param namespace: the package that the test is taken from; None: it is not said.
    :param name: the name of this one: ``unique_orders_id``.
    :param digest: the end of its id, 10 hex digits.
    :param config: its configuration.
    :param expressions: those of its arguments that may read other nodes.
    """

    kind: str
    namespace: str | None
    name: str
    digest: str
    config: dict[str, Any]
    expressions: tuple[str, ...]


def declared_tests(path: Path, target: Target, properties: Mapping[str, Any]) -> Iterator[GenericTest]:
    """The tests of a node and of its columns, under ``tests`` or ``data_tests``.

    :param path: the YAML file, for errors.
    :param target: what they are declared on.
    :param properties: what YAML says of it.
    :raises CosmosLoadDbtException: for a test that is none, with the file.
    """
    for test in tests_of(path, target.shown, properties):
        yield _made(path, target, test, None)
    columns = properties.get("columns") or []
    for column in columns if isinstance(columns, list) else []:
        if isinstance(column, dict):
            for test in tests_of(path, f"{target.shown}.{column.get('name')}", column):
                yield _made(path, target, test, column.get("name"))


def tests_of(path: Path, shown: str, properties: Mapping[str, Any]) -> list[Any]:
    """The entries under ``tests`` and ``data_tests`` of a node, a version or a column.

    :param path: the YAML file, for errors.
    :param shown: what errors call the owner of the tests.
    :param properties: what YAML says of the owner.
    :raises CosmosLoadDbtException: where it is no list; the letters of a text would be tests.
    """
    found: list[Any] = []
    for key in ("tests", "data_tests"):
        given = properties.get(key) or []
        if not isinstance(given, list):
            raise CosmosLoadDbtException(f"{path}: {key} of {shown} is {given!r}. Write a list.")
        found += given
    return found


def _made(path: Path, target: Target, test: Any, column: object) -> GenericTest:
    given, arguments = _split(path, target, test)
    refuse_other_shapes(path, f"the test {given} of {target.shown}", {"config": arguments.get("config")})
    if column is not None:
        arguments["column_name"] = column
    if isinstance(nested := arguments.pop("arguments", None), dict):
        arguments |= nested
    config = {key: arguments.pop(key) for key in _CONFIG if key in arguments} | (arguments.pop("config", None) or {})
    arguments.pop("description", None)
    namespace, _, kind = given.rpartition(".")
    own_name = arguments.pop("name", None)
    name = str(own_name) if own_name else _name(target, kind, arguments)
    kwargs = {**arguments, "model": f"{{{{ get_where_subquery({target.call}) }}}}"}
    metadata = {"kwargs": kwargs, "name": kind, "namespace": namespace or None}
    digest = hashlib.md5(f"{name}{_texts(metadata)!r}".encode(), usedforsecurity=False).hexdigest()[-_HASH_LENGTH:]
    expressions = tuple(value for value in arguments.values() if isinstance(value, str) and "(" in value)
    return GenericTest(
        kind=kind, namespace=namespace or None, name=name, digest=digest, config=config, expressions=expressions
    )


def _split(path: Path, target: Target, test: Any) -> tuple[str, dict[str, Any]]:
    """The test's name and its arguments, in any of the three ways to write them."""
    if isinstance(test, str):
        return test, {}
    if isinstance(test, dict) and isinstance(test.get("test_name"), str):
        return test["test_name"], {key: value for key, value in test.items() if key != "test_name"}
    if isinstance(test, dict) and len(test) == 1:
        ((name, arguments),) = test.items()
        if isinstance(arguments, dict | None) and all(isinstance(each, str) for each in arguments or ()):
            return str(name), copy.deepcopy(arguments or {})
    raise CosmosLoadDbtException(
        f"{path}: {target.shown} has the test {test!r}. Write its name, or its name: arguments."
    )


def _name(target: Target, kind: str, arguments: Mapping[str, Any]) -> str:
    words = []
    for key in sorted(arguments):
        value = arguments[key]
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        words += [re.sub("[^0-9a-zA-Z_]+", "_", str(part)) for part in parts]
    return f"{target.prefix}{kind}_{target.shown}_{'__'.join(words)}"


def _texts(data: Any) -> Any:
    """The data with each value as a text, as dbt writes what its ids are digests of."""
    if isinstance(data, dict):
        return {key: _texts(data[key]) for key in sorted(data)}
    return [_texts(each) for each in data] if isinstance(data, list) else str(data)
