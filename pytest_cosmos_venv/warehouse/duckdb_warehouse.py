"""A real dbt on a DuckDB file: nothing is written into the project of the user, and the file belongs to one test.

dbt reuses the parsed project only when profile, variables and paths are the same. So they are the same in each test: a
place in the cache holds the profile, dbt's target folder, and a link to the test's own folder.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.environments.kept_dbt import KeptDbt
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.warehouse import duckdb_script
from pytest_cosmos_venv.warehouse.dbt_result import DbtFailed, DbtResult, nodes_of
from pytest_cosmos_venv.warehouse.given_rows import Relation, Row, decoded, in_order, statements_for

PROFILE = "cosmos_duckdb"
"""The name of the profile and of the database."""
LONGEST_COMMAND = 600.0
"""Seconds that one command of dbt may take."""
_DATA = "data"
_STATE = "state.json"
_ENV_VAR = re.compile(rb"\benv_var\(\s*['\"](\w+)['\"]")
_LARGEST_CODE = 1 << 20
_PACKAGE_LISTS = ("packages.yml", "dependencies.yml")
_LOCK_FILE = "package-lock.yml"
_NOT_OF_THE_PROJECT = frozenset({"target", "logs", ".git", ".venv", "venv", "__pycache__", ".pytest_cache"})


@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """The settings with which dbt runs a project.

    :param path: the folder of the project, with ``dbt_project.yml``.
    :param target: the name of the target, which the project sees as ``target.name``.
    :param schema: the schema of relations, unless a model says otherwise.
    :param threads: how many nodes dbt builds at the same time.
    :param variables: dbt's variables (``--vars``).
    :param environment: environment variables of dbt beside those of the test.
    :param settings: further settings of the DuckDB profile, such as ``{"extensions": ["json"]}``.
    """

    path: Path
    target: str
    schema: str
    threads: int
    variables: Mapping[str, Any]
    environment: Mapping[str, str]
    settings: Mapping[str, Any]

    @property
    def key(self) -> str:
        """A digest of all settings on which dbt's parsing depends, usable as a file name."""
        parts = [str(self.path), self.target, self.schema, self.threads, dict(self.variables), dict(self.environment)]
        text = json.dumps([*parts, dict(self.settings)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(kw_only=True)
class DuckDBWarehouse:
    """The DuckDB file of a test, and the real dbt that builds the user's project in it.

    :param project: the project and its settings.
    :param dbt: the environment in which dbt is installed.
    :param place: the folder with profile and target folder, whose content outlives the test.
    :param folder: the test's own folder, in which the file lies.
    :param root: the root directory of the tests.
    :param runs: the commands of dbt that the test has asked for, in order.
    """

    project: ProjectSettings
    dbt: KeptDbt
    place: Path
    folder: Path
    root: Path
    runs: list[DbtResult] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The DuckDB file. It exists once a table was given or built, and stays in the test's folder."""
        return self.folder / f"{PROFILE}.duckdb"

    @property
    def profiles_yml(self) -> Path:
        """The file of the profile ``cosmos_duckdb``, for ``ProfileConfig(profiles_yml_filepath=...)``."""
        return self.place / "profiles.yml"

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the project as it is now. dbt parses the project first, unless it is parsed already."""
        if self._parsed.get("project") != self._project_digest():
            result = self._run("parse")
            if not result.succeeded:
                raise DbtFailed(str(result))
        return json.loads((self._target / "manifest.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    def give(self, name: str, content: Path | str | Sequence[Row]) -> None:
        """Make a table of the project with some content, as if it had been loaded or built before.

        The columns have the types that the project declares (``data_type``), else the types of the values.

        :param name: a source, ``raw.ships``; or a model, seed or snapshot, which ``build`` must then not select.
        :param content: rows, each a mapping of column -> value; or a CSV, Parquet or JSON file. A path is relative to
            the root directory of the tests.
        :raises ToolkitMisuse: the project has no such source or node, or the content cannot be made a table.
        """
        relation = self._relation(name)
        if relation.database != PROFILE:
            attached = sorted({*self._parsed.get("attached", ()), relation.database})
            self._write_parsed({**self._parsed, "attached": attached})
            self.write_profile()
        if isinstance(content, (str, Path)):
            content = self.root / content
        self._ask(statements_for(relation, content, name=name), replaced=relation)

    def build(
        self,
        select: str | Sequence[str] = (),
        *,
        exclude: str | Sequence[str] = (),
        full_refresh: bool = False,
        check: bool = True,
    ) -> DbtResult:
        """Run ``dbt build`` in the test's file, and return its result.

        :param select: dbt's selection: ``+fct_crossings`` also builds the model's parents. Default: all nodes.
        :param exclude: dbt's exclusion.
        :param full_refresh: whether incremental models and seeds are rebuilt from scratch.
        :param check: whether a failure of dbt, of a node or of a test fails the test.
        :raises DbtFailed: dbt failed, and ``check`` is set.
        """
        arguments: list[str] = []
        for option, named in (("--select", select), ("--exclude", exclude)):
            parts = [named] if isinstance(named, str) else list(named)
            arguments += [option, *parts] if parts else []
        if full_refresh:
            arguments.append("--full-refresh")
        return self.run_dbt("build", *arguments, check=check)

    def run_dbt(self, command: str, *arguments: str, check: bool = True) -> DbtResult:
        """Run any command of dbt with project, profile and target folder of this test, and return its result.

        :param command: the command, such as ``test``.
        :param *arguments: its own arguments: ``"--select", "ships"``.
        :param check: whether a failure fails the test.
        :raises DbtFailed: dbt failed, and ``check`` is set.
        :raises ToolkitMisuse: dbt does not end in time.
        """
        result = self._run(command, *arguments)
        self.runs.append(result)
        if check and not result.succeeded:
            raise DbtFailed(str(result))
        return result

    def _run(self, *arguments: str) -> DbtResult:
        run_results, manifest = self._target / "run_results.json", self._target / "manifest.json"
        project = self._project_for(arguments[0])
        run_results.unlink(missing_ok=True)
        digest, before = self._project_digest(), _time_of(manifest)
        began = real_time.monotonic()
        try:
            done = subprocess.run(
                [self.dbt.dbt, *arguments, *self._own_arguments(arguments[0], project)],
                cwd=self.project.path,
                env={**os.environ, **self._variables()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                timeout=LONGEST_COMMAND,
            )
        except subprocess.TimeoutExpired:
            raise ToolkitMisuse(f"dbt {' '.join(arguments)} is not done after {LONGEST_COMMAND:g} s.") from None
        result = DbtResult(
            arguments=arguments,
            exit_code=done.returncode,
            log=done.stdout,
            seconds=real_time.monotonic() - began,
            nodes=nodes_of(run_results, manifest),
        )
        if _time_of(manifest) != before:
            self._write_parsed({**self._parsed, "project": digest})
        return result

    def _project_for(self, command: str) -> Path:
        """Return the project; if it lists packages, a folder of links to it, into which dbt installs the packages.

        :raises DbtFailed: dbt cannot install the packages.
        """
        lists = [name for name in _PACKAGE_LISTS if (self.project.path / name).is_file()]
        if not lists:
            return self.project.path
        folder = self.place / "project"
        folder.mkdir(exist_ok=True)
        packages = folder / self._packages_name()
        texts = {name: self._with_absolute_paths(name) for name in lists}
        lock = self.project.path / _LOCK_FILE
        if lock.is_file() and not (folder / _LOCK_FILE).exists():  # dbt changes it where the lists have changed
            texts[_LOCK_FILE] = lock.read_text(encoding="utf-8")
        known = {name: (folder / name).read_text(encoding="utf-8") for name in texts if (folder / name).is_file()}
        if known != texts and packages.is_dir() and not packages.is_symlink():
            shutil.rmtree(packages)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        is_own = command == "deps" or (packages.is_dir() and not packages.is_symlink())
        self._link_into(folder, {_LOCK_FILE, *lists, *([packages.name] if is_own else [])})
        if command != "deps" and not packages.exists():
            installed = self._run("deps")
            if not installed.succeeded:
                raise DbtFailed(str(installed))
        return folder

    def _link_into(self, folder: Path, left_out: set[str]) -> None:
        """Replace the links of the folder by links to the present entries of the project, without some names."""
        for link in folder.iterdir():
            if link.is_symlink():
                link.unlink()
        for each in self.project.path.iterdir():
            if each.name not in _NOT_OF_THE_PROJECT | left_out:
                (folder / each.name).symlink_to(each.resolve())

    def _packages_name(self) -> str:
        import yaml

        settings = yaml.safe_load((self.project.path / "dbt_project.yml").read_text(encoding="utf-8"))
        return str(settings.get("packages-install-path") or "dbt_packages")

    def _with_absolute_paths(self, name: str) -> str:
        """Return the text of a package list with absolute paths of local packages."""
        text = (self.project.path / name).read_text(encoding="utf-8")
        pattern = re.compile(r"^(\s*-?\s*local:\s*)(['\"]?)([^'\"#\n]+?)\2(\s*(?:#.*)?)$", re.MULTILINE)
        return pattern.sub(lambda found: f"{found[1]}{json.dumps(str((self.project.path / found[3]).resolve()))}", text)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a source or node, each as column -> value, sorted by their columns.

        :param name: a model, seed or snapshot, or a source as ``raw.ships``.
        :raises ToolkitMisuse: the project has no such node, or there is no such table yet.
        """
        return in_order(self.query(f"from {self._relation(name)}"))

    def columns(self, name: str) -> dict[str, str]:
        """Return the columns of a source or node with DuckDB's types: ``{"id": "INTEGER"}``.

        :param name: a model, seed or snapshot, or a source as ``raw.ships``.
        :raises ToolkitMisuse: the project has no such node, or there is no such table yet.
        """
        return dict(self._ask([(f"from {self._relation(name)} limit 0", None)])["columns"])

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query in the test's file, each as column -> value.

        :param sql: the query.
        :raises ToolkitMisuse: DuckDB refuses it.
        """
        found = self._ask([(sql, None)])
        names = [name for name, _ in found["columns"]]
        return [dict(zip(names, map(decoded, row), strict=True)) for row in found["rows"]]

    def relations(self) -> dict[str, Relation]:
        """Return unique id -> table or view of each source, model, seed and snapshot, without ephemeral models."""
        return {
            unique_id: _relation_of(node)
            for unique_id, node in self._nodes.items()
            if node.get("relation_name") and _names_of(node)
        }

    @cached_property
    def _target(self) -> Path:
        return self.place / "target"

    def _own_arguments(self, command: str, project: Path) -> list[str]:
        places = ["--project-dir", str(project), "--profiles-dir", str(self.place)]
        choice = ["--profile", PROFILE, "--target", self.project.target]
        folders = ["--target-path", str(self._target), "--log-path", str(self.place / "logs")]
        variables = ["--vars", json.dumps(dict(self.project.variables))] if self.project.variables else []
        return [*places, *choice, *variables, *([] if command in ("deps", "debug") else folders)]

    def _variables(self) -> dict[str, str]:
        quiet = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DBT_USE_COLORS": "false", "NO_COLOR": "1"}
        # deps and debug have no options for the log path and the target path.
        quiet |= {"DBT_LOG_PATH": str(self.place / "logs"), "DBT_TARGET_PATH": str(self._target)}
        # A PYTHONWARNINGS of the test run must not affect dbt.
        return {**quiet, "PYTHONWARNINGS": "", **self.project.environment}

    def write_profile(self) -> None:
        """Write the profile file, unless the file has this content already."""
        import yaml

        data = self.place / _DATA
        output: dict[str, Any] = {
            **self.project.settings,
            "type": "duckdb",
            "path": str(data / f"{PROFILE}.duckdb"),
            "schema": self.project.schema,
            "threads": self.project.threads,
        }
        if names := self._parsed.get("attached"):
            files = [{"path": str(data / f"{name}.duckdb"), "alias": name} for name in names]
            output["attach"] = [*output.get("attach", ()), *files]
        document = {PROFILE: {"target": self.project.target, "outputs": {self.project.target: output}}}
        text = yaml.safe_dump(document, sort_keys=False)
        # dbt parses the whole project again when the profile has changed.
        if not self.profiles_yml.exists() or self.profiles_yml.read_text(encoding="utf-8") != text:
            self.profiles_yml.write_text(text, encoding="utf-8")

    @property
    def _parsed(self) -> dict[str, Any]:
        """The state after the last parsing: the digest of the project, and the attached databases."""
        try:
            return json.loads((self.place / _STATE).read_text(encoding="utf-8"))  # type: ignore[no-any-return]
        except (FileNotFoundError, ValueError):
            return {}

    def _write_parsed(self, parsed: Mapping[str, Any]) -> None:
        (self.place / _STATE).write_text(json.dumps(parsed), encoding="utf-8")

    def _project_digest(self) -> str:
        """Return a digest of names, sizes and times of the project's files, and of the variables that they name."""
        digest, environment = hashlib.sha256(), {**os.environ, **self.project.environment}
        for folder, names, files in os.walk(self.project.path):
            names[:] = sorted(name for name in names if name not in _NOT_OF_THE_PROJECT)
            for file in (Path(folder, name) for name in sorted(files)):
                state = file.lstat()
                # Neither a database beside the models nor a large seed has code in it.
                is_code = file.is_file() and state.st_size <= _LARGEST_CODE
                named = _ENV_VAR.findall(file.read_bytes()) if is_code else ()
                values = [environment.get(name.decode()) for name in named]
                digest.update(repr((str(file), state.st_size, state.st_mtime_ns, values)).encode())
        return digest.hexdigest()

    def _relation(self, name: str) -> Relation:
        nodes = self._nodes
        found = {known: node for node in nodes.values() for known in _names_of(node)}
        node = found.get(name)
        if node is None:
            near = difflib.get_close_matches(name, found, n=3) or sorted(found)[:10]
            raise ToolkitMisuse(
                f"{name!r} is no source and no node of the project {self.project.path.name}. There is "
                f"{', '.join(near) or 'none'}; a source is named with its group: raw.ships."
            )
        return _relation_of(node)

    @property
    def _nodes(self) -> dict[str, Any]:
        manifest = self.manifest
        return {**manifest["sources"], **manifest["nodes"]}

    def _ask(self, statements: Sequence[tuple[str, Any]], *, replaced: Relation | None = None) -> dict[str, Any]:
        attached = {name: str(self.folder / f"{name}.duckdb") for name in self._parsed.get("attached", ())}
        request = {
            "path": str(self.path),
            "attached": attached,
            "replaced": replaced and [replaced.database, replaced.schema, replaced.identifier],
            "statements": statements,
        }
        done = subprocess.run(
            [self.dbt.python, "-I", duckdb_script.__file__],
            cwd=self.project.path,  # views on files hold the paths of the project, which may be relative to it
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_COMMAND,
        )
        if done.returncode:
            raise ToolkitMisuse(f"{self.dbt.python} cannot read DuckDB files:\n{done.stderr[-2000:]}")
        said: dict[str, Any] = json.loads(done.stdout)
        if "error" in said:
            raise ToolkitMisuse(f"DuckDB refuses {said['sql']!r}: {said['error']}")
        return said


def _relation_of(node: Mapping[str, Any]) -> Relation:
    return Relation(
        database=node["database"] or PROFILE,
        schema=node["schema"],
        identifier=node.get("identifier") or node["alias"],
        types={each["name"]: each["data_type"] for each in node["columns"].values() if each.get("data_type")},
    )


def _names_of(node: Mapping[str, Any]) -> list[str]:
    """Return the names of a source or node in tests; empty for nodes without a table, such as tests."""
    kind = node["resource_type"]
    if kind == "source":
        return [f"{node['source_name']}.{node['name']}"]
    if kind not in ("model", "seed", "snapshot"):
        return []
    name = f"{node['name']}.v{node['version']}" if node.get("version") else str(node["name"])
    return [name, f"{node['package_name']}.{name}"]


def _time_of(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def open_warehouse(project: ProjectSettings, dbt: KeptDbt, *, place: Path, folder: Path, root: Path) -> DuckDBWarehouse:
    """Return the empty warehouse of a test, in a place of the cache that earlier tests have used.

    :param project: the project and its settings.
    :param dbt: the environment in which dbt is installed.
    :param place: the folder whose content outlives the test; no other test uses it at the same time.
    :param folder: the test's own folder; made when missing.
    :param root: the root directory of the tests.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = place / _DATA
    data.unlink(missing_ok=True)
    data.symlink_to(folder.resolve(), target_is_directory=True)
    warehouse = DuckDBWarehouse(project=project, dbt=dbt, place=place, folder=folder, root=root)
    warehouse.write_profile()
    return warehouse
