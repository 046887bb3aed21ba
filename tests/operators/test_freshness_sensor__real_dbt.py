"""Fresh and stale sources with a real dbt on DuckDB, and the events of their assets in DAGs that run several times."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pytest

from cosmos_venv import DbtDag
from cosmos_venv.compat import ASSET_URIS_HAVE_SLASHES
from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, InvocationMode, LoadMode, SourceRenderingBehavior, TestBehavior
from cosmos_venv.operators.local import DbtSourceFreshnessLocalSensor
from pytest_cosmos_venv import DagOutcome, RunDag, RunTask
from tests.installed import environment_of, needs_dbt
from tests.kit import harbor_profile, operator_arguments

pytestmark = [needs_dbt, pytest.mark.long]

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
SHIPS = "source.harbor.raw.ships"
SOURCES = """
sources:
  - name: raw
    schema: main
    config: {loaded_at_field: at_time, freshness: {error_after: {count: 1, period: hour}}}
    tables:
      - {name: ships, identifier: raw_ships, config: {meta: {cosmos: {operator_kwargs: {timeout: 0}}}}}
      - {name: gone, config: {enabled: false}}
"""


class Load(Protocol):
    """Give the source one row of an age, such as ``3 hours``."""

    def __call__(self, age: str) -> None: ...


class RunHarbor(Protocol):
    """Run a DAG of the project, made anew."""

    def __call__(self, *, emit_source_assets: bool = True) -> DagOutcome: ...


@pytest.fixture
def database(dbt_project: Path, tmp_path: Path) -> Path:
    """The database of a project with one source, and a model that reads it."""
    found = tmp_path / "harbor.duckdb"
    (dbt_project / "profiles.yml").write_text(
        f"harbor:\n  target: dev\n  outputs:\n    dev: {{type: duckdb, path: '{found}'}}\n"
    )
    models = dbt_project / "models"
    for file in (*models.rglob("*.sql"), *(dbt_project / "seeds").iterdir()):
        file.unlink()
    (models / "sources.yml").write_text(SOURCES)
    (models / "ships.sql").write_text("select * from {{ source('raw', 'ships') }}")
    return found


@pytest.fixture
def load(database: Path) -> Load:
    def load(age: str) -> None:
        row = f"create or replace table raw_ships as select now()::timestamp - interval '{age}' as at_time"
        with duckdb.connect(str(database)) as connection:
            connection.execute(row)

    return load


@pytest.fixture
def run(dbt_project: Path, cosmos_run_dag: RunDag, load: Load) -> RunHarbor:
    load("1 minute")
    runs: dict[str, Any] = {
        "dbt_executable_path": environment_of("dbt111") / "bin" / "dbt",
        "invocation_mode": InvocationMode.SUBPROCESS,
    }

    def run(*, emit_source_assets: bool = True) -> DagOutcome:
        dag = DbtDag(
            dag_id="harbor",
            schedule=None,
            start_date=START,
            project_config=ProjectConfig(dbt_project, install_dbt_deps=False),
            profile_config=harbor_profile(dbt_project),
            execution_config=ExecutionConfig(ExecutionMode.LOCAL, **runs),
            render_config=RenderConfig(
                load_method=LoadMode.DBT_LS,
                source_rendering_behavior=SourceRenderingBehavior.ALL,
                wait_for_sources=True,
                test_behavior=TestBehavior.NONE,
                **runs,
            ),
            operator_args={"poke_interval": 0.01, "emit_source_assets": emit_source_assets},
        )
        return cosmos_run_dag(dag)

    return run


def given_by_source(outcome: DagOutcome) -> list[str]:
    return [each.name for each in outcome.tasks["raw_ships_source"].assets]


def test_a_source_gives_its_asset_when_it_has_new_data(run: RunHarbor, load: Load, database: Path) -> None:
    first = run()
    second = run()
    load("1 second")
    third = run()
    load("3 hours")
    stale = run()
    load("0 seconds")
    after = run()

    separator = "/" if ASSET_URIS_HAVE_SLASHES else "."
    uri = f"duckdb://{database}/{separator.join(['harbor', 'main', 'raw_ships'])}"
    assert [given_by_source(each) for each in (first, second, third, stale, after)] == [[uri], [], [uri], [], [uri]]
    assert f"{SHIPS} has no new data since the last event of" in second.tasks["raw_ships_source"].log
    assert {each: task.state for each, task in stale.tasks.items()} == {
        "raw_ships_source": "failed",
        "ships_run": "upstream_failed",
    }
    assert after.tasks["ships_run"].state == "success"


def test_no_asset_of_a_source_is_given_unless_that_is_asked_for(run: RunHarbor) -> None:
    assert given_by_source(run(emit_source_assets=False)) == []


@pytest.mark.parametrize("release", [pytest.param("dbt110", marks=pytest.mark.exhaustive), "dbt111"])
@pytest.mark.parametrize("log", [{}, {"DBT_LOG_FORMAT_FILE": "text"}], ids=["json-log", "text-log"])
def test_a_table_that_is_missing_fails_the_task_at_once_also_beside_a_stale_source(
    release: str,
    log: dict[str, str],
    dbt_project: Path,
    load: Load,
    cosmos_run_task: RunTask,
) -> None:
    load("3 hours")
    sources = dbt_project / "models" / "sources.yml"
    sources.write_text(sources.read_text().replace(", config: {enabled: false}", ""))
    sensor = DbtSourceFreshnessLocalSensor(
        **operator_arguments(dbt_project),
        dbt_executable_path=environment_of(release) / "bin" / "dbt",
        invocation_mode=InvocationMode.SUBPROCESS,
        env=log,
        select="source:raw",
    )

    done = cosmos_run_task(sensor)

    assert done.state == "failed"
    assert "Table with name gone does not exist" in str(done.exception)
    assert f"{SHIPS}: error, age 3:00:" in done.log
