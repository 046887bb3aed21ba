"""Which entries of the manifest do the things become that stand in YAML alone, and the macros?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_cosmos_venv.projects import nodes
from pytest_cosmos_venv.projects.node_entry import Place
from pytest_cosmos_venv.projects.references import Reading
from pytest_cosmos_venv.projects.resource import Resource
from pytest_cosmos_venv.projects.sql_reader import macro_blocks


def source_entries(source: Resource, place: Place) -> Iterator[dict[str, Any]]:
    """One for each table."""
    for table in source.properties["tables"]:
        yield _table(source, table, place)


def exposure_entry(exposure: Resource, place: Place, reading: Reading, depends_on: list[str]) -> dict[str, Any]:
    """Of an exposure."""
    told = exposure.properties
    config = {"enabled": True, "tags": [], "meta": {}, **told.get("config", {})}
    return {
        **_in_yaml(exposure, place),
        "fqn": [place.package, exposure.name],
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
        "created_at": nodes.CREATED_AT,
    }


def unit_test_entry(unit_test: Resource, place: Place, *, model: str, schema: str) -> dict[str, Any]:
    """Of a unit test.

    :param model: unique id of the model that it tests.
    :param schema: of that model.
    """
    told = unit_test.properties
    config = {"tags": [], "meta": {}, "enabled": True, **told.get("config", {})}
    identity = _in_yaml(unit_test, place)
    return {
        **identity,
        "unique_id": f"unit_test.{place.package}.{told['model']}.{unit_test.name}",
        "fqn": [place.package, told["model"], unit_test.name],
        "model": told["model"],
        "given": [{**given, "format": "dict", "fixture": None} for given in told["given"]],
        "expect": {**told["expect"], "format": "dict", "fixture": None},
        "description": "",
        "overrides": None,
        "depends_on": {"macros": [], "nodes": [model]},
        "config": config,
        "checksum": None,
        "schema": schema,
        "created_at": nodes.CREATED_AT,
        "versions": None,
        "version": None,
    }


def group_entry(group: Resource, place: Place) -> dict[str, Any]:
    """Of a group."""
    owner = {"email": None, **group.properties["owner"]}
    return {**_in_yaml(group, place), "owner": owner, "description": None, "config": {"meta": {}}}


def macro_entries(file: Resource, text: str, place: Place, known: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """One for each macro of a file.

    :param known: every macro of the project, as the package calls it -> its unique id.
    """
    for name, block in macro_blocks(text):
        yield {
            "name": name,
            "resource_type": "macro",
            "package_name": place.package,
            "path": str(file.file),
            "original_file_path": str(file.file),
            "unique_id": f"macro.{place.package}.{name}",
            "macro_sql": block,
            "depends_on": {"macros": [unique_id for called, unique_id in known.items() if _calls(block, called)]},
            "description": "",
            "meta": {},
            "docs": {"show": True, "node_color": None},
            "patch_path": None,
            "arguments": [],
            "created_at": nodes.CREATED_AT,
            "supported_languages": None,
        }


def _calls(block: str, macro: str) -> bool:
    return re.search(rf"(?<!macro )(?<![\w.]){re.escape(macro)}\(", block) is not None


def _in_yaml(resource: Resource, place: Place) -> dict[str, Any]:
    return {
        "name": resource.name,
        "resource_type": resource.kind,
        "package_name": place.package,
        "path": resource.file.name,
        "original_file_path": str(resource.file),
        "unique_id": f"{resource.kind}.{place.package}.{resource.name}",
    }


def _table(source: Resource, table: Mapping[str, Any], place: Place) -> dict[str, Any]:
    told = source.properties
    schema = told.get("schema", source.name)
    freshness = _freshness(told.get("freshness", {}))
    tags, meta = told.get("tags", []), told.get("meta", {})
    measured = {"freshness": freshness, "loaded_at_field": told.get("loaded_at_field"), "loaded_at_query": None}
    return {
        "database": place.profile.database,
        "schema": schema,
        "name": table["name"],
        "resource_type": "source",
        "package_name": place.package,
        "path": str(source.file),
        "original_file_path": str(source.file),
        "unique_id": f"source.{place.package}.{source.name}.{table['name']}",
        "fqn": [place.package, source.name, table["name"]],
        "source_name": source.name,
        "source_description": "",
        "source_meta": meta,
        "loader": "",
        "identifier": table["name"],
        "quoting": {"database": None, "schema": None, "identifier": None, "column": None},
        **measured,
        "external": None,
        "description": "",
        "columns": {column["name"]: nodes.column(column["name"]) for column in table.get("columns", [])},
        "meta": meta,
        "tags": tags,
        "config": {"enabled": True, "event_time": None, **measured, "meta": meta, "tags": tags},
        "patch_path": None,
        "unrendered_config": {
            **{key: value for key, value in measured.items() if key != "freshness" or "freshness" in told},
            "meta": meta,
            "tags": tags,
        },
        "relation_name": place.relation(place.profile.database, schema, table["name"]),
        "created_at": nodes.CREATED_AT,
        "unrendered_database": None,
        "unrendered_schema": told.get("schema"),
        "doc_blocks": [],
    }


def _freshness(told: Mapping[str, Any]) -> dict[str, Any]:
    unset = {"count": None, "period": None}
    return {**{name: told.get(name, unset) for name in ("warn_after", "error_after")}, "filter": told.get("filter")}
