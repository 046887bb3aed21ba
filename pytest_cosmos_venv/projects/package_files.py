"""The files of one package that become nodes, and how each of them is configured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pytest_cosmos_venv.fake_dbt.configs import merged_config, node_config, test_config
from pytest_cosmos_venv.projects.code_readers import MacroFile, SqlReader, read_python_model
from pytest_cosmos_venv.projects.references import Reading
from pytest_cosmos_venv.projects.resources import FOLDERS, ProjectContents, Resource


@dataclass(frozen=True, kw_only=True)
class NodeFile:
    """A file that becomes a node: a model, seed, snapshot, singular test or analysis.

    :param package: the name of the package in which it lies.
    :param resource: the resource to which the file belongs.
    :param text: the content as it lies on the disk.
    :param reading: what the text says about itself.
    :param config: the whole configuration, with dbt's defaults.
    :param said: what was said about it in any place; where several say something, the nearest.
    """

    package: str
    resource: Resource
    text: str
    reading: Reading
    config: Mapping[str, Any]
    said: Mapping[str, Any]

    @property
    def unique_id(self) -> str:
        """The unique id of the node, as in the manifest: ``model.harbor.dim_piers.v1``."""
        return unique_id(self.package, self.resource)


@dataclass(kw_only=True)
class PackageFiles:
    """The files of one package.

    :param project: the package, or the project itself.
    :param root: the project that is run, for its target and its ``vars``; often the same as ``project``.
    :param macro_files: the files of macros of all packages.
    """

    project: ProjectContents
    root: ProjectContents
    macro_files: tuple[MacroFile, ...]

    @cached_property
    def nodes(self) -> list[NodeFile]:
        """All files that become nodes.

        :raises ToolkitMisuse: a file is gone, or cannot be read.
        """
        return list(self._nodes())

    @cached_property
    def sql(self) -> SqlReader:
        """The reader of the package's SQL texts."""
        return SqlReader(
            package=self.project.name,
            variables={**self.project.variables, **self.root.variables},
            target=self.root.profile.variable,
            macro_files=self.macro_files,
        )

    def _nodes(self) -> Iterator[NodeFile]:
        for resource in self.project.store.resources:
            if resource.kind in FOLDERS and resource.kind != "macro":
                text = self.project.store.text_of(resource)
                reading = self._read(resource, text)
                config = test_config() if resource.kind == "test" else node_config(resource.kind)
                said: dict[str, Any] = {}
                for nearer in self._configs(resource, reading):
                    config = merged_config(config, nearer)
                    said.update(nearer)
                yield NodeFile(
                    package=self.project.name, resource=resource, text=text, reading=reading, config=config, said=said
                )

    def _read(self, resource: Resource, text: str) -> Reading:
        where = str(resource.file)
        if resource.kind == "seed":
            return Reading()
        if resource.is_python:
            return read_python_model(text, where=where)
        return self.sql.read(code_of(resource, text), where=where)

    def _configs(self, resource: Resource, reading: Reading) -> Iterator[Mapping[str, Any]]:
        """Farthest first: the folders of ``dbt_project.yml``, the YAML file, the text itself."""
        yield from self._folder_configs(resource)
        yield resource.properties.get("config", {})
        yield reading.config

    def _folder_configs(self, resource: Resource) -> Iterator[Mapping[str, Any]]:
        # An analysis counts as a model here.
        kind = "models/analysis" if resource.kind == "analysis" else f"{resource.kind}s"
        place = "/".join([kind, *resource.folders, resource.name])
        for folder, config in sorted(self.project.configurations.items()):
            if place.startswith(f"{folder}/"):
                yield config


def unique_id(package: str, resource: Resource) -> str:
    """Return the unique id of a node: ``model.harbor.dim_piers.v1``.

    :param package: the name of its package.
    :param resource: the resource that becomes the node.
    """
    return f"{resource.kind}.{package}.{resource.title}"


def code_of(resource: Resource, text: str) -> str:
    """Return the text that dbt keeps as the code of a node: all but the block around a snapshot.

    :param resource: the resource to which the text belongs.
    :param text: the content of its file.
    """
    if resource.kind != "snapshot":
        return text
    return text.partition("%}")[2].rpartition("{%")[0]
