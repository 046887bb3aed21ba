"""Every command on every release of dbt that can be had here, for real, against DuckDB: the table of dbt-versions.md.

Each cell is what this test has seen. A cell that differs from the page fails with both.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import duckdb
import psutil
import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from cosmos_venv.operators import virtualenv
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping
from cosmos_venv.project.graph import DbtGraph
from tests.engines import ENGINES, OLD_ENGINES, Engine
from tests.installed import IS_CI, ROOT, copy_of_example
from tests.postgres import IS_MISSING, Postgres

PAGE = ROOT / "docs" / "dbt-versions.md"
WORKS = "works"
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
ENDLESS = """\
{{ config(materialized='table', tags=['failing']) }}
select count(*) as n from range(100000000000) a, range(1000) b where a.range % 7 = b.range % 3
"""
COMPUTING_SECONDS = 6  # of a processor: longer than any release takes to parse the project
FRESHNESS = """\
    config:
      loaded_at_field: "cast('2026-01-01' as timestamp)"
      freshness: {warn_after: {count: 1, period: hour}}
"""

needs_postgres = pytest.mark.skipif(IS_MISSING and not IS_CI, reason="no PostgreSQL in .cache/envs: make test makes it")
pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]


ON_POSTGRES = """
models:
  - name: fleet
    columns: [{name: seats, data_tests: [not_null]}]
unit_tests:
  - name: seats_are_added
    model: fleet
    given:
      - input: ref('stg_vessels')
        rows: [{seats: 2}, {seats: 3}]
    expect: {rows: [{seats: 5}]}
"""


@dataclass(frozen=True, kw_only=True)
class Harbor:
    """The example project with one release of dbt, and its database.

    :param engine: the release.
    :param folder: of project, database and environments.
    :param profile: how dbt reaches the database.
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
            profile_config=self.profile,
            virtualenv_dir=self.folder / "environments",
            **{**self.engine.arguments, "install_deps": False, **given},
        )

    def execute(self, command: str, **given: Any) -> Any:
        """Run a command to its end."""
        return self.operator(command, **given).execute({})

    def output(self, command: str, **given: Any) -> list[str]:
        """Every line of a command."""
        operator = self.operator(command, **given)
        lines: list[str] = operator.run_command(*operator.build_cmd({}), {}).full_output
        return lines

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "harbor.duckdb")) as database:
            return database.execute(query).fetchall()

    def graph(self, method: LoadMode, manifest: Path | None = None, **given: Any) -> DbtGraph:
        """The project, loaded."""
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
    target = f"{{type: duckdb, path: '{database}', threads: 2}}"
    (harbor.project / "profiles.yml").write_text(f"harbor: {{target: dev, outputs: {{dev: {target}}}}}\n")
    return harbor


def forget_other_dbt(project: Path) -> None:
    """Let the snapshot, which names another dbt for itself, run with that of the others."""
    snapshot = project / "snapshots" / "vessels_history.yml"
    snapshot.write_text(re.sub(r"      meta:\n.*", "", snapshot.read_text(), flags=re.DOTALL))


def seed(harbor: Harbor) -> str:
    harbor.execute("Seed")
    assert harbor.rows("select count(*) from piers")[0][0] > 0
    return WORKS


def run(harbor: Harbor) -> str:
    harbor.execute("Run", exclude="tag:failing")
    assert harbor.rows("select passengers > 0 from route_total") == [(True,)]
    return WORKS


def run_with_full_refresh(harbor: Harbor) -> str:
    harbor.rows("insert into fct_crossings select * from fct_crossings limit 1")
    doubled = harbor.rows("select count(*) from fct_crossings")[0][0]
    harbor.execute("Run", select="fct_crossings", full_refresh=True)
    assert harbor.rows("select count(*) from fct_crossings")[0][0] == doubled - 1
    return WORKS


def snapshot(harbor: Harbor) -> str:
    harbor.execute("Snapshot")
    assert harbor.rows("select count(*) from vessels_history")[0][0] > 0
    return WORKS


def data_tests(harbor: Harbor) -> str:
    warned: list[list[str]] = []
    harbor.execute(
        "Test",
        exclude="tag:failing test_type:unit",
        on_warning_callback=lambda context: warned.append(context["test_names"]),
    )
    assert warned == [["unique_loose_id"]]
    return WORKS


def failing_test(harbor: Harbor) -> str:
    with pytest.raises(AirflowException) as failure:
        harbor.execute("Build", select="tight")
    assert "test.harbor.unique_tight_id" in str(failure.value)
    assert "fail: Got 1 result" in str(failure.value)
    return WORKS


def unit_tests(harbor: Harbor) -> str:
    harbor.execute("Test", select="test_type:unit")
    return WORKS


def build(harbor: Harbor) -> str:
    harbor.execute("Build", exclude="tag:failing")
    return WORKS


def model_that_fails(harbor: Harbor) -> str:
    with pytest.raises(AirflowException) as failure:
        harbor.execute("Run", select="broken")
    first, second, *_ = str(failure.value).splitlines()
    assert first.endswith("non-zero exit code 1.")
    assert second.startswith("model.harbor.broken: error: ")
    assert str(failure.value).count('"nothing_of_that_name" not found') == 1
    assert "<unknown>" not in str(failure.value)
    return WORKS


def ls(harbor: Harbor) -> str:
    assert "harbor.staging.stg_vessels" in harbor.output("LS", select="stg_vessels")
    return WORKS


def run_operation(harbor: Harbor) -> str:
    harbor.execute("RunOperation", macro_name="sign")
    assert harbor.rows("select id from signed") == [(7,)]
    return WORKS


def source_freshness(harbor: Harbor) -> str:
    if harbor.engine.is_native:
        with pytest.raises(
            AirflowException, match="does not have the command source freshness and has done nothing"
        ) as failure:
            harbor.execute("Source")
        said = re.search(r"Unhandled command: \w+", str(failure.value))
        assert said
        return f"not in dbt 2, the task fails: `{said.group()}`"
    warned: list[list[str]] = []
    harbor.execute("Source", on_warning_callback=lambda context: warned.append(context["test_names"]))
    assert warned == [["ticketing.crossings"]]
    return WORKS


def compiled_sql(harbor: Harbor) -> str:
    operator = harbor.operator("Run", select="stg_vessels")
    operator.execute({})
    assert "as is_in_service" in operator.compiled_sql
    assert "models/staging/stg_vessels.sql" in operator.compiled_sql
    return WORKS


def deps(harbor: Harbor) -> str:
    package = harbor.folder / "signals"
    (package / "models").mkdir(parents=True)
    (package / "dbt_project.yml").write_text("name: signals\nversion: '1.0'\n")
    (package / "models" / "lamps.sql").write_text("select 3 as lamps\n")
    packages = harbor.project / "packages.yml"
    packages.write_text("packages: [{local: ../signals}]\n")
    try:
        harbor.execute("Run", select="lamps", install_deps=True)
    finally:
        packages.unlink()
    assert harbor.rows("select lamps from lamps") == [(3,)]
    return WORKS


def kill(harbor: Harbor) -> str:
    model = harbor.project / "models" / "endless.sql"
    model.write_text(ENDLESS)
    operator = harbor.operator("Run", select="endless", warm_dbt="off")
    below: list[psutil.Process] = []

    def end_the_task_when_dbt_computes() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [each for each in psutil.Process().children(recursive=True) if "endless" in each.cmdline()]
            if found and max(each.cpu_times().user for each in found) > COMPUTING_SECONDS:
                below.extend(found)
                break
            time.sleep(0.05)
        operator.on_kill()

    ender = threading.Thread(target=end_the_task_when_dbt_computes)
    ender.start()
    try:
        with pytest.raises(AirflowException, match="was killed; its dbt was ended"):
            operator.execute({})
    finally:
        ender.join()
        model.unlink()
    assert below
    assert not any(each.is_running() for each in below)
    return WORKS


def docs(harbor: Harbor) -> str:
    found: list[str] = []
    harbor.execute("Docs", callback=lambda folder, **_: found.extend(path.name for path in Path(folder).rglob("*.*")))
    assert {"manifest.json", "catalog.json"} <= set(found)
    return WORKS if "index.html" in found else "differs: `compile --write-catalog` runs, and writes no `index.html`"


def state(harbor: Harbor) -> str:
    (harbor.folder / "state").mkdir(exist_ok=True)
    shutil.copy(_manifest(harbor), harbor.folder / "state")
    model = harbor.project / "models" / "route_total.sql"
    before = model.read_text()
    try:
        model.write_text(before.replace("sum(", "2 * sum("))
        listed = harbor.output("LS", state=str(harbor.folder / "state"), select="state:modified")
    finally:
        model.write_text(before)
    assert [line for line in listed if line.startswith("harbor.")] == ["harbor.route_total", *_tests_of(listed)]
    return WORKS


def _tests_of(listed: list[str]) -> list[str]:
    return [line for line in listed if line.startswith("harbor.") and "a_route_has_a_share" in line]


def clone(harbor: Harbor) -> str:
    (harbor.folder / "state").mkdir(exist_ok=True)
    shutil.copy(_manifest(harbor), harbor.folder / "state")
    harbor.execute("Clone", state=str(harbor.folder / "state"), select="stg_vessels")
    return WORKS


def load_by_dbt_ls(harbor: Harbor) -> str:
    listed = harbor.graph(LoadMode.DBT_LS).nodes
    assert set(listed) == set(harbor.graph(LoadMode.DBT_MANIFEST, _manifest(harbor)).nodes)
    return WORKS


def load_manifest(harbor: Harbor) -> str:
    graph = harbor.graph(LoadMode.DBT_MANIFEST, _manifest(harbor), select=["+route_days"])
    assert {"model.harbor.route_days", "seed.harbor.vessels"} <= set(graph.filtered_nodes)
    assert "model.harbor.fct_crossings" in graph.nodes["model.harbor.route_days"].depends_on
    return WORKS


def _manifest(harbor: Harbor) -> Path:
    kept = harbor.folder / "manifest" / "manifest.json"
    if not kept.exists():
        kept.parent.mkdir()

        def keep(folder: str, **_: Any) -> None:
            (found,) = Path(folder).rglob("manifest.json")
            shutil.copy(found, kept)

        harbor.execute("LS", callback=keep)
    return kept


ROWS: dict[str, Callable[[Harbor], str]] = {
    "`seed`": seed,
    "`run`": run,
    "`run --full-refresh`": run_with_full_refresh,
    "a model that fails": model_that_fails,
    "`snapshot`": snapshot,
    "`test`, with a warning": data_tests,
    "a test that fails": failing_test,
    "unit tests": unit_tests,
    "`build`": build,
    "`ls`": ls,
    "`run-operation`": run_operation,
    "`deps`": deps,
    "compiled SQL in Airflow": compiled_sql,
    "a kill": kill,
    "`source freshness`": source_freshness,
    "`docs generate`": docs,
    "`state:modified`": state,
    "`clone`": clone,
    "loading by `dbt ls`": load_by_dbt_ls,
    "loading a manifest": load_manifest,
}


def cells(table: str = "on DuckDB", count: int = len(ROWS)) -> dict[str, dict[str, str]]:
    """A table of the page: row -> engine -> cell."""
    lines = [line.strip("| \n").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if "|" in line]
    start = next(number for number, line in enumerate(lines) if line[0] == table)
    _, *engines = lines[start]
    rows = lines[start + 2 : start + 2 + count]
    return {row: dict(zip(engines, cells, strict=True)) for row, *cells in rows}


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: engine.name)
def harbor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Harbor:
    engine: Engine = request.param
    engine.require()
    return make_harbor(engine, tmp_path_factory.mktemp(f"dbt-{engine.name}"))


@pytest.mark.xdist_group("dbt-versions")
@pytest.mark.parametrize("row", ROWS)
def test_each_cell_of_the_page_is_what_happens(harbor: Harbor, row: str) -> None:
    if not (harbor.folder / "harbor.duckdb").exists() and row != next(iter(ROWS)):
        harbor.execute("Build", exclude="tag:failing")

    assert ROWS[row](harbor) == cells()[row][f"dbt {harbor.engine.name}"]


def test_the_page_has_a_cell_for_each_row_and_release() -> None:
    found = cells()

    assert list(found) == list(ROWS)
    assert all(list(row) == [f"dbt {engine.name}" for engine in ENGINES] for row in found.values())


def make_harbor_on_postgres(engine: Engine, folder: Path, schema: str) -> Harbor:
    """What of the project needs no file beside the database: seeds, a snapshot, models, a test and a unit test."""
    mapping = PostgresUserPasswordProfileMapping("warehouse", {"schema": schema})
    harbor = Harbor(engine=engine, folder=folder, profile=ProfileConfig("harbor", "dev", profile_mapping=mapping))
    copy_of_example(harbor.project, "marts", "landing", "tests")
    staging = harbor.project / "models" / "staging"
    for name in ("_ticketing.yml", "_staging.yml", "stg_crossings.sql"):
        (staging / name).unlink()
    (staging / "fleet.sql").write_text("select sum(seats) as seats from {{ ref('stg_vessels') }}\n")
    (staging / "fleet.yml").write_text(ON_POSTGRES)
    forget_other_dbt(harbor.project)
    return harbor


@needs_postgres
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_the_cell_of_postgres_is_what_happens(
    engine: Engine, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.require()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.connection)
    schema = f"of_dbt_{engine.name.replace('.', '_')}"
    harbor = make_harbor_on_postgres(engine, tmp_path, schema)
    if engine.is_native:
        with pytest.raises(AirflowException) as failure:
            harbor.execute("Build")
        said = re.search(r"The 'postgres' adapter is not yet supported by dbt Fusion", str(failure.value))
        assert said
        seen = f"not in dbt 2, the task fails: `{said.group()}`"
    else:
        requirements = [*engine.requirements, "dbt-postgres"]
        harbor.execute("Build", py_requirements=requirements)
        assert postgres.rows(f"table {schema}.fleet") == [["636"]]
        assert len(postgres.rows(f"table {schema}.vessels_history")) == 4
        seen = WORKS

    assert cells("on PostgreSQL", 1)["`build`"][f"dbt {engine.name}"] == seen


def test_dbt_1_12_runs_without_the_parser_that_downloads_while_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (engine,) = (each for each in ENGINES if each.name == "1.12")
    engine.require()
    (tmp_path / "excluded.txt").write_text("dbt-core-experimental-parser\n")
    monkeypatch.setenv("UV_EXCLUDE", str(tmp_path / "excluded.txt"))
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_INSTALLER", "uv")

    seed(make_harbor(replace(engine, requirements=("dbt-core==1.12.0", "dbt-duckdb")), tmp_path))

    assert not list(tmp_path.glob("environments/envs-v1/builds/*/lib/*/site-packages/dbt_core_experimental_parser*"))


def older(text: str) -> str:
    """A YAML file of the project as releases before 1.8 take it."""
    text = re.sub(r"flags:\n(  .*\n)+", "", text.replace("data_tests:", "tests:"))
    text = re.sub(r"arguments:\n\s+(values: .*)", r"\1", text)
    return re.sub(r"    config:\n((?:      .*\n)+)", lambda block: indent(dedent(block[1]), "    "), text)


@pytest.mark.parametrize("engine", OLD_ENGINES, ids=lambda engine: engine.name)
def test_a_release_that_the_seed_documents_name_builds_the_project(engine: Engine, tmp_path: Path) -> None:
    """Without what came later: unit tests (1.8) and snapshots in YAML (1.9)."""
    engine.require()
    harbor = make_harbor(engine, tmp_path)
    (harbor.project / "models" / "more.yml").unlink()
    shutil.rmtree(harbor.project / "snapshots")
    for file in harbor.project.rglob("*.yml"):
        file.write_text(older(file.read_text()))

    harbor.execute("Build", exclude="broken tight loose")

    assert harbor.rows("select count(*) from fct_crossings")[0][0] > 0
