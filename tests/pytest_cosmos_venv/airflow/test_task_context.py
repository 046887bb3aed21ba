"""A task with nothing of Airflow around it is told what Airflow tells each task. On Airflow 2 and 3."""

from __future__ import annotations

from typing import Any

from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.airflow.task_context import context_without_airflow

try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:  # Airflow 2
    from airflow.operators.python import PythonOperator  # type: ignore[import-not-found, no-redef]


def made(**arguments: Any) -> Any:
    return PythonOperator(task_id="load", python_callable=print, **arguments)


def test_what_it_pushes_it_can_pull() -> None:
    ti = context_without_airflow(made(), "by-hand")["ti"]

    ti.xcom_push(key="boats", value=3)

    assert ti.xcom_pull(key="boats") == 3
    assert ti.xcom_pull(task_ids="load", key="boats") == 3
    assert ti.xcom_pull(task_ids="another", key="boats") is None
    assert ti.xcom_pull(["load", "another"], key="boats") == [3, None]
    assert ti.xcom_pull(key="piers", default="none") == "none"


def test_airflow_tells_all_that_is_told(cosmos_airflow: CosmosAirflow) -> None:
    """Nobody may come to rely on what is a stand-in's alone."""
    seen: dict[str, Any] = {}
    operator = PythonOperator(task_id="look", python_callable=lambda **context: seen.update(names_in(context)))

    outcome = cosmos_airflow.run(operator)

    assert outcome.succeeded, outcome
    beyond = {name: each - seen[name] for name, each in names_in(context_without_airflow(made(), "by-hand")).items()}
    assert not any(beyond.values()), beyond


def names_in(context: Any) -> dict[str, set[str]]:
    """Its own, and those of its task instance and its run."""
    public = {each: {name for name in dir(context[each]) if not name.startswith("_")} for each in ("ti", "dag_run")}
    return {"context": set(context), **public}
