"""Generic data tests of models, seeds, snapshots and sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pytest_cosmos_venv.fake_dbt.configs import id_hash, synthesized_names
from pytest_cosmos_venv.projects.node_properties import parts_of_test

BUILT_IN = ("accepted_values", "not_null", "relationships", "unique")
"""The generic tests that dbt brings along."""
_ALONE = ("not_null", "unique")
# The order in which dbt writes the configuration of a test into the code that it makes of it.
_ORDER = (
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


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A thing with data tests.

    :param label: its name in the names of tests: that of a version has the version, that of a table its source.
    :param reference: the words with which a test reads it: ``ref('piers')``.
    :param prefix: the beginning of the names of its tests; ``source_`` for a table, else empty.
    :param version: the version of a model; None: it has none.
    :param key: its place in YAML: ``models.piers``.
    :param properties_file: the file in which its tests are written, relative to the project.
    :param properties: what YAML says about it.
    """

    label: str
    reference: str
    prefix: str
    version: int | str | None = None
    key: str
    properties_file: PurePosixPath
    properties: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class GenericTest:
    """One data test of one thing.

    :param tested: the thing that it tests.
    :param test: the name of the generic test, such as ``unique``.
    :param namespace: the package of the generic test; None: it was named without one.
    :param name: the full name, without the short form that its file gets.
    :param short_name: the name of its file.
    :param column: the column under which it is written; None for a test of the whole thing.
    :param arguments: its arguments, ``column_name`` among them.
    :param config: its configuration as written.
    :param description: its description; may be empty.
    """

    tested: Tested
    test: str
    namespace: str | None
    name: str
    short_name: str
    column: str | None
    arguments: Mapping[str, Any]
    config: Mapping[str, Any]
    description: str

    @property
    def metadata(self) -> dict[str, Any]:
        """The ``test_metadata`` of the manifest."""
        model = "{{ get_where_subquery(" + self.tested.reference + ") }}"
        return {"name": self.test, "kwargs": {**self.arguments, "model": model}, "namespace": self.namespace}

    @property
    def id_suffix(self) -> str:
        """The end of the unique id: name and hash."""
        metadata = self.metadata
        return f"{self.name}.{id_hash(self.name, {key: metadata[key] for key in ('namespace', 'name', 'kwargs')})}"

    @property
    def macro(self) -> str:
        """The macro of the test, as its text calls it."""
        return f"test_{self.test}" if self.namespace is None else f"{self.namespace}.test_{self.test}"

    @property
    def raw_code(self) -> str:
        """The text that dbt makes of the test."""
        keys = sorted(self.config, key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER))
        config = ",".join(f"{key}={_quoted(self.config[key])}" for key in keys)
        call = "{{ " + self.macro + "(**_dbt_generic_test_kwargs) }}"
        return call + ("{{ config(" + config + ") }}" if config else "")

    @property
    def is_alone(self) -> bool:
        """Whether it is ``unique`` or ``not_null`` of dbt itself, which read their model and call one macro without
        rendering.
        """
        return self.namespace is None and self.test in _ALONE


def tests_of(tested: Tested) -> Iterator[GenericTest]:
    """Yield all data tests of a thing, those of the whole of it first.

    :param tested: the thing.
    """
    for test in tested.properties.get("data_tests", []):
        yield _test(tested, test, None)
    for column in tested.properties.get("columns", []):
        for test in column.get("data_tests", []):
            yield _test(tested, test, column["name"])


def _test(tested: Tested, written: Any, column: str | None) -> GenericTest:
    called, given, beside = parts_of_test(written)
    namespace, _, test = called.rpartition(".")
    arguments = given if column is None else {**given, "column_name": column}
    identifier = "_".join(filter(None, [namespace, f"{tested.prefix}{test}", tested.label]))
    short, full = (beside["name"],) * 2 if "name" in beside else synthesized_names(identifier, arguments)
    config = dict(beside.get("config", {}))
    if short != full:
        config.setdefault("alias", short)
    return GenericTest(
        tested=tested,
        test=test,
        namespace=namespace or None,
        name=full,
        short_name=short,
        column=column,
        arguments=arguments,
        config=config,
        description=beside.get("description", ""),
    )


def _quoted(value: Any) -> str:
    if not isinstance(value, str):
        return str(value)
    escaped = value.replace('"', '\\"')
    return f'"{escaped}"'
