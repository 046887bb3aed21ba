"""Sensors of fresh sources and the assets of sources, with a real dbt on real schedulers: Airflow 3.3, 3.0 and 2.11."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest

from tests.installed import DBT, needs_dbt
from tests.operators.executors import Running, Stack, running_stack
from tests.operators.real_scheduler import logs, wait_until
from tests.postgres import Postgres

STACKS = [
    Stack(release=3, executor="LocalExecutor", has_triggerer=True),
    Stack(release=3, executor="LocalExecutor", has_triggerer=True, environment="airflow30", is_exhaustive=True),
    Stack(release=2, executor="LocalExecutor", has_triggerer=True, is_exhaustive=True),
]

DAG_FILE = """
# Airflow looks only into files in which its name stands.
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG, EmptyOperator, asset

PROJECT = Path({project!r})
start = datetime(2026, 1, 1, tzinfo=timezone.utc)
WAITS = {{"deferred": {{"deferrable": True, "poke_interval": 1}}, "rescheduled": {{"poke_interval": 10}}}}
for dag_id, waiting in WAITS.items():
    globals()[dag_id] = DbtDag(
        dag_id=dag_id,
        schedule=None,
        start_date=start,
        max_active_tasks=1,
        project_config=ProjectConfig(PROJECT, install_dbt_deps=False),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        execution_config=ExecutionConfig("local", dbt_executable_path={dbt!r}, invocation_mode="subprocess"),
        render_config=RenderConfig(
            load_method="dbt_ls",
            dbt_executable_path={dbt!r},
            source_rendering_behavior="all",
            wait_for_sources=True,
            test_behavior="none",
        ),
        operator_args={{"emit_source_assets": True, **waiting}},
    )
with DAG("report", schedule=[asset({uri!r})], start_date=start, is_paused_upon_creation=False):
    EmptyOperator(task_id="report")
"""
SOURCES = """
sources:
  - name: raw
    schema: main
    config: {loaded_at_field: at_time, freshness: {error_after: {count: 1, period: hour}}}
    tables: [{name: ships, identifier: raw_ships}]
"""
WAITS = {"deferred": "deferred", "rescheduled": "up_for_reschedule"}


@dataclass
class Harbor:
    """A stack with two DAGs that wait for one source, each in its way."""

    stack: Running
    database: Path

    def load(self, age: str) -> None:
        """Give the source one row of this age, in a moment when no dbt has the database."""
        row = f"create or replace table raw_ships as select now()::timestamp - interval '{age}' as at_time, 1 as id"

        def has_written() -> bool:
            try:
                with duckdb.connect(str(self.database)) as database:
                    database.execute(row)
            except duckdb.IOException:
                return False
            return True

        wait_until(has_written, "no dbt has the database", self.stack.airflow)

    def trigger(self, dag_id: str, run_id: str) -> None:
        self.stack.airflow.airflow("dags", "trigger", dag_id, "--run-id", run_id)

    def state(self, dag_id: str, run_id: str) -> str:
        (row,) = self._ask(f"select state from dag_run where dag_id = '{dag_id}' and run_id = '{run_id}'")  # noqa: S608
        return str(row[0])

    def await_end(self, dag_id: str, run_id: str) -> None:
        wait_until(lambda: self.state(dag_id, run_id) in ("success", "failed"), f"{run_id} ends", self.stack.airflow)
        assert self.state(dag_id, run_id) == "success", logs(self.stack.airflow)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the events of the source carry."""
        kind = "asset" if self.stack.stack.release == 3 else "dataset"
        rows = self._ask(
            f"select {kind}_event.extra from {kind}_event join {kind} on {kind}.id = {kind}_event.{kind}_id "  # noqa: S608
            f"where uri like '%raw_ships' order by {kind}_event.id"
        )
        return [extra if isinstance(extra, dict) else json.loads(extra) for (extra,) in rows]

    @property
    def reports(self) -> int:
        """How often the DAG has run that waits for the source."""
        return len(self._ask("select 1 from dag_run where dag_id = 'report'"))

    def _ask(self, statement: str) -> list[Any]:
        return self.stack.airflow.ask(statement)


@pytest.fixture(params=[stack.parameter() for stack in STACKS])
def harbor(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres, dbt_project: Path) -> Iterator[Harbor]:
    database = tmp_path / "harbor.duckdb"
    (dbt_project / "profiles.yml").write_text(
        f"harbor:\n  target: dev\n  outputs:\n    dev:\n"
        f"      {{type: duckdb, path: '{database}', retries: {{connect_attempts: 10}}}}\n"
    )
    models = dbt_project / "models"
    for file in (*models.rglob("*.sql"), *(dbt_project / "seeds").iterdir()):
        file.unlink()
    (models / "sources.yml").write_text(SOURCES)
    (models / "ships.sql").write_text("select * from {{ source('raw', 'ships') }}")
    separator = "/" if request.param.release == 3 else "."
    uri = f"duckdb://{database}/{separator.join(['harbor', 'main', 'raw_ships'])}"
    source = DAG_FILE.format(project=str(dbt_project), dbt=str(DBT), uri=uri)
    # The path of a socket has 107 characters at most.
    with TemporaryDirectory(prefix="cv-", dir="/tmp") as short:
        arguments: dict[str, Any] = {"folder": tmp_path / "airflow", "short": Path(short), "postgres": postgres}
        # DuckDB lets one process write.
        arguments["variables"] = {"AIRFLOW__CORE__PARALLELISM": "1"}
        with running_stack(request.param, source, **arguments) as running:
            yield Harbor(running, database)


@needs_dbt
@pytest.mark.long
@pytest.mark.timeout(600)
def test_models_run_once_their_source_is_fresh_and_a_dag_that_waits_for_it_runs_for_new_data(harbor: Harbor) -> None:
    airflow = harbor.stack.airflow
    harbor.load("3 hours")
    for dag_id in WAITS:
        harbor.stack.unpause(dag_id)
        harbor.trigger(dag_id, "first")
    for dag_id, state in WAITS.items():
        wait_until(
            lambda dag_id=dag_id, state=state: harbor.stack.states(dag_id).get("raw_ships_source") == state,  # type: ignore[misc]
            f"{dag_id} waits",
            airflow,
        )
    assert harbor.events == []
    harbor.load("1 minute")
    for dag_id in WAITS:
        harbor.await_end(dag_id, "first")
        assert harbor.stack.states(dag_id) == {"raw_ships_source": "success", "ships_run": "success"}

    # Two that look at the same moment may both tell of the same data.
    first = harbor.events
    assert 1 <= len(first) <= len(WAITS), logs(airflow)
    assert {each["status"] for each in first} == {"pass"}
    assert set(first[0]) == {"max_loaded_at", "snapshotted_at", "age_seconds", "status"}
    harbor.trigger("deferred", "nothing-new")
    harbor.await_end("deferred", "nothing-new")
    assert harbor.events == first, logs(airflow)

    harbor.load("1 second")
    harbor.trigger("rescheduled", "new-data")
    harbor.await_end("rescheduled", "new-data")
    *before, last = harbor.events
    assert before == first, logs(airflow)
    assert last["max_loaded_at"] > first[-1]["max_loaded_at"]
    wait_until(lambda: harbor.reports > 0, "the DAG that waits for the source runs", airflow)
