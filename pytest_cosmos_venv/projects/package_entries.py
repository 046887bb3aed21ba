"""Which entries of the manifest do the things of one package become?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pytest_cosmos_venv.projects.data_test_entry import data_test_entry, read_data_test
from pytest_cosmos_venv.projects.generic_tests import Tested, tests_of
from pytest_cosmos_venv.projects.lookup import Lookup
from pytest_cosmos_venv.projects.node_entry import Place, node_entry
from pytest_cosmos_venv.projects.package_files import NodeFile, PackageFiles
from pytest_cosmos_venv.projects.references import Ref
from pytest_cosmos_venv.projects.resource import REFABLE, YAML_KEYS, Resource
from pytest_cosmos_venv.projects.sql_reader import macro_names
from pytest_cosmos_venv.projects.yaml_entries import (
    exposure_entry,
    group_entry,
    macro_entries,
    source_entries,
    unit_test_entry,
)


@dataclass(kw_only=True)
class PackageEntries:
    """The entries of one package.

    :param lookup: shared by all packages; all have to declare their nodes before one resolves its references.
    """

    files: PackageFiles
    lookup: Lookup

    @cached_property
    def place(self) -> Place:
        """Where its nodes lie."""
        project, root = self.files.project, self.files.root
        folder = project.path if project is root else root.path / "dbt_packages" / project.name
        return Place(package=project.name, folder=folder, profile=root.profile)

    def declare(self) -> None:
        """Tell the lookup what can be read; reads all files."""
        for file in self.files.nodes:
            if file.resource.kind in REFABLE:
                self._declare(file)
        for source in self._all("source"):
            for entry in source_entries(source, self.place):
                self.lookup.sources[self.place.package, source.name, entry["name"]] = entry["unique_id"]

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Of the section ``nodes``, and of ``disabled``."""
        for file in self.files.nodes:
            entry = node_entry(file, self.place, self._parents_of(file))
            entry["config"]["enabled"] &= not self._is_test_of_disabled(file)
            yield entry
            if file.resource.kind in REFABLE:
                yield from self._data_tests(_tested_node(file.resource), [], entry)
        for source in self._all("source"):
            for table in source.properties["tables"]:
                yield from self._data_tests(_tested_table(source, table), source.properties.get("tags", []), None)

    def sources(self) -> Iterator[dict[str, Any]]:
        """Of the section ``sources``."""
        for source in self._all("source"):
            yield from source_entries(source, self.place)

    def exposures(self) -> Iterator[dict[str, Any]]:
        """Of the section ``exposures``."""
        for exposure in self._all("exposure"):
            where = f"exposure {exposure.name!r}"
            text = " ".join("{{ " + one + " }}" for one in exposure.properties["depends_on"])
            reading = self.files.sql.read(text, where=where)
            parents = self.lookup.resolve(reading, home=self.place.package, where=where)
            yield exposure_entry(exposure, self.place, reading, parents)

    def unit_tests(self) -> Iterator[dict[str, Any]]:
        """Of the section ``unit_tests``."""
        for unit_test in self._all("unit_test"):
            where = f"unit test {unit_test.name!r}"
            model = self.lookup.node(Ref(name=unit_test.properties["model"]), home=self.place.package, where=where)
            schema = next(self.place.schema_of(file) for file in self.files.nodes if file.unique_id == model)
            yield unit_test_entry(unit_test, self.place, model=model, schema=schema)

    def groups(self) -> Iterator[dict[str, Any]]:
        """Of the section ``groups``."""
        return (group_entry(group, self.place) for group in self._all("group"))

    def macros(self) -> Iterator[dict[str, Any]]:
        """Of the section ``macros``."""
        for file in self._all("macro"):
            yield from macro_entries(file, self.files.project.store.text_of(file), self.place, self._macros)

    def _all(self, kind: str) -> Iterator[Resource]:
        return (resource for resource in self.files.project.store.resources if resource.kind == kind)

    def _declare(self, file: NodeFile) -> None:
        resource, known = file.resource, self.lookup.nodes
        if not file.config["enabled"]:
            self.lookup.disabled.add(file.unique_id)
        if resource.version is not None:
            known[self.place.package, resource.name, str(resource.version)] = file.unique_id
        if resource.version == resource.properties.get("latest_version"):
            known[self.place.package, resource.name, ""] = file.unique_id

    def _parents_of(self, file: NodeFile) -> list[str]:
        if not file.config["enabled"]:
            # dbt does not look at what a disabled node reads.
            return []
        resource = file.resource
        is_test = resource.kind == "test"
        return self.lookup.resolve(file.reading, home=self.place.package, where=str(resource.file), is_test=is_test)

    def _is_test_of_disabled(self, file: NodeFile) -> bool:
        return file.resource.kind == "test" and self.lookup.reads_disabled(file.reading, home=self.place.package)

    def _data_tests(
        self, tested: Tested, tags: list[str], attached: Mapping[str, Any] | None
    ) -> Iterator[dict[str, Any]]:
        for test in tests_of(tested):
            reading = read_data_test(test, self.files.sql, self._macros)
            where = f"test {test.name!r}"
            is_off = self.lookup.reads_disabled(reading, home=self.place.package)
            parents = self.lookup.resolve(reading, home=self.place.package, where=where, is_test=True)
            entry = data_test_entry(test, self.place, reading, depends_on=parents, tags=tags, attached=attached)
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
                if file.package == self.place.package:
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
