"""The entries of the manifest that files, things in YAML and data tests become."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.configs import merged_config, test_config
from pytest_cosmos_venv.projects import node_properties
from pytest_cosmos_venv.projects.code_readers import SqlReader, macro_blocks
from pytest_cosmos_venv.projects.generic_tests import BUILT_IN, GenericTest
from pytest_cosmos_venv.projects.package_files import NodeFile, code_of
from pytest_cosmos_venv.projects.profile import Profile
from pytest_cosmos_venv.projects.references import Reading
from pytest_cosmos_venv.projects.resources import Resource

# dbt does not read larger seeds; their path stands for their content.
_LARGEST_SEED = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class PackageLocation:
    """The place of a package's nodes: on the disk, and in the database.

    :param package: the name of the package.
    :param folder: the folder of the package.
    :param profile: the profile of the project that is run.
    """

    package: str
    folder: Path
    profile: Profile

    def schema(self, custom: Any) -> str:
        """Return the schema of a node; dbt puts a configured one behind that of the target.

        :param custom: the configured schema; None: that of the target alone.
        """
        return "_".join(filter(None, [self.profile.schema, custom]))

    def schema_of(self, file: NodeFile) -> str:
        """Return the schema of a file; a snapshot may name one that stands alone.

        :param file: a file of the package.
        """
        return file.config.get("target_schema") or self.schema(file.config["schema"])

    def relation(self, database: str, schema: str, alias: str) -> str:
        """Return the full, quoted name of a table.

        :param database: the database of the table.
        :param schema: the schema of the table.
        :param alias: the name of the table.
        """
        return ".".join(f'"{part}"' for part in (database, schema, alias))


def node_entry(file: NodeFile, location: PackageLocation, depends_on: list[str]) -> dict[str, Any]:
    """Return the entry of a file in ``nodes``.

    :param file: a file of the package.
    :param location: the folder in which the nodes of the package lie.
    :param depends_on: unique ids of the nodes that it reads.
    """
    properties_file = file.resource.properties_file
    entry = {
        **_identity(file, location),
        "checksum": _checksum(file),
        "config": dict(file.config),
        "tags": list(dict.fromkeys(file.config["tags"])),
        "meta": file.config["meta"],
        "group": file.config["group"],
        "description": file.resource.properties.get("description", ""),
        "columns": {
            column["name"]: node_properties.column(column["name"])
            for column in file.resource.properties.get("columns", [])
        },
        "patch_path": properties_file and f"{location.package}://{properties_file}",
        "unrendered_config": dict(file.said),
        **node_properties.common_fields(),
    }
    entry["relation_name"] = _relation(file, location, entry)
    if file.resource.kind == "seed":
        return {**entry, "raw_code": "", "root_path": str(location.folder), "depends_on": {"macros": []}}
    entry |= code_entry(
        file.reading,
        code=code_of(file.resource, file.text.strip()),
        language="python" if file.resource.is_python else "sql",
        depends_on=depends_on,
    )
    return {**entry, **_model_entry(file)} if file.resource.kind == "model" else entry


def code_entry(reading: Reading, *, code: str, language: str, depends_on: list[str]) -> dict[str, Any]:
    """Return the fields of an entry that are about its code.

    :param reading: what the code says about itself.
    :param code: the text.
    :param language: ``sql`` or ``python``.
    :param depends_on: unique ids of the nodes that it reads.
    """
    return {
        "raw_code": code,
        "language": language,
        "refs": [{"name": ref.name, "package": ref.package, "version": ref.version} for ref in reading.refs],
        "sources": [list(names) for names in reading.sources],
        "depends_on": {"macros": list(reading.macros), "nodes": depends_on},
        **node_properties.code_fields(),
    }


def _identity(file: NodeFile, location: PackageLocation) -> dict[str, Any]:
    resource = file.resource
    below = PurePosixPath(*resource.file.parts[1:])
    versioned = "" if resource.version is None else f"_v{resource.version}"
    return {
        "unique_id": file.unique_id,
        "name": resource.name,
        "resource_type": resource.kind,
        "package_name": location.package,
        "path": str(PurePosixPath("analysis", below) if resource.kind == "analysis" else below),
        "original_file_path": str(resource.file),
        "fqn": _fqn(file, location),
        "alias": file.config["alias"] or f"{resource.name}{versioned}",
        "database": file.config["database"] or location.profile.database,
        "schema": location.schema_of(file),
    }


def _fqn(file: NodeFile, location: PackageLocation) -> list[str]:
    resource = file.resource
    within = {"analysis": ["analysis"]}.get(resource.kind, [])
    own = {"snapshot": [resource.file.stem, resource.name]}.get(resource.kind, [resource.name])
    versioned = [] if resource.version is None else [f"v{resource.version}"]
    return [location.package, *within, *resource.folders, *own, *versioned]


def _checksum(file: NodeFile) -> dict[str, str]:
    if file.resource.kind == "seed" and len(file.text.encode()) > _LARGEST_SEED:
        return {"name": "path", "checksum": str(file.resource.file)}
    # dbt strips every file it reads.
    return {"name": "sha256", "checksum": hashlib.sha256(file.text.strip().encode()).hexdigest()}


def _relation(file: NodeFile, location: PackageLocation, entry: dict[str, Any]) -> str | None:
    if file.resource.kind in ("analysis", "test") or file.config["materialized"] == "ephemeral":
        return None
    return location.relation(entry["database"], entry["schema"], entry["alias"])


def _model_entry(file: NodeFile) -> dict[str, Any]:
    unique, filled = (_columns_with(test, file) for test in ("unique", "not_null"))
    return {
        **node_properties.model_fields(),
        "access": file.config["access"],
        "version": file.resource.version,
        "latest_version": file.resource.properties.get("latest_version"),
        # Without constraints dbt takes the columns for the key that are tested as a key would be.
        "primary_key": ([column for column in unique if column in filled] or unique) if file.config["enabled"] else [],
    }


def _columns_with(test: str, file: NodeFile) -> list[str]:
    return [
        column["name"]
        for column in file.resource.properties.get("columns", [])
        if any(one == test or (isinstance(one, dict) and test in one) for one in column.get("data_tests", []))
    ]


def read_data_test(test: GenericTest, sql: SqlReader, macros: Mapping[str, str]) -> Reading:
    """Return what a generic test reads: the things that its arguments name, and the thing that it tests.

    :param test: the test.
    :param sql: the reader of the package's texts.
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
        # dbt then takes the version as it was written, a number or a text, not from the rendered text.
        reading.refs = [replace(ref, version=test.tested.version) for ref in reading.refs]
    return reading


def data_test_entry(
    test: GenericTest,
    location: PackageLocation,
    reading: Reading,
    *,
    depends_on: list[str],
    tags: list[str],
    attached: Any,
) -> dict[str, Any]:
    """Return the entry of a generic test in ``nodes``.

    :param test: the test.
    :param location: the folder in which the nodes of the package lie.
    :param reading: what the test reads.
    :param depends_on: unique ids of the nodes that it reads.
    :param tags: tags that the tested thing hands on.
    :param attached: the entry of the tested node; None for a table of a source.
    """
    said: dict[str, Any] = {}
    # dbt meets the configuration of most tests twice, with all their tags.
    for _ in range(1 if test.is_alone else 2):
        said = merged_config(said, test.config)
    config = {**test_config(), **said}
    return {
        "unique_id": f"test.{location.package}.{test.id_suffix}",
        "name": test.name,
        "resource_type": "test",
        "package_name": location.package,
        "path": f"{test.short_name}.sql",
        "original_file_path": str(test.tested.properties_file),
        "fqn": [location.package, *test.tested.properties_file.parent.parts[1:], test.name],
        "alias": config["alias"] or test.name,
        "database": config["database"] or location.profile.database,
        "schema": location.schema(config["schema"]),
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
        **node_properties.common_fields(),
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


def source_entries(source: Resource, location: PackageLocation) -> Iterator[dict[str, Any]]:
    """Yield one entry of ``sources`` for each table.

    :param source: the source.
    :param location: the folder in which the nodes of the package lie.
    """
    for table in source.properties["tables"]:
        yield _table(source, table, location)


def exposure_entry(
    exposure: Resource, location: PackageLocation, reading: Reading, depends_on: list[str]
) -> dict[str, Any]:
    """Return the entry of an exposure.

    :param exposure: the exposure.
    :param location: the folder in which the nodes of the package lie.
    :param reading: what its ``depends_on`` names.
    :param depends_on: unique ids of the nodes that it reads.
    """
    told = exposure.properties
    config = {"enabled": True, "tags": [], "meta": {}, **told.get("config", {})}
    return {
        **_in_yaml(exposure, location),
        "fqn": [location.package, exposure.name],
        "type": told["type"],
        "owner": {"email": None, **told["owner"]},
        "description": told.get("description", ""),
        "label": told.get("label"),
        "maturity": told.get("maturity"),
        "meta": config["meta"],
        "tags": config["tags"],
        "config": config,
        "unrendered_config": dict(told.get("config", {})),
        "url": told.get("url"),
        "depends_on": {"macros": [], "nodes": depends_on},
        "refs": [{"name": ref.name, "package": ref.package, "version": ref.version} for ref in reading.refs],
        "sources": [list(names) for names in reading.sources],
        "metrics": [],
        "created_at": node_properties.CREATED_AT,
    }


def unit_test_entry(unit_test: Resource, location: PackageLocation, *, model: str, schema: str) -> dict[str, Any]:
    """Return the entry of a unit test.

    :param unit_test: the unit test.
    :param location: the folder in which the nodes of the package lie.
    :param model: unique id of the model that it tests.
    :param schema: the schema of that model.
    """
    told = unit_test.properties
    config = {"tags": [], "meta": {}, "enabled": True, **told.get("config", {})}
    identity = _in_yaml(unit_test, location)
    return {
        **identity,
        "unique_id": f"unit_test.{location.package}.{told['model']}.{unit_test.name}",
        "fqn": [location.package, told["model"], unit_test.name],
        "model": told["model"],
        "given": [{**given, "format": "dict", "fixture": None} for given in told["given"]],
        "expect": {**told["expect"], "format": "dict", "fixture": None},
        "description": "",
        "overrides": None,
        "depends_on": {"macros": [], "nodes": [model]},
        "config": config,
        "checksum": None,
        "schema": schema,
        "created_at": node_properties.CREATED_AT,
        "versions": None,
        "version": None,
    }


def group_entry(group: Resource, location: PackageLocation) -> dict[str, Any]:
    """Return the entry of a group.

    :param group: the group.
    :param location: the folder in which the nodes of the package lie.
    """
    owner = {"email": None, **group.properties["owner"]}
    return {**_in_yaml(group, location), "owner": owner, "description": None, "config": {"meta": {}}}


def macro_entries(
    file: Resource, text: str, location: PackageLocation, known: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield one entry for each macro of a file.

    :param file: the file of macros.
    :param text: its content.
    :param location: the folder in which the nodes of the package lie.
    :param known: every macro of the project, as the package calls it -> its unique id.
    """
    for name, block in macro_blocks(text):
        yield {
            "name": name,
            "resource_type": "macro",
            "package_name": location.package,
            "path": str(file.file),
            "original_file_path": str(file.file),
            "unique_id": f"macro.{location.package}.{name}",
            "macro_sql": block,
            "depends_on": {"macros": [unique_id for called, unique_id in known.items() if _calls(block, called)]},
            "description": "",
            "meta": {},
            "docs": {"show": True, "node_color": None},
            "patch_path": None,
            "arguments": [],
            "created_at": node_properties.CREATED_AT,
            "supported_languages": None,
        }


def _calls(block: str, macro: str) -> bool:
    return re.search(rf"(?<!macro )(?<![\w.]){re.escape(macro)}\(", block) is not None


def _in_yaml(resource: Resource, location: PackageLocation) -> dict[str, Any]:
    return {
        "name": resource.name,
        "resource_type": resource.kind,
        "package_name": location.package,
        "path": resource.file.name,
        "original_file_path": str(resource.file),
        "unique_id": f"{resource.kind}.{location.package}.{resource.name}",
    }


def _table(source: Resource, table: Mapping[str, Any], location: PackageLocation) -> dict[str, Any]:
    told = source.properties
    schema = told.get("schema", source.name)
    freshness = _freshness(told.get("freshness", {}))
    tags, meta = told.get("tags", []), told.get("meta", {})
    measured = {"freshness": freshness, "loaded_at_field": told.get("loaded_at_field"), "loaded_at_query": None}
    return {
        "database": location.profile.database,
        "schema": schema,
        "name": table["name"],
        "resource_type": "source",
        "package_name": location.package,
        "path": str(source.file),
        "original_file_path": str(source.file),
        "unique_id": f"source.{location.package}.{source.name}.{table['name']}",
        "fqn": [location.package, source.name, table["name"]],
        "source_name": source.name,
        "source_description": "",
        "source_meta": meta,
        "loader": "",
        "identifier": table["name"],
        "quoting": {"database": None, "schema": None, "identifier": None, "column": None},
        **measured,
        "external": None,
        "description": "",
        "columns": {column["name"]: node_properties.column(column["name"]) for column in table.get("columns", [])},
        "meta": meta,
        "tags": tags,
        "config": {"enabled": True, "event_time": None, **measured, "meta": meta, "tags": tags},
        "patch_path": None,
        "unrendered_config": {
            **{key: value for key, value in measured.items() if key != "freshness" or "freshness" in told},
            "meta": meta,
            "tags": tags,
        },
        "relation_name": location.relation(location.profile.database, schema, table["name"]),
        "created_at": node_properties.CREATED_AT,
        "unrendered_database": None,
        "unrendered_schema": told.get("schema"),
        "doc_blocks": [],
    }


def _freshness(told: Mapping[str, Any]) -> dict[str, Any]:
    unset = {"count": None, "period": None}
    return {**{name: told.get(name, unset) for name in ("warn_after", "error_after")}, "filter": told.get("filter")}
