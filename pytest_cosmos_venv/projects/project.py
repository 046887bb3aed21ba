"""The builder of a made-up dbt project: one call for each thing that is in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import AlreadyTaken, ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.files import Files, load_yaml
from pytest_cosmos_venv.projects.node_properties import DataTests, properties_of, with_tests
from pytest_cosmos_venv.projects.profile import Profile, make_profile
from pytest_cosmos_venv.projects.project_files import FilesInMemory, check_name, plain, project_text, yaml_text

_FOLDERS = ("models", "seeds", "snapshots", "tests", "analyses", "macros")
_OF_NODES = ("models", "seeds", "snapshots")
_ENDINGS = (".sql", ".csv", ".py")
_NOT_COPIED = ("logs", ".git", ".venv", "__pycache__")
# A large project has more names than anybody wants to read in an error.
_NAMED = 20


@dataclass(kw_only=True)
class DbtProject:
    """A dbt project; each method writes the files of the node that it adds.

    Names may have folders before them (``"marts/core/fct_crossings"``). Other keyword arguments are written as dbt's
    configurations (``schema=``, ``alias=``, ``unique_key=``, …).

    :param name: the name of the project.
    :param path: the folder of the project.
    :param profile: the profile.
    :param variables: the ``vars`` of ``dbt_project.yml``; of a copy none.
    :param in_memory: the files of its nodes, where they do not lie on the disk.
    """

    name: str
    path: Path
    profile: Profile
    variables: Mapping[str, Any]
    in_memory: FilesInMemory | None = None
    _names: set[str] = field(default_factory=set)

    @property
    def profiles_yml(self) -> Path:
        """The file with the project's profile; its folder is what ``--profiles-dir`` takes."""
        return self.path / "profiles.yml"

    def write(self, file: Path | str, text: str) -> Path:
        """Write a file of the project, such as ``macros/money.sql`` or the YAML ``models/exposures.yml``.

        :param file: the path of the file, relative to the project's folder.
        :param text: the text.
        :returns: the whole path.
        """
        path = self.path / file
        if self.in_memory is not None:
            self.in_memory.put(path, text)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            # write_text would change the line endings that the test chose.
            path.write_bytes(text.encode("utf-8"))
        return path

    def model(
        self, name: str, sql: str, *, tests: DataTests | None = None, description: str = "", **config: Any
    ) -> None:
        """Add a model.

        :param name: the name, with its folders before it.
        :param sql: its text.
        :param tests: column -> its data tests; those of the whole model under None.
        :param description: the description.
        :param **config: dbt's configurations, such as ``tags=["daily"]``, ``materialized="table"``, ``group="port"``,
            ``access="public"``.
        :raises ToolkitMisuse: the name is taken or none, or a configuration is misspelt.
        """
        self._add("model", name, sql, ".sql", properties_of(name, tests, description, config))

    def seed(
        self, name: str, csv: str, *, tests: DataTests | None = None, description: str = "", **config: Any
    ) -> None:
        """Add a seed.

        :param name: the name, with its folders before it.
        :param csv: its text.
        :param tests: column -> its data tests.
        :param description: the description.
        :param **config: dbt's configurations, such as ``delimiter=";"``.
        :raises ToolkitMisuse: the name is taken or none, or a configuration is misspelt.
        """
        self._add("seed", name, csv, ".csv", properties_of(name, tests, description, config))

    def test(self, name: str, sql: str) -> None:
        """Add a singular test: a query that should find nothing. Its ``{{ config() }}`` stands in the text.

        :param name: the name, with its folders before it.
        :param sql: its text.
        """
        self.write(f"tests/{name}.sql", sql)

    def source(self, name: str, *, tables: Sequence[str] | Mapping[str, DataTests], **properties: Any) -> None:
        """Add a source.

        :param name: the name of the source.
        :param tables: the names of its tables; or table -> the data tests of its columns.
        :param **properties: dbt's properties, such as ``schema="raw"``, ``freshness={...}``, ``tags=[...]``.
        :raises ToolkitMisuse: the name is not valid, or ``tables`` is one text.
        """
        check_name("source", name)
        if isinstance(tables, str):
            raise ToolkitMisuse(f"tables={tables!r} of source {name!r}: give a list, such as [{tables!r}].")
        tested: Mapping[str, DataTests] = tables if isinstance(tables, Mapping) else {table: {} for table in tables}
        listed = [with_tests({"name": table}, tests, owner=f"{name}.{table}") for table, tests in tested.items()]
        self._write_yaml(f"models/_{name}__source.yml", {"sources": [{"name": name, **properties, "tables": listed}]})

    def file(self, name: str) -> Path:
        """Return the path of the file of a node.

        :param name: the name of the node.
        :raises ToolkitMisuse: there is none of this name.
        """
        nodes = self._nodes()
        if name not in nodes:
            names = ", ".join([*sorted(nodes)[:_NAMED], *(["…"] if nodes.keys() - sorted(nodes)[:_NAMED] else [])])
            raise ToolkitMisuse(f"There is no {name!r} in project {self.name!r}: there is {names or 'nothing'}.")
        return nodes[name]

    def _nodes(self) -> dict[str, Path]:
        there = [file for folder in _FOLDERS for file in self._files.below(self.path / folder)]
        return {file.stem: file for file in reversed(there) if file.suffix in _ENDINGS}

    def edit(self, name: str, text: str) -> None:
        """Replace the text of a node.

        :param name: the name of the node.
        :param text: the new text.
        :raises ToolkitMisuse: there is none of this name.
        """
        self.write(self.file(name), text)

    def delete(self, name: str) -> None:
        """Take a node out of the project, with its files.

        :param name: the name of the node.
        :raises ToolkitMisuse: there is none of this name.
        """
        node = self.file(name)
        for file in (node, node.with_suffix(".yml")):
            if self.in_memory is not None:
                self.in_memory.remove(file)
            else:
                file.unlink(missing_ok=True)
        self._names.discard(name)

    def manifest(self, path: Path | str | None = None) -> Path:
        """Write the manifest that dbt would write for the project as it is now, without running dbt.

        :param path: write it here instead of ``target/manifest.json`` in the project.
        :returns: the file.
        :raises ToolkitMisuse: dbt would refuse the project, or only dbt could tell what a text depends on.
        """
        file = Path(path) if path is not None else self.path / "target" / "manifest.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.manifest_data()), encoding="utf-8")
        return file

    def manifest_data(self) -> dict[str, Any]:
        """Return the content of the manifest, as plain data that is the caller's own.

        It holds nothing that changes from run to run: equal projects have equal manifests.

        :raises ToolkitMisuse: as for ``manifest``.
        """
        from pytest_cosmos_venv.projects.manifest import manifest_of

        return manifest_of(self.name, self.path, self.profile, self.variables, self._files)

    @property
    def _files(self) -> Files:
        # Files on the disk are read again each time: a test may change them.
        return Files() if self.in_memory is None else self.in_memory

    def _add(self, kind: str, name: str, text: str, ending: str, properties: Mapping[str, Any]) -> None:
        *folders, last = name.split("/")
        for part in (*folders, last):
            check_name(kind, part)
        if last in self._names:
            raise ToolkitMisuse(
                f"There is a node {last!r} in project {self.name!r} already: edit({last!r}, …) changes its text, "
                f"delete({last!r}) takes it out."
            )
        self._names.add(last)
        self.write(f"{kind}s/{name}{ending}", text)
        if properties:
            self._write_yaml(f"{kind}s/{name}.yml", {f"{kind}s": [{"name": last, **properties}]})

    def _write_yaml(self, file: str, document: Mapping[str, Any]) -> None:
        whole = {"version": 2, **document}
        if self.in_memory is not None:
            self.in_memory.put(self.path / file, plain(whole))
        else:
            self.write(file, yaml_text(whole))


def make_project(
    name: str, path: Path, *, profile: Profile, variables: Mapping[str, Any] | None = None, is_on_disk: bool = True
) -> DbtProject:
    """Make a project with nothing in it but its two files.

    :param name: the name of the project.
    :param path: the folder; made here.
    :param profile: the profile.
    :param variables: the ``vars`` of ``dbt_project.yml``.
    :param is_on_disk: whether the files of nodes are written to the disk too.
    :raises AlreadyTaken: the folder exists.
    """
    check_name("project", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir()
    except FileExistsError:
        raise AlreadyTaken(f"There is a project {name!r} already ({path}): give this one another name.") from None
    made = DbtProject(
        name=name,
        path=path,
        profile=profile,
        variables=variables or {},
        in_memory=None if is_on_disk else FilesInMemory(),
    )
    made.profiles_yml.write_text(yaml_text(profile.document), encoding="utf-8")
    (path / "dbt_project.yml").write_text(project_text(name, made.variables), encoding="utf-8")
    return made


def copy_folder(source: Path, folder: Path) -> Path:
    """Copy the folder of a dbt project into another folder, under its own name, and return the copy.

    :param source: the folder of the project.
    :param folder: the folder around the copy.
    :raises ToolkitMisuse: there is no dbt project.
    :raises AlreadyTaken: the copy exists.
    """
    if not (source / "dbt_project.yml").is_file():
        raise ToolkitMisuse(
            f"project={str(source)!r}: there is no dbt_project.yml in it; give the folder of a dbt project."
        )
    copy = folder / source.resolve().name
    if copy.exists():
        raise AlreadyTaken(f"There is a folder {copy} already: each project is copied once.")
    # Links of the project are followed: a relative link would lead nowhere, an absolute one to the original.
    at_top = str(source)
    shutil.copytree(
        source, copy, ignore=lambda path, _: _NOT_COPIED if path == at_top else (), ignore_dangling_symlinks=True
    )
    return copy


def copy_project(source: Path, folder: Path) -> DbtProject:
    """Copy a dbt project into another folder; the copy has a DuckDB profile.

    :param source: the folder of the project.
    :param folder: the folder around the copy.
    :raises ToolkitMisuse: there is no dbt project.
    :raises AlreadyTaken: the copy exists.
    """
    path = copy_folder(source, folder)
    settings = load_yaml((path / "dbt_project.yml").read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or not settings.get("name"):
        raise ToolkitMisuse(f"{source / 'dbt_project.yml'} has no name: dbt refuses such a project.")
    name = str(settings["name"])
    copy = DbtProject(
        name=name, path=path, profile=make_profile(str(settings.get("profile") or name), path, None), variables={}
    )
    copy._names.update(name for name, file in copy._nodes().items() if file.relative_to(path).parts[0] in _OF_NODES)
    copy.profiles_yml.write_text(yaml_text(copy.profile.document), encoding="utf-8")
    return copy
