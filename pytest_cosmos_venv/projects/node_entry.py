"""Which entry of the manifest's ``nodes`` does a file become?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_cosmos_venv.projects import nodes
from pytest_cosmos_venv.projects.package_files import NodeFile, code_of
from pytest_cosmos_venv.projects.profile import Profile
from pytest_cosmos_venv.projects.references import Reading

# dbt does not read larger seeds; their path stands for their content.
_LARGEST_SEED = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the nodes of a package lie.

    :param folder: of the package.
    :param profile: of the project that is run.
    """

    package: str
    folder: Path
    profile: Profile

    def schema(self, custom: Any) -> str:
        """The schema of a node; dbt puts a configured one behind the target's."""
        return "_".join(filter(None, [self.profile.schema, custom]))

    def schema_of(self, file: NodeFile) -> str:
        """The same of a file; a snapshot may name a schema that stands alone."""
        return file.config.get("target_schema") or self.schema(file.config["schema"])

    def relation(self, database: str, schema: str, alias: str) -> str:
        """The full name of a table."""
        return ".".join(f'"{part}"' for part in (database, schema, alias))


def node_entry(file: NodeFile, place: Place, depends_on: list[str]) -> dict[str, Any]:
    """The entry.

    :param depends_on: unique ids of the nodes that it reads.
    """
    entry = {
        **_identity(file, place),
        "checksum": _checksum(file),
        "config": dict(file.config),
        "tags": _tags(file.config["tags"]),
        "meta": file.config["meta"],
        "group": file.config["group"],
        "description": file.resource.properties.get("description", ""),
        "columns": _columns(file),
        "patch_path": _patch_path(file, place),
        "unrendered_config": dict(file.said),
        **nodes.common_fields(),
    }
    entry["relation_name"] = _relation(file, place, entry)
    if file.resource.kind == "seed":
        return {**entry, "raw_code": "", "root_path": str(place.folder), "depends_on": {"macros": []}}
    entry |= code_entry(
        file.reading,
        code=code_of(file.resource, file.text.strip()),
        language="python" if file.resource.is_python else "sql",
        depends_on=depends_on,
    )
    return {**entry, **_model_entry(file)} if file.resource.kind == "model" else entry


def code_entry(reading: Reading, *, code: str, language: str, depends_on: list[str]) -> dict[str, Any]:
    """What an entry with code says about it."""
    return {
        "raw_code": code,
        "language": language,
        "refs": [{"name": ref.name, "package": ref.package, "version": ref.version} for ref in reading.refs],
        "sources": [list(names) for names in reading.sources],
        "depends_on": {"macros": list(reading.macros), "nodes": depends_on},
        **nodes.code_fields(),
    }


def _identity(file: NodeFile, place: Place) -> dict[str, Any]:
    resource = file.resource
    below = PurePosixPath(*resource.file.parts[1:])
    versioned = "" if resource.version is None else f"_v{resource.version}"
    return {
        "unique_id": file.unique_id,
        "name": resource.name,
        "resource_type": resource.kind,
        "package_name": place.package,
        "path": str(PurePosixPath("analysis", below) if resource.kind == "analysis" else below),
        "original_file_path": str(resource.file),
        "fqn": _fqn(file, place),
        "alias": file.config["alias"] or f"{resource.name}{versioned}",
        "database": file.config["database"] or place.profile.database,
        "schema": place.schema_of(file),
    }


def _fqn(file: NodeFile, place: Place) -> list[str]:
    resource = file.resource
    within = {"analysis": ["analysis"]}.get(resource.kind, [])
    own = {"snapshot": [resource.file.stem, resource.name]}.get(resource.kind, [resource.name])
    versioned = [] if resource.version is None else [f"v{resource.version}"]
    return [place.package, *within, *resource.folders, *own, *versioned]


def _checksum(file: NodeFile) -> dict[str, str]:
    if file.resource.kind == "seed" and len(file.text.encode()) > _LARGEST_SEED:
        return {"name": "path", "checksum": str(file.resource.file)}
    # dbt strips every file it reads.
    return {"name": "sha256", "checksum": hashlib.sha256(file.text.strip().encode()).hexdigest()}


def _tags(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


def _columns(file: NodeFile) -> dict[str, Any]:
    return {column["name"]: nodes.column(column["name"]) for column in file.resource.properties.get("columns", [])}


def _patch_path(file: NodeFile, place: Place) -> str | None:
    properties_file = file.resource.properties_file
    return None if properties_file is None else f"{place.package}://{properties_file}"


def _relation(file: NodeFile, place: Place, entry: dict[str, Any]) -> str | None:
    if file.resource.kind in ("analysis", "test") or file.config["materialized"] == "ephemeral":
        return None
    return place.relation(entry["database"], entry["schema"], entry["alias"])


def _model_entry(file: NodeFile) -> dict[str, Any]:
    unique, filled = (_columns_with(test, file) for test in ("unique", "not_null"))
    return {
        **nodes.model_fields(),
        "access": file.config["access"],
        "version": file.resource.version,
        "latest_version": file.resource.properties.get("latest_version"),
        # Where dbt knows no constraint it takes the columns that are tested as one would test a key.
        "primary_key": ([column for column in unique if column in filled] or unique) if file.config["enabled"] else [],
    }


def _columns_with(test: str, file: NodeFile) -> list[str]:
    return [
        column["name"]
        for column in file.resource.properties.get("columns", [])
        if any(one == test or (isinstance(one, dict) and test in one) for one in column.get("data_tests", []))
    ]
