"""The manifest that dbt would write for a project, worked out without dbt.

Nothing in it changes from run to run: equal projects have equal manifests. Tests compare it with the manifests of the
dbt versions in ``VERIFIED_AGAINST``.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.projects.code_readers import MacroFile, macro_names
from pytest_cosmos_venv.projects.generic_tests import Tested, tests_of
from pytest_cosmos_venv.projects.manifest_entries import (
    PackageLocation,
    data_test_entry,
    exposure_entry,
    group_entry,
    macro_entries,
    node_entry,
    read_data_test,
    source_entries,
    unit_test_entry,
)
from pytest_cosmos_venv.projects.package_files import NodeFile, PackageFiles
from pytest_cosmos_venv.projects.references import Lookup, Ref
from pytest_cosmos_venv.projects.resources import REFABLE, YAML_KEYS, ProjectContents, Resource

SCHEMA = "https://schemas.getdbt.com/dbt/manifest/v12.json"
VERIFIED_AGAINST = ("1.10", "1.11")
"""The versions of dbt whose own manifests ours was compared with."""
# Fixed, so that equal projects have equal manifests.
_TIME = "2026-01-01T00:00:00.000000Z"
_INVOCATION = "00000000-0000-4000-8000-000000000000"


@dataclass(kw_only=True)
class PackageEntries:
    """The entries of one package, section by section.

    :param files: the files of the package.
    :param lookup: the nodes and sources of all packages.
    """

    files: PackageFiles
    lookup: Lookup

    @cached_property
    def location(self) -> PackageLocation:
        """The place of the nodes of the package."""
        project, root = self.files.project, self.files.root
        folder = project.path if project is root else root.path / "dbt_packages" / project.name
        return PackageLocation(package=project.name, folder=folder, profile=root.profile)

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of the sections ``nodes`` and ``disabled``."""
        for file in self.files.nodes:
            entry = node_entry(file, self.location, self._parents_of(file))
            if file.resource.kind == "test" and self.lookup.reads_disabled(file.reading, home=self.location.package):
                entry["config"]["enabled"] = False
            yield entry
            if file.resource.kind in REFABLE:
                yield from self._data_tests(_tested_node(file.resource), [], entry)
        for source in self._all("source"):
            for table in source.properties["tables"]:
                yield from self._data_tests(_tested_table(source, table), source.properties.get("tags", []), None)

    def sources(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of the section ``sources``."""
        for source in self._all("source"):
            yield from source_entries(source, self.location)

    def exposures(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of the section ``exposures``."""
        for exposure in self._all("exposure"):
            where = f"exposure {exposure.name!r}"
            text = " ".join("{{ " + one + " }}" for one in exposure.properties["depends_on"])
            reading = self.files.sql.read(text, where=where)
            parents = self.lookup.resolve(reading, home=self.location.package, where=where)
            yield exposure_entry(exposure, self.location, reading, parents)

    def unit_tests(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of the section ``unit_tests``."""
        for unit_test in self._all("unit_test"):
            where = f"unit test {unit_test.name!r}"
            model = self.lookup.node(Ref(name=unit_test.properties["model"]), home=self.location.package, where=where)
            schema = next(self.location.schema_of(file) for file in self.files.nodes if file.unique_id == model)
            yield unit_test_entry(unit_test, self.location, model=model, schema=schema)

    def groups(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of the section ``groups``."""
        return (group_entry(group, self.location) for group in self._all("group"))

    def macros(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of the section ``macros``."""
        for file in self._all("macro"):
            yield from macro_entries(file, self.files.project.store.text_of(file), self.location, self._macros)

    def _all(self, kind: str) -> Iterator[Resource]:
        return (resource for resource in self.files.project.store.resources if resource.kind == kind)

    def _parents_of(self, file: NodeFile) -> list[str]:
        if not file.config["enabled"]:
            # dbt does not look at what a disabled node reads.
            return []
        resource = file.resource
        is_test = resource.kind == "test"
        return self.lookup.resolve(file.reading, home=self.location.package, where=str(resource.file), is_test=is_test)

    def _data_tests(
        self, tested: Tested, tags: list[str], attached: Mapping[str, Any] | None
    ) -> Iterator[dict[str, Any]]:
        for test in tests_of(tested):
            reading = read_data_test(test, self.files.sql, self._macros)
            where = f"test {test.name!r}"
            is_off = self.lookup.reads_disabled(reading, home=self.location.package)
            parents = self.lookup.resolve(reading, home=self.location.package, where=where, is_test=True)
            entry = data_test_entry(test, self.location, reading, depends_on=parents, tags=tags, attached=attached)
            entry["config"]["enabled"] &= not is_off
            yield entry

    @cached_property
    def _macros(self) -> dict[str, str]:
        """Every macro as this package calls it -> its unique id."""
        known = {}
        for file in self.files.macro_files:
            for name in macro_names(file.text):
                unique_id = f"macro.{file.package}.{name}"
                known[f"{file.package}.{name}"] = unique_id
                if file.package == self.location.package:
                    known[name] = unique_id
        return known


def _tested_node(resource: Resource) -> Tested:
    versioned = resource.version is not None
    version = f", version='{resource.version}'" if versioned else ""
    return Tested(
        label=f"{resource.name}_v{resource.version}" if versioned else resource.name,
        reference=f"ref('{resource.name}'{version})",
        version=resource.version,
        prefix="",
        key=f"{YAML_KEYS[resource.kind]}.{resource.name}",
        properties_file=resource.properties_file or resource.file,
        properties=resource.properties,
    )


def _tested_table(source: Resource, table: Mapping[str, Any]) -> Tested:
    return Tested(
        label=f"{source.name}_{table['name']}",
        reference=f"source('{source.name}', '{table['name']}')",
        prefix="source_",
        key=f"{YAML_KEYS['source']}.{source.name}",
        properties_file=source.file,
        properties=table,
    )


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
        return _manifest_of(project)


def _manifest_of(project: ProjectContents) -> dict[str, Any]:
    packages = [project, *project.packages]
    macro_files = tuple(
        MacroFile(package=package.name, text=package.store.text_of(resource), where=str(resource.file))
        for package in packages
        for resource in package.store.resources
        if resource.kind == "macro"
    )
    files = [PackageFiles(project=package, root=project, macro_files=macro_files) for package in packages]
    # All packages have to declare their nodes before one of them can resolve its references.
    lookup = _lookup_of(files)
    sections = _Sections()
    for package_files in files:
        sections.take(PackageEntries(files=package_files, lookup=lookup))
    return {"metadata": _metadata(project), **sections.document()}


def _lookup_of(packages: Sequence[PackageFiles]) -> Lookup:
    lookup = Lookup(packages=tuple(package.project.name for package in packages))
    for package in packages:
        name = package.project.name
        for file in package.nodes:
            resource = file.resource
            if resource.kind not in REFABLE:
                continue
            if not file.config["enabled"]:
                lookup.disabled.add(file.unique_id)
            if resource.version is not None:
                lookup.nodes[name, resource.name, str(resource.version)] = file.unique_id
            if resource.version == resource.properties.get("latest_version"):
                lookup.nodes[name, resource.name, ""] = file.unique_id
        for source in (resource for resource in package.project.store.resources if resource.kind == "source"):
            for table in source.properties["tables"]:
                lookup.sources[name, source.name, table["name"]] = f"source.{name}.{source.name}.{table['name']}"
    return lookup


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


@dataclass(kw_only=True)
class _Sections:
    """The sections of the manifest, filled package by package."""

    nodes: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)
    macros: dict[str, Any] = field(default_factory=dict)
    exposures: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)
    unit_tests: dict[str, Any] = field(default_factory=dict)
    disabled: dict[str, Any] = field(default_factory=dict)

    def take(self, part: PackageEntries) -> None:
        for node in part.nodes():
            if node["config"]["enabled"] or _is_off_with_its_model(node):
                self.nodes[node["unique_id"]] = node
            else:
                self.disabled.setdefault(node["unique_id"], []).append(node)
        for section, entries in (
            (self.sources, part.sources()),
            (self.macros, part.macros()),
            (self.exposures, part.exposures()),
            (self.groups, part.groups()),
            (self.unit_tests, part.unit_tests()),
        ):
            section.update({entry["unique_id"]: entry for entry in entries})

    def document(self) -> dict[str, Any]:
        parents = self._parents()
        children: dict[str, list[str]] = {unique_id: [] for unique_id in parents}
        for unique_id, above in parents.items():
            for parent in above:
                children[parent].append(unique_id)
        return {
            "nodes": self.nodes,
            "sources": self.sources,
            "macros": self.macros,
            "docs": {},
            "exposures": self.exposures,
            "metrics": {},
            "groups": self.groups,
            "selectors": {},
            "disabled": self.disabled,
            "parent_map": parents,
            "child_map": {unique_id: sorted(below) for unique_id, below in children.items()},
            "group_map": self._members(),
            "saved_queries": {},
            "semantic_models": {},
            "unit_tests": self.unit_tests,
        }

    def _parents(self) -> dict[str, list[str]]:
        with_parents = {**self.nodes, **self.exposures, **self.unit_tests}
        above = {unique_id: sorted(node["depends_on"].get("nodes", [])) for unique_id, node in with_parents.items()}
        return {**above, **{unique_id: [] for unique_id in self.sources}}

    def _members(self) -> dict[str, list[str]]:
        members: dict[str, list[str]] = {group["name"]: [] for group in self.groups.values()}
        for unique_id, node in self.nodes.items():
            if node["group"] is not None and node["resource_type"] == "model":
                members.setdefault(node["group"], []).append(unique_id)
        return members


def _is_off_with_its_model(node: dict[str, Any]) -> bool:
    """dbt leaves a test among the nodes that it switched off itself."""
    return node["resource_type"] == "test" and bool(node["unrendered_config"].get("enabled", True))


def _metadata(project: ProjectContents) -> dict[str, Any]:
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
