"""One operator runs as Airflow runs a task: templates, XComs, callbacks, outlets. On Airflow 2 and 3."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from airflow import DAG

from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.errors import ToolkitMisuse

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:  # Airflow 2
    from airflow.operators.bash import BashOperator  # type: ignore[import-not-found, no-redef]
    from airflow.operators.python import PythonOperator  # type: ignore[import-not-found, no-redef]


START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_an_operator_without_a_dag_runs_with_its_templates_rendered(cosmos_airflow: CosmosAirflow) -> None:
    task = cosmos_airflow.run(BashOperator(task_id="say", bash_command="echo {{ ds }}"), logical_date="2026-03-04")

    assert task.succeeded
    assert task.returned == "2026-03-04"
    assert "2026-03-04" in task.log
    assert repr(task) == "<task say: success>"


def test_of_a_dag_only_this_task_runs(cosmos_airflow: CosmosAirflow) -> None:
    ran: list[str] = []
    with DAG("harbor", schedule=None, start_date=START) as dag:
        one, two, three = [
            PythonOperator(task_id=name, python_callable=ran.append, op_args=[name]) for name in ("a.1", "a-1", "b")
        ]
        one >> two >> three

    task = cosmos_airflow.run(dag.get_task("a-1"))

    assert task.succeeded
    assert ran == ["a-1"]


def test_a_mapped_operator_is_refused(cosmos_airflow: CosmosAirflow) -> None:
    with DAG("mapped", schedule=None, start_date=START):
        mapped: Any = PythonOperator.partial(task_id="each", python_callable=print).expand(op_args=[[1], [2]])

    with pytest.raises(ToolkitMisuse, match="'each' is mapped into several: run its DAG"):
        cosmos_airflow.run(mapped)
