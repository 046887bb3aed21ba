"""Faults in tries of tasks happen for real, and a test sees what they mean for retry, alert and downstream.

On Airflow 2 and 3.
"""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow import DAG

from pytest_cosmos_venv import CosmosAirflow, CosmosProject, FakeVenv
from pytest_cosmos_venv.faults import dbt_hangs, dbt_killed, worker_killed
from pytest_cosmos_venv.faults.faults import Faults
from pytest_cosmos_venv.faults.lost_worker import WorkerLost
from tests.pytest_cosmos_venv.faults.harbor import START, PythonOperator, dbt, harbor


@pytest.fixture
def project(cosmos_project: CosmosProject) -> Path:
    """Five models."""
    made = cosmos_project("harbor")
    for number in range(1, 6):
        made.model(f"pier_{number}", "select 1 as id")
    return made.path


def append_to(file: Path) -> Any:
    """Work that a second try does again."""

    def load() -> str:
        with file.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        return "loaded"

    return load


@pytest.mark.cosmos_fault(worker_killed(at="end", in_task="load"))
def test_a_worker_that_dies_after_its_work_does_it_twice(
    tmp_path: Path, cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    table = tmp_path / "table"

    outcome = cosmos_airflow.run(harbor(append_to(table)))

    workers = table.read_text().split()
    assert outcome.states == {"load": "success", "report": "success"}, str(outcome)
    assert outcome.tasks["load"].tries == 2
    assert len(workers) == 2
    assert str(os.getpid()) not in workers[:1]
    assert [(each.what, each.place, each.task_id, each.try_number) for each in cosmos_faults.happened] == [
        ("worker_killed", "end", "load", 1)
    ]


@pytest.mark.cosmos_fault(worker_killed(times=2))
def test_a_worker_that_dies_each_time_sends_one_alert_and_stops_what_follows(
    tmp_path: Path, cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    alerts: list[str] = []

    outcome = cosmos_airflow.run(
        harbor(append_to(tmp_path / "table"), on_failure_callback=lambda context: alerts.append(context["ti"].task_id))
    )

    assert outcome.states == {"load": "failed", "report": "upstream_failed"}, str(outcome)
    assert isinstance(outcome.tasks["load"].exception, WorkerLost)
    assert "SIGKILL" in str(outcome.tasks["load"].exception)
    assert not (tmp_path / "table").exists()
    assert alerts[-1:] == ["load"]
    assert [each.try_number for each in cosmos_faults.happened] == [1, 2]


@pytest.mark.cosmos_fault(worker_killed(after=3, is_optional=True))
def test_a_worker_that_leaves_by_itself_fails_its_task(cosmos_airflow: CosmosAirflow, cosmos_faults: Faults) -> None:
    outcome = cosmos_airflow.run(harbor(lambda: os._exit(7), retries=0))

    assert outcome.states == {"load": "failed", "report": "upstream_failed"}, str(outcome)
    assert "ended with exit code 7" in str(outcome.tasks["load"].exception)


@pytest.mark.cosmos_fault(worker_killed(after=3))
def test_dbt_goes_on_alone_when_its_worker_is_killed(
    project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    executable = cosmos_fake_venv.dbt

    outcome = cosmos_airflow.run(harbor(lambda: dbt(executable, "run", cwd=project)))

    first = cosmos_fake_venv.wait_for_end("run")
    assert outcome.succeeded, str(outcome)
    assert outcome.tasks["load"].tries == 2
    assert [len(call.nodes) for call in cosmos_fake_venv.calls] == [5, 5]
    assert first.exit_code == 0
    assert cosmos_faults.happened[0].place == "model.harbor.pier_3"


@pytest.mark.cosmos_fault(dbt_killed(after="pier_2"))
def test_dbt_is_killed_and_its_worker_lives(
    project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    executable = cosmos_fake_venv.dbt
    errors: list[str] = []

    def run() -> None:
        try:
            dbt(executable, "run", cwd=project)
        except Exception as error:
            errors.append(str(error))
            raise

    outcome = cosmos_airflow.run(harbor(run))

    assert outcome.tasks["load"].tries == 2, str(outcome)
    assert len(errors) == 1
    assert signal.SIGKILL.name in errors[0]
    assert [len(call.nodes) for call in cosmos_fake_venv.calls] == [2, 5]


@pytest.mark.long
@pytest.mark.cosmos_fault(dbt_hangs(after=2))
def test_a_dbt_that_hangs_is_ended_by_the_timeout_of_its_task(
    project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    executable = cosmos_fake_venv.dbt

    outcome = cosmos_airflow.run(
        harbor(lambda: dbt(executable, "run", cwd=project), execution_timeout=timedelta(seconds=6))
    )

    assert outcome.tasks["load"].tries == 2, str(outcome)
    assert [len(call.nodes) for call in cosmos_fake_venv.calls] == [2, 5]
    assert "AirflowTaskTimeout" in outcome.tasks["load"].log


@pytest.mark.cosmos_fault(dbt_killed(after=7))
def test_nodes_are_counted_over_the_calls_of_all_tasks(
    project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    executable = cosmos_fake_venv.dbt
    dag = harbor(lambda: dbt(executable, "run", cwd=project))
    second = PythonOperator(
        task_id="second", python_callable=lambda: dbt(executable, "run", cwd=project), retries=1, dag=dag
    )
    dag.get_task("report").set_downstream(second)

    cosmos_airflow.run(dag)

    assert [(each.task_id, each.place) for each in cosmos_faults.happened] == [("second", "model.harbor.pier_2")]


@pytest.mark.cosmos_fault(worker_killed(times=None, is_optional=True), dbt_killed(is_optional=True))
def test_a_mapped_task_takes_part(cosmos_airflow: CosmosAirflow) -> None:
    with DAG("fleet", schedule=None, start_date=START) as dag:
        PythonOperator.partial(task_id="load", python_callable=abs).expand(op_args=[[1], [2]])

    outcome = cosmos_airflow.run(dag)

    # Airflow 2 runs the last one first.
    assert sorted(outcome.states.values()) == ["failed", "success"], str(outcome)


@pytest.mark.cosmos_fault(dbt_hangs(seconds=0.2))
def test_a_dbt_that_hangs_for_a_moment_goes_on(
    project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    executable = cosmos_fake_venv.dbt

    outcome = cosmos_airflow.run(harbor(lambda: dbt(executable, "run", cwd=project)))

    assert outcome.tasks["load"].tries == 1, str(outcome)
    assert [call.exit_code for call in cosmos_fake_venv.calls] == [0]
