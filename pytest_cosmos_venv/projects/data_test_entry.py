"""Which entry of the manifest's ``nodes`` does a generic test become?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.projects import nodes
from pytest_cosmos_venv.projects.generic_tests import BUILT_IN, GenericTest
from pytest_cosmos_venv.projects.node_entry import Place, code_entry
from pytest_cosmos_venv.projects.references import Reading, merge_config
from pytest_cosmos_venv.projects.sql_reader import SqlReader


def read_data_test(test: GenericTest, sql: SqlReader, macros: Mapping[str, str]) -> Reading:
    """What a generic test reads: what its arguments name, and the thing that it tests.

    :param sql: reads texts of the package.
    :param macros: name of a macro as the package calls it -> unique id.
    :raises ToolkitMisuse: there is no such test.
    """
    where = f"test {test.name!r} ({test.tested.properties_file})"
    calls = [value.strip("{} ") for value in test.arguments.values() if isinstance(value, str)]
    calls = [call for call in calls if call.startswith(("ref(", "source("))]
    reading = sql.read(" ".join("{{ " + call + " }}" for call in [*calls, test.tested.reference]), where=where)
    reading.macros = [_macro(test, macros, where)]
    if not test.is_alone:
        reading.macros.append("macro.dbt.get_where_subquery")
    elif test.tested.version is not None:
        # Which dbt then takes as it was written, not from the text.
        reading.refs = [replace(ref, version=test.tested.version) for ref in reading.refs]
    return reading


def data_test_entry(
    test: GenericTest, place: Place, reading: Reading, *, depends_on: list[str], tags: list[str], attached: Any
) -> dict[str, Any]:
    """The entry.

    :param tags: that the tested thing hands on.
    :param attached: the entry of the tested node; None for a table of a source.
    """
    said: dict[str, Any] = {}
    # dbt meets the configuration of most tests twice, with all their tags.
    for _ in range(1 if test.is_alone else 2):
        merge_config(said, test.config)
    config = {**nodes.test_config(), **said}
    return {
        "unique_id": f"test.{place.package}.{test.id_suffix}",
        "name": test.name,
        "resource_type": "test",
        "package_name": place.package,
        "path": f"{test.short_name}.sql",
        "original_file_path": str(test.tested.properties_file),
        "fqn": [place.package, *test.tested.properties_file.parent.parts[1:], test.name],
        "alias": config["alias"] or test.name,
        "database": config["database"] or place.profile.database,
        "schema": place.schema(config["schema"]),
        "checksum": {"name": "none", "checksum": ""},
        "config": config,
        "tags": sorted({*tags, *config["tags"]}),
        "meta": config["meta"],
        "group": None if attached is None else attached["group"],
        "description": test.description,
        "columns": {},
        "patch_path": None,
        "unrendered_config": said,
        "relation_name": None,
        "test_metadata": test.metadata,
        "column_name": test.column,
        "file_key_name": test.tested.key,
        "attached_node": None if attached is None else attached["unique_id"],
        **nodes.common_fields(),
        **code_entry(reading, code=test.raw_code, language="sql", depends_on=depends_on),
    }


def _macro(test: GenericTest, macros: Mapping[str, str], where: str) -> str:
    if test.macro in macros:
        return macros[test.macro]
    if test.namespace is None and test.test in BUILT_IN:
        return f"macro.dbt.test_{test.test}"
    raise ToolkitMisuse(
        f"{where}: there is no generic test {test.test!r}. dbt has {', '.join(BUILT_IN)}; your own comes with "
        f"macro({test.test!r}, '{{% test {test.test}(model, column_name) %}} … {{% endtest %}}')."
    )
