"""The builder of a made-up dbt project: one call for each thing that is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_cosmos_venv.errors import AlreadyTaken, ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.configs import merged_config
from pytest_cosmos_venv.projects.node_properties import DataTests, properties_of, with_tests
from pytest_cosmos_venv.projects.profile import Profile
from pytest_cosmos_venv.projects.resources import ProjectStore, check_name, project_text, yaml_text


@dataclass(kw_only=True)
class DbtProject:
    """A dbt project whose files are written as soon as it is told what is in it.

    Names may have folders before them (``"marts/core/fct_crossings"``). Keyword arguments that are not described are
    dbt's configurations (``schema=``, ``alias=``, ``unique_key=``, …) and are written as such.

    :param store: the resources of the project.
    :param profile: the target in which its tables lie.
    :param variables: the ``vars`` of ``dbt_project.yml``.
    :param configurations: kind and folder (``models/staging``) -> configuration of all that lies there.
    :param packages: the local packages that ``package`` has added.
    :param is_package: whether it is a package itself.
    """

    store: ProjectStore
    profile: Profile
    variables: Mapping[str, Any]
    configurations: dict[str, dict[str, Any]] = field(default_factory=dict)
    packages: list[DbtProject] = field(default_factory=list)
    is_package: bool = False

    @property
    def name(self) -> str:
        """The name of the project; its profile has the same."""
        return self.store.project

    @property
    def path(self) -> Path:
        """The folder of the project."""
        return self.store.path

    @property
    def profiles_yml(self) -> Path:
        """The file with the project's profile; its folder is what ``--profiles-dir`` takes."""
        return self.path / "profiles.yml"

    def model(
        self,
        name: str,
        sql: str | None = None,
        *,
        versions: Mapping[int | str, str] | None = None,
        latest_version: int | str | None = None,
        language: str = "sql",
        tests: DataTests | None = None,
        description: str = "",
        **config: Any,
    ) -> None:
        """Add a model.

        :param name: the name, with folders before it if it is to lie in some.
        :param sql: the text of its file; for a model in Python that is Python.
        :param versions: version -> text, in place of ``sql``.
        :param latest_version: the version that a ``ref()`` without one means. Default: the highest.
        :param language: ``sql`` or ``python``.
        :param tests: column -> its data tests, such as ``{"id": ["unique", "not_null"]}``.
        :param description: the text in its YAML file.
        :param **config: dbt's configurations, such as ``tags=["daily"]``, ``materialized="table"``, ``group="port"``,
            ``access="public"``.
        :raises ToolkitMisuse: the name is taken or no name, or both or neither of text and versions are given.
        """
        if (sql is None) == (not versions):
            raise ToolkitMisuse(f"model({name!r}) takes either its SQL or versions={{1: '…', 2: '…'}}.")
        if language not in ("sql", "python"):
            raise ToolkitMisuse(f"language={language!r} of model {name!r}: it is sql or python.")
        suffix = ".py" if language == "python" else ".sql"
        properties = properties_of(name, tests, description, config)
        if not versions:
            self.store.add("model", name, {None: sql or ""}, suffix=suffix, properties=properties)
            return
        latest = latest_version if latest_version is not None else max(versions, key=_version_order)
        properties |= {"latest_version": latest, "versions": [{"v": version} for version in versions]}
        self.store.add("model", name, versions, suffix=suffix, properties=properties)

    def seed(
        self, name: str, csv: str, *, tests: DataTests | None = None, description: str = "", **config: Any
    ) -> None:
        """Add a seed.

        :param name: the name, with folders before it if it is to lie in some.
        :param csv: the text of its file, with the line of column names.
        :param tests: column -> its data tests.
        :param description: the text in its YAML file.
        :param **config: dbt's configurations, such as ``column_types={"id": "int"}``.
        :raises ToolkitMisuse: the name is taken or no name.
        """
        properties = properties_of(name, tests, description, config)
        self.store.add("seed", name, {None: csv}, suffix=".csv", properties=properties)

    def snapshot(
        self,
        name: str,
        sql: str,
        *,
        unique_key: str | Sequence[str],
        strategy: str = "check",
        check_cols: str | Sequence[str] | None = None,
        updated_at: str | None = None,
        tests: DataTests | None = None,
        **config: Any,
    ) -> None:
        """Add a snapshot.

        :param name: the name, with folders before it if it is to lie in some.
        :param sql: the query, without the ``{% snapshot %}`` around it.
        :param unique_key: the column, or columns, that identify a row.
        :param strategy: ``check`` or ``timestamp``.
        :param check_cols: the columns that ``check`` compares. Default: ``all``.
        :param updated_at: the column that ``timestamp`` looks at.
        :param tests: column -> its data tests.
        :param **config: dbt's other configurations, such as ``schema="history"``.
        :raises ToolkitMisuse: ``timestamp`` without ``updated_at``; or the name is taken or no name.
        """
        if strategy == "timestamp" and updated_at is None:
            raise ToolkitMisuse(f"snapshot({name!r}) has strategy='timestamp': say which column with updated_at=.")
        config |= {"unique_key": unique_key, "strategy": strategy}
        if strategy == "check":
            config["check_cols"] = check_cols if check_cols is not None else "all"
        if updated_at is not None:
            config["updated_at"] = updated_at
        text = f"{{% snapshot {PurePosixPath(name).name} %}}\n{sql}\n{{% endsnapshot %}}\n"
        self.store.add("snapshot", name, {None: text}, properties=properties_of(name, tests, "", config))

    def test(self, name: str, sql: str) -> None:
        """Add a singular test: a query that should find nothing. Its ``{{ config() }}`` stands in the text.

        :param name: the name, with folders before it if it is to lie in some.
        :param sql: the query.
        """
        self.store.add("test", name, {None: sql})

    def analysis(self, name: str, sql: str) -> None:
        """Add an analysis: a query that dbt compiles and never runs.

        :param name: the name, with folders before it if it is to lie in some.
        :param sql: the query.
        """
        self.store.add("analysis", name, {None: sql})

    def macro(self, name: str, text: str) -> None:
        """Add a file of macros (``{% macro … %}``) and generic tests (``{% test … %}``).

        :param name: the name of the file without ``.sql``.
        :param text: the content of the file.
        """
        self.store.add("macro", name, {None: text})

    def source(
        self,
        name: str,
        *,
        tables: Sequence[str] | Mapping[str, DataTests],
        schema: str | None = None,
        tags: Sequence[str] = (),
        meta: Mapping[str, Any] | None = None,
        freshness: Mapping[str, Any] | None = None,
        loaded_at_field: str | None = None,
    ) -> None:
        """Add a source.

        :param name: the name of the source; its tables are read as ``source(name, table)``.
        :param tables: the names of its tables; or name -> column -> its data tests.
        :param schema: the schema in which they lie. Default: a schema of the source's name.
        :param tags: tags of all its tables.
        :param meta: free data about it.
        :param freshness: the freshness as dbt writes it: ``{"warn_after": {"count": 12, "period": "hour"}}``.
        :param loaded_at_field: the column by which dbt tells how fresh a table is.
        :raises ToolkitMisuse: the name is taken or no name, or ``tables`` is a single text.
        """
        if isinstance(tables, str):
            raise ToolkitMisuse(f"tables={tables!r} of source {name!r}: give a list, such as [{tables!r}].")
        tested: Mapping[str, DataTests] = tables if isinstance(tables, Mapping) else {table: {} for table in tables}
        listed = [with_tests({"name": table}, tests, owner=f"{name}.{table}") for table, tests in tested.items()]
        given = {
            "schema": schema,
            "tags": list(tags),
            "meta": dict(meta or {}),
            "freshness": freshness,
            "loaded_at_field": loaded_at_field,
        }
        kept = {key: value for key, value in given.items() if value}
        self.store.add_in_yaml("source", name, {**kept, "tables": listed})

    def exposure(self, name: str, *, depends_on: Sequence[str], owner: str = "Owner", **properties: Any) -> None:
        """Add an exposure.

        :param name: the name of the exposure.
        :param depends_on: what it reads, in dbt's own words: ``["ref('fct_crossings')", "source('raw', 'ships')"]``.
        :param owner: the name of its owner.
        :param **properties: dbt's other properties, such as ``type="notebook"``, ``url=``. It is a dashboard by
            default.
        """
        owned = {"type": "dashboard", "owner": {"name": owner}, "depends_on": list(depends_on)}
        self.store.add_in_yaml("exposure", name, {**owned, **properties})

    def unit_test(
        self,
        name: str,
        *,
        model: str,
        given: Mapping[str, Sequence[Mapping[str, Any]]],
        expect: Sequence[Mapping[str, Any]],
        **config: Any,
    ) -> None:
        """Add a unit test.

        :param name: the name of the test.
        :param model: the name of the model that it tests.
        :param given: input -> its rows. A name is a ``ref()``; ``source('raw', 'ships')`` is written so.
        :param expect: the rows that come out.
        :param **config: dbt's configurations of a unit test, such as ``tags=["daily"]``.
        """
        inputs = [
            {"input": source if "(" in source else f"ref('{source}')", "rows": list(map(dict, rows))}
            for source, rows in given.items()
        ]
        properties = {"model": model, "given": inputs, "expect": {"rows": list(map(dict, expect))}}
        self.store.add_in_yaml("unit_test", name, {**properties, **({"config": config} if config else {})})

    def group(self, name: str, *, owner: str = "Owner") -> None:
        """Add a group of models, which name it with ``group=``.

        :param name: the name of the group.
        :param owner: the name of its owner.
        """
        self.store.add_in_yaml("group", name, {"owner": {"name": owner}})

    def configure(self, folder: str, **config: Any) -> None:
        """Configure all that lies in a folder, as ``dbt_project.yml`` does.

        :param folder: kind and folder: ``"models/staging"``, or ``"seeds"`` for all of them.
        :param **config: dbt's configurations.
        :raises ToolkitMisuse: the folder is not one of models, seeds or snapshots.
        """
        if folder.partition("/")[0] not in ("models", "seeds", "snapshots"):
            raise ToolkitMisuse(f"configure({folder!r}): the folder begins with models, seeds or snapshots.")
        self.configurations[folder] = merged_config(self.configurations.get(folder, {}), config)
        self._write_project_file()

    def package(self, name: str, *, variables: Mapping[str, Any] | None = None) -> DbtProject:
        """Add a local package, installed as ``dbt deps`` would: another project, to be filled in the same way.

        :param name: the name of the package.
        :param variables: the ``vars`` of the package.
        :returns: the package, another ``DbtProject``.
        :raises ToolkitMisuse: there is one of that name; or this project is a package itself.
        """
        check_name("package", name)
        if self.is_package:
            raise ToolkitMisuse(
                f"package({name!r}) of package {self.name!r}: dbt deps installs all packages beside one another, and "
                "dbt does not look within one. Add it to the project itself."
            )
        folder = self.path / "packages" / name
        package = make_project(
            name, folder, profile=self.profile, variables=variables, is_on_disk=self.store.is_on_disk
        )
        package.is_package = True
        self.packages.append(package)
        listed = [{"local": f"packages/{package.name}"} for package in self.packages]
        (self.path / "packages.yml").write_text(yaml_text({"packages": listed}), encoding="utf-8")
        installed = self.path / "dbt_packages" / name
        installed.parent.mkdir(exist_ok=True)
        installed.symlink_to(Path("..", "packages", name), target_is_directory=True)
        return package

    def file(self, name: str) -> Path:
        """Return the path of the file of a thing: the SQL of a model, or of one version of it.

        :param name: the name; a version of a model is ``"dim_piers.v1"``.
        :raises ToolkitMisuse: there is none of that name, or there are several.
        """
        return self.path / self.store.find(name).file

    def edit(self, name: str, text: str) -> None:
        """Replace the text of a model, seed, snapshot, test, analysis or file of macros.

        :param name: the name; a version of a model is ``"dim_piers.v1"``.
        :param text: the new content of its file.
        :raises ToolkitMisuse: there is none of that name.
        """
        self.store.edit(name, text)

    def delete(self, name: str) -> None:
        """Take a thing out of the project, with its files; a model with all its versions.

        :param name: the name, without a version.
        :raises ToolkitMisuse: there is none of that name.
        """
        self.store.delete(name)

    def manifest(self, path: Path | str | None = None) -> Path:
        """Write the manifest that dbt would write for the project as it is now, without running dbt.

        :param path: the file to write. Default: ``target/manifest.json`` in the project.
        :returns: the path of the file.
        :raises ToolkitMisuse: a model reads something that is not there, or a text cannot be read.
        """
        file = Path(path) if path is not None else self.path / "target" / "manifest.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.manifest_data()), encoding="utf-8")
        return file

    def manifest_data(self) -> dict[str, Any]:
        """Return the content of the manifest, as plain data that is the caller's own.

        It holds nothing that changes from run to run: equal projects have equal manifests.
        """
        from pytest_cosmos_venv.projects.manifest import manifest_of

        return manifest_of(self.store, self.profile, self.variables, [each.store for each in self.packages])

    def _write_project_file(self) -> None:
        text = project_text(self.name, self.variables, self.configurations)
        (self.path / "dbt_project.yml").write_text(text, encoding="utf-8")


def make_project(
    name: str, path: Path, *, profile: Profile, variables: Mapping[str, Any] | None = None, is_on_disk: bool = True
) -> DbtProject:
    """Make a project with nothing in it but its two files.

    :param name: the name of the project and of its profile.
    :param path: the folder of the project, which must not exist.
    :param profile: the target in which its tables lie.
    :param variables: the ``vars`` of ``dbt_project.yml``; None: none.
    :param is_on_disk: whether what is added later is written as files too; the manifest is the same.
    :raises ToolkitMisuse: the name is no name for dbt, or the folder exists.
    """
    check_name("project", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir()
    except FileExistsError:
        raise AlreadyTaken(f"There is a project {name!r} already ({path}): give this one another name.") from None
    store = ProjectStore(project=name, path=path, is_on_disk=is_on_disk)
    made = DbtProject(store=store, profile=profile, variables=variables or {})
    made.profiles_yml.write_text(yaml_text(profile.document), encoding="utf-8")
    made._write_project_file()
    return made


def _version_order(version: int | str) -> tuple[int, str]:
    text = str(version)
    return (int(text), "") if text.isdigit() else (-1, text)
