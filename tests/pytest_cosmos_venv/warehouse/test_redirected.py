"""The dbt tasks of a user's DAG run on the DuckDB file of a test, and the DAG is as before afterwards."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosAirflow, CosmosDuckDB, Implementation
from tests.installed import needs_dbt_wheels

pytestmark = [pytest.mark.long, needs_dbt_wheels]

ROWS = [{"ship": "Ada", "port": "N", "arrived_at": datetime.fromisoformat("2026-01-01T12:00"), "cargo_t": 1.5}]


def production_dag(implementation: Implementation, project: Path, **execution: Any) -> Any:
    """A DAG as it stands in production: a Connection to PostgreSQL that nobody has here."""
    config = implementation.module("config")
    mapping = implementation.module("profiles").PostgresUserPasswordProfileMapping
    return implementation.module().DbtDag(
        dag_id="fleet",
        project_config=config.ProjectConfig(project, manifest_path=project / "target" / "manifest.json"),
        profile_config=config.ProfileConfig(
            profile_name="production", target_name="prod", profile_mapping=mapping("warehouse", {"schema": "public"})
        ),
        execution_config=config.ExecutionConfig(**execution),
        render_config=config.RenderConfig(
            exclude=["tag:postgres"],
            select=["+by_port"],
        ),
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        schedule=None,
    )


def test_one_operator_fails_as_dbt_fails(
    cosmos_duckdb: CosmosDuckDB, cosmos_airflow: CosmosAirflow, cosmos_implementation: Implementation, fleet: Path
) -> None:
    modes = cosmos_implementation.module("constants").ExecutionMode
    dag = production_dag(cosmos_implementation, fleet, execution_mode=modes("local"))
    warehouse = cosmos_duckdb(fleet, sources={"raw.arrivals": [{**ROWS[0], "ship": None}]}, target="prod")
    cosmos_duckdb.redirect(dag, warehouse)

    built = cosmos_airflow.run(dag.get_task("arrivals.run"))
    tested = cosmos_airflow.run(dag.get_task("arrivals.test"))

    assert built.state == "success"
    assert tested.state == "failed"
    assert "not_null_arrivals_ship" in tested.log


DAG_FILE = """
from datetime import datetime
from cosmos_venv import DbtDag, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping as Mapping

fleet = DbtDag(
    dag_id="fleet",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    project_config=ProjectConfig({folder!r}, manifest_path={manifest!r}),
    profile_config=ProfileConfig("production", "prod", profile_mapping=Mapping("warehouse", {{"schema": "public"}})),
    render_config=RenderConfig(select=["arrivals"]),
)
"""


def test_a_loaded_dag_runs_on_a_project_that_is_named_from_the_root_of_the_tests(
    cosmos_duckdb: CosmosDuckDB,
    cosmos_airflow: CosmosAirflow,
    fleet: Path,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, ships = tmp_path / "fleet.py", tmp_path / "ships.csv"
    file.write_text(DAG_FILE.format(folder=str(fleet), manifest=str(fleet / "target" / "manifest.json")))
    ships.write_text("ship,port,arrived_at,cargo_t\nAda,N,2026-01-01T12:00,1.5\n")
    monkeypatch.chdir(tmp_path)
    from_root = [os.path.relpath(path, pytestconfig.rootpath) for path in (fleet, ships)]

    warehouse = cosmos_duckdb(from_root[0], sources={"raw.arrivals": from_root[1]}, target="prod")
    loaded = cosmos_airflow.load(file, connections="made up")
    outcome = cosmos_duckdb.redirect(loaded, warehouse).run()

    assert outcome.states == {"arrivals.run": "success", "arrivals.test": "success"}
    assert [row["ship"] for row in warehouse.rows("arrivals")] == ["Ada"]
