"""What needs Airflow; some of it an implementation too, whichever is there."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosAirflow, CosmosDbt, CosmosProject, CosmosSeeds, FakeVenv, Faults, Implementation
from pytest_cosmos_venv.faults import worker_killed

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def make_dag(function: Callable[[], Any]) -> Any:
    from airflow import DAG
    from airflow.providers.standard.operators.python import PythonOperator

    with DAG("pier", schedule=None, start_date=START) as dag:
        PythonOperator(task_id="unload", python_callable=function)
    return dag


def test_a_dag_and_its_world(
    cosmos_airflow: CosmosAirflow,
) -> None:
    cosmos_airflow.variables.put("crane", "north")
    cosmos_airflow.connections.add("warehouse", conn_type="postgres", host="localhost", password="s3cret")
    cosmos_airflow.at("2026-02-01")

    def unload() -> list[Any]:
        from airflow.sdk import Variable

        Variable.set("unloaded", "yes")
        time.sleep(3600)  # noqa: TID251 - a task that is killed
        return [Variable.get("crane"), "WAREHOUSE" in "".join(os.environ), datetime.now(timezone.utc).isoformat()]

    outcome = cosmos_airflow.run(make_dag(unload))

    assert outcome.succeeded
    assert outcome.tasks["unload"].returned == ["north", True, "2026-02-01T01:00:00+00:00"]
    assert cosmos_airflow.variables.values["unloaded"] == "yes"


def test_a_task_that_fails(cosmos_airflow: CosmosAirflow) -> None:
    from airflow.providers.standard.operators.python import PythonOperator

    def read() -> Any:
        from airflow.sdk import Variable

        return Variable.get("crane")

    with cosmos_airflow.variables.outage():
        task = cosmos_airflow.run(PythonOperator(task_id="read", python_callable=read))

    assert task.state == "failed"


@pytest.mark.cosmos_fault(worker_killed(after="mart"))
def test_a_worker_that_is_killed(
    cosmos_airflow: CosmosAirflow, cosmos_faults: Faults, cosmos_fake_venv: FakeVenv, cosmos_project: CosmosProject
) -> None:
    project = cosmos_project("harbor")
    project.model("mart", "select 1 as id")
    executable = cosmos_fake_venv.dbt
    address = cosmos_faults.warehouse("127.0.0.1", 9)

    dag = make_dag(lambda: subprocess.run([executable, "run"], cwd=project.path, check=True))
    outcome = cosmos_airflow.run(dag)

    assert outcome.states == {"unload": "failed"}
    assert address.port
    assert [each.what for each in cosmos_faults.happened] == ["worker_killed"]


def test_shape_and_cost(cosmos_airflow: CosmosAirflow) -> None:
    cosmos_airflow.budget(lambda: make_dag(print), times=20)

    assert cosmos_airflow.shape(make_dag(print)).text == "dag pier\n  unload (PythonOperator)\n"


def test_a_virtualenv_task(
    cosmos_implementation: Implementation,
    cosmos_airflow: CosmosAirflow,
    cosmos_dbt: CosmosDbt,
    cosmos_project: CosmosProject,
    tmp_path: Path,
) -> None:
    cosmos_airflow.connections.add(
        "warehouse", conn_type="postgres", host="localhost", login="crane", password="s3cret", port=5432, schema="port"
    )
    project = cosmos_project("harbor")
    project.model("mart", "select 1 as id")
    cosmos = cosmos_implementation.module()
    mapping = cosmos_implementation.module("profiles").PostgresUserPasswordProfileMapping
    operator = cosmos_implementation.module("operators.virtualenv").DbtRunVirtualenvOperator(
        task_id="run",
        project_dir=str(project.path),
        profile_config=cosmos.ProfileConfig(
            "harbor", "dev", profile_mapping=mapping("warehouse", profile_args={"schema": "public"})
        ),
        py_requirements=["dbt-core", "dbt-postgres"],
        pip_install_options=cosmos_dbt.pip_install_options,
        virtualenv_dir=tmp_path / "environments",
    )

    cosmos_dbt.keep_env("*")
    task = cosmos_airflow.run(operator)

    assert task.succeeded, task
    (call,) = cosmos_dbt.calls
    assert "s3cret" in call.env.values()


def test_an_unchanged_seed(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(behavior="when_seed_changes", model=None)

    assert harbor.run().seed("piers").verdict == "ran"
    assert harbor.run().seed("piers").verdict == "skipped"


def test_the_shape_of_a_dag(
    cosmos_implementation: Implementation, cosmos_project: CosmosProject, cosmos_airflow: CosmosAirflow
) -> None:
    cosmos = cosmos_implementation.module()
    project = cosmos_project("harbor")
    project.model("mart", "select 1 as id")

    dag = cosmos.DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=START,
        project_config=cosmos.ProjectConfig(project.path, manifest_path=project.manifest()),
        profile_config=cosmos.ProfileConfig("harbor", "dev", profiles_yml_filepath=project.profiles_yml),
        render_config=cosmos.RenderConfig(load_method=cosmos.LoadMode.DBT_MANIFEST),
    )

    assert cosmos_airflow.shape(dag).text == "dag harbor\n  mart_run (DbtRunLocalOperator)\n"
