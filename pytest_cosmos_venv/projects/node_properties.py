"""The YAML properties of nodes, made from the arguments of ``DbtProject``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.configs import CONFIGURATIONS

DataTest: TypeAlias = "str | Mapping[str, Mapping[str, Any]]"
"""``"unique"``, or with arguments: ``{"accepted_values": {"values": [1, 2]}}``."""
DataTests: TypeAlias = "Mapping[str | None, Sequence[DataTest]]"
"""Column -> its tests; those of the whole table under None."""
# Keys that stand beside the arguments of a test, not among them.
BESIDE_ARGUMENTS = ("config", "description", "name")
# Two words of at least this similarity count as a misspelling: "tag" is taken for "tags"; "partition_by" for none.
_MISSPELT = 0.85


def properties_of(name: str, tests: DataTests | None, description: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of a model, seed or snapshot; empty when there is nothing to say.

    :param name: the name, for errors.
    :param tests: column -> its data tests; None: none.
    :param description: the description; may be empty.
    :param config: dbt's configurations.
    :raises ToolkitMisuse: as ``with_tests``; or a configuration looks like a misspelt configuration of dbt. Other
        unknown configurations are accepted, because adapters have configurations of their own.
    """
    properties: dict[str, Any] = {"description": description} if description else {}
    for key in sorted(config.keys() - CONFIGURATIONS - {"pre_hook", "post_hook"}):
        close = difflib.get_close_matches(key, CONFIGURATIONS, n=1, cutoff=_MISSPELT)
        if close:
            raise ToolkitMisuse(f"{name} has no configuration {key}: did you mean {close[0]}?")
    if config:
        properties["config"] = dict(config)
    return with_tests(properties, tests, owner=name)


def with_tests(properties: dict[str, Any], tests: DataTests | None, *, owner: str) -> dict[str, Any]:
    """Return the properties of a model, seed, snapshot or table, with its columns and tests.

    :param properties: the properties so far, which stay as they are.
    :param tests: column -> its data tests; None: none.
    :param owner: whose tests these are, for errors.
    :raises ToolkitMisuse: a column has a text in place of a list of tests.
    """
    properties = dict(properties)
    for column, column_tests in (tests or {}).items():
        # The type checker accepts a string here, because a str is a Sequence[str].
        if isinstance(column_tests, str):
            raise ToolkitMisuse(f"tests= of {owner}: {column_tests!r} stands alone; give a list: [{column_tests!r}].")
        written = [_written(test) for test in column_tests]
        if column is None:
            properties["data_tests"] = written
        else:
            properties.setdefault("columns", []).append({"name": column, "data_tests": written})
    return properties


def _written(test: DataTest) -> DataTest:
    if isinstance(test, str):
        return test
    ((name, given),) = test.items()
    arguments = {key: value for key, value in given.items() if key not in BESIDE_ARGUMENTS}
    beside = {key: given[key] for key in BESIDE_ARGUMENTS if key in given}
    return {name: {**({"arguments": arguments} if arguments else {}), **beside}}
