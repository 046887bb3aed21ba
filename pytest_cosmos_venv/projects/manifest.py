"""The manifest that dbt would write for a project, worked out without dbt.

The nodes are those that the fake dbt reads in the project's files (``fake_dbt.project_files``); here they get the
fields that a manifest has beside. Nothing in it changes from run to run: equal projects have equal manifests. Tests
compare it with the manifests of the dbt versions in ``VERIFIED_AGAINST``.
"""

from __future__ import annotations

import difflib
import gc
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.project_files import Entry, Files, ProjectFiles, macros_in
from pytest_cosmos_venv.projects.resources import FOLDERS, ProjectContents, Resource, yaml_document

SCHEMA = "https://schemas.getdbt.com/dbt/manifest/v12.json"
VERIFIED_AGAINST = ("1.10", "1.11")
"""The versions of dbt whose own manifests ours was compared with."""
# Fixed, so that equal projects have equal manifests.
_TIME = "2026-01-01T00:00:00.000000Z"
_INVOCATION = "00000000-0000-4000-8000-000000000000"
_CREATED_AT = 0.0
# dbt does not read larger seeds; their path stands for their content.
_LARGEST_SEED = 1024 * 1024
_TESTED = ("model", "seed", "snapshot")
_DOCS = {"show": True, "node_color": None}
_COMMON: Entry = {"docs": _DOCS, "build_path": None, "created_at": _CREATED_AT, "doc_blocks": []}
_OF_CODE: Entry = {
    "metrics": [],
    "compiled_path": None,
    "contract": {"enforced": False, "alias_types": True, "checksum": None},
}
_OF_A_MODEL: Entry = {"constraints": [], "deprecation_date": None, "time_spine": None}
_OF_A_COLUMN: Entry = {
    "description": "",
    "meta": {},
    "data_type": None,
    "constraints": [],
    "quote": None,
    "config": {"meta": {}, "tags": []},
    "tags": [],
    "granularity": None,
    "doc_blocks": [],
}
_OF_A_MACRO: Entry = {
    "description": "",
    "meta": {},
    "docs": _DOCS,
    "patch_path": None,
    "arguments": [],
    "created_at": _CREATED_AT,
    "supported_languages": None,
}


def manifest_of(project: ProjectContents) -> dict[str, Any]:
    """Return the manifest of a project as plain data.

    :param project: the project that is run.
    :raises ToolkitMisuse: a file reads something that is not there, or cannot be read; a package has packages.
    """
    for package in project.packages:
        for inner in package.packages:
            raise ToolkitMisuse(
                f"Package {inner.name!r} stands within package {package.name!r}, where dbt does not look: dbt deps "
                f"installs all packages beside one another. Add it to project {project.name!r} itself."
            )
    with _garbage_collection_paused():
        return _Manifest(project).document()


class _Manifest:
    """The manifest of one project.

    :param project: the project that is run.
    """

    def __init__(self, project: ProjectContents) -> None:
        self._project = project
        # As dbt deps installs them, and dbt reads them.
        self._packages = {project.name: (project, project.path)}
        self._packages |= {each.name: (each, project.path / "dbt_packages" / each.name) for each in project.packages}
        self._resources = {
            (name, each.kind, each.name): each
            for name, (one, _) in self._packages.items()
            for each in one.store.resources
        }
        self._source = Files() if project.store.is_on_disk else _FilesInMemory(self._packages.values())
        target = project.profile.variable
        self._files = ProjectFiles(project.path, project.variables, target, self._source)
        self._off = {name for name, each in self._files.all.items() if not each["config"].get("enabled", True)}
        self._refuse_what_dbt_would()

    def document(self) -> dict[str, Any]:
        """Return all sections."""
        sections: dict[str, dict[str, Any]] = {
            each: {} for each in ("nodes", "sources", "exposures", "unit_tests", "disabled")
        }
        for unique_id, entry in self._files.all.items():
            section = f"{entry['resource_type']}s"
            complete = self._completed(entry)
            if entry["resource_type"] in ("source", "exposure", "unit_test"):
                sections[section][unique_id] = complete
            elif unique_id in self._off:
                sections["disabled"].setdefault(unique_id, []).append(complete)
            else:
                sections["nodes"][unique_id] = complete
        parents = self._parents(sections)
        children: dict[str, list[str]] = {unique_id: [] for unique_id in parents}
        for unique_id, above in parents.items():
            for parent in above:
                children[parent].append(unique_id)
        groups = {each["unique_id"]: each for each in self._groups()}
        return {
            "metadata": self._metadata(),
            **sections,
            "macros": {each["unique_id"]: each for each in self._macros()},
            "groups": groups,
            "parent_map": parents,
            "child_map": {unique_id: sorted(below) for unique_id, below in children.items()},
            "group_map": _members(groups, sections["nodes"]),
            **{name: {} for name in ("docs", "metrics", "selectors", "saved_queries", "semantic_models")},
        }

    def _refuse_what_dbt_would(self) -> None:
        files = self._files
        for unread in files.unread:
            raise ToolkitMisuse(f"{unread} cannot be read without dbt. Write it out, or take dbt's own manifest.")
        for unique_id, call in files.missing:
            if unique_id not in self._off:
                raise ToolkitMisuse(f"{self._reader(unique_id)} reads {call}, which is not there{self._hint(call)}.")
        for unique_id, entry in files.all.items():
            parents = (entry.get("depends_on") or {}).get("nodes", ())
            lost = [parent for parent in parents if parent in self._off]
            if lost and unique_id not in self._off and entry["resource_type"] != "test":
                raise ToolkitMisuse(
                    f"{self._reader(unique_id)} reads ref('{lost[0].split('.')[2]}'), which is disabled "
                    "(enabled=False): dbt refuses such a project. Enable it, or disable what reads it."
                )

    def _reader(self, unique_id: str) -> str:
        entry = self._files.all[unique_id]
        is_in_yaml = "test_metadata" in entry or entry["resource_type"] in ("exposure", "unit_test")
        file = entry["original_file_path"]
        return f"{entry['resource_type']} {entry['name']!r} ({file})" if is_in_yaml else str(file)

    def _hint(self, call: str) -> str:
        if call.startswith("test_"):
            return f": macro({call[5:]!r}, '{{% test {call[5:]}(model, column_name) %}} … {{% endtest %}}') adds it"
        if call.startswith("source("):
            return f": {call.replace(', ', ', tables=[')[:-1]}]) adds it"
        name = call.split("'")[-2]
        names = {each["name"] for each in self._files.all.values() if each["resource_type"] in _TESTED}
        close = difflib.get_close_matches(name, names, n=1)
        if name in names:
            return ": a model of that name is, with other versions or in another package"
        return f": did you mean {close[0]!r}" if close else ""

    # Entries

    def _completed(self, entry: Entry) -> Entry:
        """Return an entry with the fields that dbt writes beside those that the files say."""
        kind = entry["resource_type"]
        if kind == "source":
            return self._source_entry(entry)
        if kind == "exposure":
            return self._exposure_entry(entry)
        if kind == "unit_test":
            return self._unit_test_entry(entry)
        node = {**entry, **_COMMON, "columns": _columns(entry), "relation_name": None}
        node["depends_on"] = self._depends_on(entry)
        if kind in _TESTED and entry["config"]["materialized"] != "ephemeral":
            node["relation_name"] = _relation(entry["database"], entry["schema"], entry["alias"])
        if "test_metadata" in entry:
            node |= _OF_CODE | {
                "checksum": {"name": "none", "checksum": ""},
                "language": "sql",
                "tags": sorted(set(entry["tags"])),
                "file_key_name": self._key_of_tested(entry),
            }
        else:
            _, folder = self._packages[entry["package_name"]]
            node["checksum"] = _checksum(entry, self._source.text(folder / entry["original_file_path"]))
            node |= _OF_CODE if kind != "seed" else {"raw_code": "", "root_path": str(folder)}
        if kind == "model":
            node |= _OF_A_MODEL
        reads_what_is_off = kind == "test" and self._off.intersection(entry["depends_on"]["nodes"])
        if reads_what_is_off and entry["unique_id"] not in self._off:
            node["config"] = {**entry["config"], "enabled": False}
        return node

    def _depends_on(self, entry: Entry) -> dict[str, list[str]]:
        if entry["resource_type"] == "seed":
            return {"macros": []}
        told: dict[str, list[str]] = entry["depends_on"]
        # dbt does not look at what a disabled node reads.
        is_off = entry["unique_id"] in self._off and "test_metadata" not in entry
        return {**told, "nodes": [] if is_off else [each for each in told["nodes"] if each not in self._off]}

    def _key_of_tested(self, entry: Entry) -> str:
        attached = entry["attached_node"]
        if attached is None:
            source = next(each for each in entry["depends_on"]["nodes"] if each.startswith("source."))
            return f"sources.{source.split('.')[2]}"
        kind, _, name = attached.split(".")[:3]
        return f"{kind}s.{name}"

    def _source_entry(self, entry: Entry) -> Entry:
        unrendered = {"meta": entry["meta"], "tags": entry["tags"]}
        told = {name: entry[name] for name in ("loaded_at_field", "loaded_at_query")}
        properties = self._resource("source", entry).properties
        freshness = {"freshness": entry["freshness"]} if "freshness" in properties else {}
        return {
            **entry,
            "source_meta": properties.get("meta", {}),
            "loader": "",
            "quoting": {"database": None, "schema": None, "identifier": None, "column": None},
            "external": None,
            "columns": _columns(entry),
            "unrendered_config": {**freshness, **told, **unrendered},
            "relation_name": _relation(entry["database"], entry["schema"], entry["identifier"]),
            "created_at": _CREATED_AT,
            "unrendered_database": None,
            "unrendered_schema": properties.get("schema"),
            "doc_blocks": [],
        }

    def _exposure_entry(self, entry: Entry) -> Entry:
        told = self._resource("exposure", entry).properties
        return {
            **entry,
            "owner": {"email": None, **told["owner"]},
            "description": told.get("description", ""),
            **{name: told.get(name) for name in ("label", "maturity", "url")},
            "unrendered_config": dict(told.get("config", {})),
            "metrics": [],
            "created_at": _CREATED_AT,
        }

    def _unit_test_entry(self, entry: Entry) -> Entry:
        told = self._resource("unit_test", entry).properties
        return {
            **entry,
            "given": [{**given, "format": "dict", "fixture": None} for given in told["given"]],
            "expect": {**told["expect"], "format": "dict", "fixture": None},
            "description": "",
            "overrides": None,
            "checksum": None,
            "created_at": _CREATED_AT,
            "versions": None,
        }

    def _resource(self, kind: str, entry: Entry) -> Resource:
        name = entry["source_name"] if kind == "source" else entry["name"]
        return self._resources[entry["package_name"], kind, name]

    def _groups(self) -> Iterator[Entry]:
        for project, _ in self._packages.values():
            for group in project.store.resources:
                if group.kind == "group":
                    owner = {"email": None, **group.properties["owner"]}
                    more: Entry = {"owner": owner, "description": None, "config": {"meta": {}}}
                    yield {**_identity(project.name, group), "path": group.file.name, **more}

    def _macros(self) -> Iterator[Entry]:
        found = []
        for project, folder in self._packages.values():
            for file in project.store.resources:
                if file.kind == "macro":
                    text = self._source.text(folder / file.file)
                    found += [(project.name, file, name, block) for name, block in macros_in(text)]
        for package, file, name, block in found:
            known = [(owner, other) for owner, _, other, _ in found]
            called = [
                f"macro.{owner}.{other}"
                for owner, other in known
                if _calls(block, f"{owner}.{other}") or (owner == package and _calls(block, other))
            ]
            identity = {**_identity(package, file), "name": name, "unique_id": f"macro.{package}.{name}"}
            yield {
                **identity,
                "path": str(file.file),
                "macro_sql": block,
                "depends_on": {"macros": called},
                **_OF_A_MACRO,
            }

    def _parents(self, sections: Mapping[str, Mapping[str, Entry]]) -> dict[str, list[str]]:
        with_parents = {**sections["nodes"], **sections["exposures"], **sections["unit_tests"]}
        above = {unique_id: sorted(node["depends_on"].get("nodes", [])) for unique_id, node in with_parents.items()}
        return {**above, **{unique_id: [] for unique_id in sections["sources"]}}

    def _metadata(self) -> dict[str, Any]:
        project = self._project
        return {
            "dbt_schema_version": SCHEMA,
            "dbt_version": f"{VERIFIED_AGAINST[-1]}.0",
            "generated_at": _TIME,
            "invocation_id": _INVOCATION,
            "invocation_started_at": _TIME,
            "env": {},
            "project_name": project.name,
            "project_id": hashlib.md5(project.name.encode(), usedforsecurity=False).hexdigest(),
            "user_id": None,
            "send_anonymous_usage_stats": False,
            "adapter_type": project.profile.adapter,
            "quoting": {"database": True, "schema": True, "identifier": True, "column": None},
        }


class _FilesInMemory(Files):
    """The files of a project that does not lie on the disk.

    :param packages: its packages, each with the folder in which dbt finds it.
    """

    def __init__(self, packages: Any) -> None:
        super().__init__()
        self._texts: dict[Path, str] = {}
        self._documents: dict[Path, dict[str, Any]] = {}
        for project, folder in packages:
            for resource in project.store.resources:
                if resource.kind in FOLDERS:
                    self._texts[folder / resource.file] = resource.text
                if resource.properties_file is not None:
                    self._documents[folder / resource.properties_file] = yaml_document(resource)
        for file in sorted([*self._texts, *self._documents]):
            for folder in file.parents:
                self._below.setdefault(folder, []).append(file)

    def below(self, folder: Path) -> list[Path]:
        return self._below.get(folder, [])

    def text(self, file: Path) -> str:
        return self._texts[file]

    def document(self, file: Path) -> Any:
        return self._documents[file]


def _identity(package: str, resource: Resource) -> Entry:
    return {
        "name": resource.name,
        "resource_type": resource.kind,
        "package_name": package,
        "original_file_path": str(resource.file),
        "unique_id": f"{resource.kind}.{package}.{resource.name}",
    }


def _columns(entry: Entry) -> dict[str, Any]:
    return {name: {**_OF_A_COLUMN, "name": name} for name in entry.get("columns") or ()}


def _relation(database: str, schema: str, alias: str) -> str:
    return ".".join(f'"{part}"' for part in (database, schema, alias))


def _checksum(entry: Entry, text: str) -> dict[str, str]:
    if entry["resource_type"] == "seed" and len(text.encode()) > _LARGEST_SEED:
        return {"name": "path", "checksum": entry["original_file_path"]}
    # dbt strips every file it reads.
    return {"name": "sha256", "checksum": hashlib.sha256(text.strip().encode()).hexdigest()}


def _calls(block: str, macro: str) -> bool:
    return re.search(rf"(?<!macro )(?<![\w.]){re.escape(macro)}\(", block) is not None


def _members(groups: Mapping[str, Entry], nodes: Mapping[str, Entry]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {group["name"]: [] for group in groups.values()}
    for unique_id, node in nodes.items():
        if node["group"] is not None and node["resource_type"] == "model":
            members.setdefault(node["group"], []).append(unique_id)
    return members


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    # All that is made here is kept; with a large project the garbage collector takes half of the time to see that.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
