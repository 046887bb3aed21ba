"""The example project with one release of dbt, on DuckDB, and the page that says what works with which release."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from cosmos_venv.operators import local, virtualenv
from cosmos_venv.project.graph import DbtGraph
from tests.engines import Engine
from tests.installed import ROOT, copy_of_example

PAGE = ROOT / "docs" / "how-to" / "environments" / "dbt-versions.md"
WORKS = "works"
OTHER_TARGETS = ("prod", "empty")
UNIT_TESTS = """
unit_tests:
  - name: a_route_has_a_share
    model: route_total
    given:
      - input: ref('fct_crossings')
        rows: [{passengers: 2}, {passengers: 3}]
    expect: {rows: [{passengers: 5}]}
models:
  - name: loose
    columns: [{name: id, data_tests: [{unique: {config: {severity: warn}}}]}]
  - name: tight
    config: {tags: [failing]}
    columns: [{name: id, data_tests: [{unique: {config: {tags: [failing]}}}]}]
  - name: broken
    config: {tags: [failing]}
"""
FRESHNESS = """\
    config:
      loaded_at_field: "cast('2026-01-01' as timestamp)"
      freshness: {warn_after: {count: 1, period: hour}}
"""


@dataclass(frozen=True, kw_only=True)
class Harbor:
    """The example project with one release of dbt, and its database.

    :param engine: the release of dbt.
    :param folder: the folder of project, database and environments.
    :param profile: the profile with the database.
    """

    engine: Engine
    folder: Path
    profile: ProfileConfig

    @property
    def project(self) -> Path:
        return self.folder / "harbor"

    def operator(self, command: str, **given: Any) -> Any:
        """A virtualenv operator, not run yet."""
        return getattr(virtualenv, f"Dbt{command}VirtualenvOperator")(
            task_id=command.lower(),
            project_dir=self.project,
            virtualenv_dir=self.folder / "environments",
            **{**self.engine.arguments, "profile_config": self.profile, "install_deps": False, **given},
        )

    def execute(self, command: str, **given: Any) -> Any:
        """Run a command to its end."""
        return self.operator(command, **given).execute({})

    def local(self, command: str, **given: Any) -> Any:
        """A local operator with the dbt of the environment that a virtualenv operator has built, not run yet."""
        return getattr(local, f"Dbt{command}LocalOperator")(
            task_id=command.lower(),
            project_dir=self.project,
            profile_config=self.profile,
            **{"dbt_executable_path": self.program, "install_deps": False, **given},
        )

    @property
    def program(self) -> Path:
        """The dbt executable of the environment that a virtualenv operator has built."""
        return next(self.folder.glob("environments/envs-v2/*/bin/dbt"))

    def of_target(self, target: str) -> ProfileConfig:
        """The profile with another target, whose schema has the target's name, in the same database."""
        return ProfileConfig("harbor", target, profiles_yml_filepath=self.project / "profiles.yml")

    def output(self, command: str, **given: Any) -> list[str]:
        """Run a command, and return all lines of its output."""
        operator = self.operator(command, **given)
        lines: list[str] = operator.run_command(*operator.build_cmd({}), {}).full_output
        return lines

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "harbor.duckdb")) as database:
            return database.execute(query).fetchall()

    def has(self, table: str) -> bool:
        """Whether dbt has made a table of this name for the first target."""
        found = f"select 1 from information_schema.tables where table_schema = 'main' and table_name = '{table}'"  # noqa: S608 - a table's name
        # Connecting would create a missing file, in a format that the older DuckDB of dbt cannot read.
        return (self.folder / "harbor.duckdb").exists() and bool(self.rows(found))

    def graph(self, method: LoadMode, manifest: Path | None = None, **given: Any) -> DbtGraph:
        """Load the project, and return its graph."""
        graph = DbtGraph(
            project=ProjectConfig(self.project, manifest_path=manifest, install_dbt_deps=False),
            render_config=RenderConfig(load_method=method, **given),
            execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV),
            profile_config=self.profile,
            operator_args={**self.engine.arguments, "virtualenv_dir": str(self.folder / "environments")},
        )
        graph.load()
        return graph


def make_harbor(engine: Engine, folder: Path) -> Harbor:
    profile = ProfileConfig("harbor", "dev", profiles_yml_filepath=folder / "harbor" / "profiles.yml")
    harbor = Harbor(engine=engine, folder=folder, profile=profile)
    copy_of_example(harbor.project)
    forget_other_dbt(harbor.project)
    models = harbor.project / "models"
    (models / "more.yml").write_text(UNIT_TESTS)
    (models / "route_total.sql").write_text("select sum(passengers) as passengers from {{ ref('fct_crossings') }}\n")
    for name in ("loose", "tight"):
        (models / f"{name}.sql").write_text("select 1 as id union all select 1\n")
    (models / "broken.sql").write_text("select nothing_of_that_name from (select 1 as a)\n")
    sources = models / "staging" / "_ticketing.yml"
    sources.write_text(sources.read_text().replace("    config:\n", FRESHNESS))
    macro = "{% macro sign() %}{% do run_query('create or replace table signed as select 7 as id') %}{% endmacro %}"
    (harbor.project / "macros").mkdir()
    (harbor.project / "macros" / "sign.sql").write_text(macro)
    database = folder / "harbor.duckdb"
    target = f"type: duckdb, path: '{database}', threads: 2"
    others = ", ".join(f"{name}: {{{target}, schema: {name}}}" for name in OTHER_TARGETS)
    outputs = f"{{dev: {{{target}}}, {others}}}"
    (harbor.project / "profiles.yml").write_text(f"harbor: {{target: dev, outputs: {outputs}}}\n")
    return harbor


def forget_other_dbt(project: Path) -> None:
    """Remove the snapshot's own requirement of another dbt, so that it runs with the same dbt as all nodes."""
    snapshot = project / "snapshots" / "vessels_history.yml"
    snapshot.write_text(re.sub(r"      meta:\n.*", "", snapshot.read_text(), flags=re.DOTALL))


def cells(table: str) -> dict[str, dict[str, str]]:
    """Return a table of the page: row -> engine -> cell.

    :param table: the first cell of its header, such as ``on DuckDB``.
    """
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    start = next(number for number, line in enumerate(lines) if line[0] == table)
    _, *engines = lines[start]
    rows = lines[start + 2 : lines.index([""], start)]
    return {row: dict(zip(engines, cells, strict=True)) for row, *cells in rows}
