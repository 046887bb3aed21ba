"""Which manifest would dbt write for a project? Worked out from what the project was told, without dbt."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.projects.lookup import Lookup
from pytest_cosmos_venv.projects.package_entries import PackageEntries
from pytest_cosmos_venv.projects.package_files import PackageFiles
from pytest_cosmos_venv.projects.sql_reader import MacroFile

if TYPE_CHECKING:
    from pytest_cosmos_venv.projects.project import DbtProject

SCHEMA = "https://schemas.getdbt.com/dbt/manifest/v12.json"
VERIFIED_AGAINST = ("1.10", "1.11")
"""The versions of dbt whose own manifests ours was compared with."""
# Nothing that changes from run to run.
_TIME = "2026-01-01T00:00:00.000000Z"
_INVOCATION = "00000000-0000-4000-8000-000000000000"


def manifest_of(project: DbtProject) -> dict[str, Any]:
    """The manifest as plain data.

    :raises ToolkitMisuse: a file reads something that is not there, or cannot be read; a package has packages.
    """
    with _collector_at_rest():
        return _manifest_of(project)


def _manifest_of(project: DbtProject) -> dict[str, Any]:
    packages = [project, *project.packages]
    _refuse_packages_of_packages(project)
    lookup = Lookup(packages=tuple(package.name for package in packages))
    macro_files = tuple(_macro_files(packages))
    parts = [
        PackageEntries(files=PackageFiles(project=package, root=project, macro_files=macro_files), lookup=lookup)
        for package in packages
    ]
    for part in parts:
        part.declare()
    sections = _Sections()
    for part in parts:
        sections.take(part)
    return {"metadata": _metadata(project), **sections.document()}


def _refuse_packages_of_packages(project: DbtProject) -> None:
    for package in project.packages:
        for inner in package.packages:
            raise ToolkitMisuse(
                f"Package {inner.name!r} stands within package {package.name!r}, where dbt does not look: dbt deps "
                f"installs all packages beside one another. Add it to project {project.name!r} itself."
            )


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """All that is made here is kept; with a large project the garbage collector takes half of the time to see that."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _macro_files(packages: list[DbtProject]) -> Iterator[MacroFile]:
    for package in packages:
        for resource in package.store.resources:
            if resource.kind == "macro":
                yield MacroFile(package=package.name, text=package.store.text_of(resource), where=str(resource.file))


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


def _metadata(project: DbtProject) -> dict[str, Any]:
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
