"""Runs that choose nodes, with real releases of dbt in managed environments: dbt selects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from cosmos_venv import DbtDag
from pytest_cosmos_venv import CosmosAirflow, DagOutcome
from tests.engines import DBT_1, DBT_2, Engine
from tests.whole.real_dags import real_dag, write_project

PROJECT = """
name: shop
version: '1.0'
profile: harbor
# A test of orders reads it before it is built.
on-run-start: create table if not exists {{ target.schema }}.report as select 1 as id
"""
MODELS = {
    "orders.sql": "{{ config(materialized='table') }} select {{ var('number', 1) }} as id",
    "report.sql": "{{ config(materialized='table') }} select * from {{ ref('orders') }}",
    "apart.sql": "{{ config(materialized='table', tags=['nightly']) }} select 1 as id",
    "schema.yml": """
models:
  - {name: orders, columns: [{name: id, data_tests: [unique, not_null]}]}
  - {name: report, columns: [{name: id, data_tests: [{relationships: {arguments: {to: ref('orders'), field: id}}}]}]}
unit_tests:
  - {name: is_one, model: apart, given: [], expect: {rows: [{id: 1}]}}
""",
}


def made(engine: Engine, folder: Path, directory: Path) -> DbtDag:
    project = write_project(folder / "shop", MODELS)
    (project / "dbt_project.yml").write_text(PROJECT)
    return real_dag(project, directory, engine.arguments, run_params=True)


def ran(outcome: DagOutcome) -> set[str]:
    assert outcome.succeeded, str(outcome)
    return {
        task_id
        for task_id, each in outcome.tasks.items()
        if each.state == "success" and not task_id.startswith("dbt_select")
    }


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("no_other_servers")
@pytest.mark.parametrize("engine", [DBT_1, DBT_2], ids=lambda engine: engine.name)
def test_dbt_selects_and_each_task_runs_what_is_chosen(
    engine: Engine, kept_directory: Path, tmp_path: Path, cosmos_airflow: CosmosAirflow
) -> None:
    engine.require()
    dag = made(engine, tmp_path, kept_directory)

    assert ran(cosmos_airflow.run(dag)) == {"orders.run", "orders.test", "report.run", "report.test", "apart_run"}
    conf: dict[str, Any] = {"select": "orders", "exclude": "test_name:relationships", "vars": {"number": 5}}
    assert ran(cosmos_airflow.run(dag, conf=conf)) == {"orders.run", "orders.test"}
    with duckdb.connect(str(tmp_path / "shop" / "harbor.duckdb")) as database:
        assert database.sql("select id from main.orders").fetchall() == [(5,)]
        assert database.sql("select id from main.report").fetchall() == [(1,)]
    everything: dict[str, Any] = {"select": None, "exclude": None, "vars": None}
    conf = {**everything, "exclude": "tag:nightly test_name:relationships", "vars": {"number": 1}}
    assert ran(cosmos_airflow.run(dag, conf=conf)) == {"orders.run", "orders.test", "report.run"}
    outcome = cosmos_airflow.run(dag, conf={**everything, "select": "not_null_orders_id"})
    assert ran(outcome) == {"orders.test"}
    log = outcome.tasks["orders.test"].log
    assert "not_null_orders_id" in log
    assert "unique_orders_id" not in log
