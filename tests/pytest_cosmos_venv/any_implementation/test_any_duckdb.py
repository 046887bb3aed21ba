"""The DAG of any implementation runs on the DuckDB file of a test, in the two modes that most people use."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from pytest_cosmos_venv import CosmosAirflow, CosmosDuckDB, CosmosProject, Implementation


@pytest.mark.long
@pytest.mark.parametrize("mode", ["local", "virtualenv"])
def test_a_dag_for_another_database_runs_on_duckdb(
    cosmos_duckdb: CosmosDuckDB,
    cosmos_airflow: CosmosAirflow,
    cosmos_implementation: Implementation,
    cosmos_project: CosmosProject,
    mode: str,
) -> None:
    project = cosmos_project("fleet")
    project.source("raw", tables=["ships"])
    project.model("fct_ships", "select id, upper(name) as name from {{ source('raw', 'ships') }}")
    config, constants = (cosmos_implementation.module(name) for name in ("config", "constants"))
    mapping = cosmos_implementation.module("profiles").PostgresUserPasswordProfileMapping
    dag = cosmos_implementation.module().DbtDag(
        dag_id="fleet",
        project_config=config.ProjectConfig(project.path, manifest_path=project.manifest()),
        profile_config=config.ProfileConfig(
            profile_name="fleet", target_name="prod", profile_mapping=mapping("warehouse", {"schema": "public"})
        ),
        execution_config=config.ExecutionConfig(execution_mode=constants.ExecutionMode(mode)),
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        schedule=None,
    )
    profiles = [task.profile_config for task in dag.tasks]
    warehouse = cosmos_duckdb(project.path, sources={"raw.ships": [{"id": 1, "name": "Ada"}]}, target="prod")

    outcome = cosmos_airflow.run(cosmos_duckdb.redirect(dag, warehouse))

    assert outcome.succeeded, str(outcome)
    assert warehouse.rows("fct_ships") == [{"id": 1, "name": "ADA"}]
    cosmos_duckdb.close()
    assert [task.profile_config for task in dag.tasks] == profiles
