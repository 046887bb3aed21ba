"""The dbt tasks of a user's DAG run on the DuckDB file of a test, and the DAG is as before afterwards."""

from __future__ import annotations

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
