"""What is told of a run of WATCHER: the tasks of a node, and what dbt has said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.harness.served_airflow import TaskInstance
from conformance.harness.watched_runs import Ended
from pytest_cosmos_venv import DbtCall


def task(task_id: str, operator: str, state: str | None) -> TaskInstance:
    return TaskInstance(task_id=task_id, operator=operator, state=state, tries=1)


def call(**nodes: str) -> DbtCall:
    return DbtCall(
        argv=("dbt", "build"),
        cwd=Path(),
        env={},
        pid=1,
        prefix=Path(),
        dbt_version="1.11.0",
        started_at=1.0,
        ended_at=2.0,
        exit_code=0,
        nodes={f"model.harbor.{name}": status for name, status in nodes.items()},
    )


TASKS = (
    task("dbt_producer_watcher", "DbtProducerWatcherOperator", "failed"),
    task("mart.run", "DbtRunWatcherOperator", "success"),
    task("mart.test", "DbtTestWatcherOperator", "failed"),
    task("shop.martial_run", "DbtRunWatcherOperator", None),
    task("shop.report_run", "DbtRunWatcherOperator", None),
)
ENDED = Ended(
    state="failed",
    tasks={each.task_id: each for each in TASKS},
    calls=[call(staging="success", mart="error"), call(mart="success")],
    seen={},
    problem="",
    log="",
    virtualenv_dir=Path("/virtualenvs"),
)


@pytest.mark.parametrize(
    ("name", "operator", "expected"),
    [
        pytest.param("mart", "Run", {"mart.run": "success"}, id="its-run"),
        pytest.param("mart", "Test", {"mart.test": "failed"}, id="its-tests"),
        pytest.param("report", "Run", {"shop.report_run": None}, id="in-a-group"),
        pytest.param("art", "", {}, id="a-part-of-a-name"),
        pytest.param("staging", "Run", {}, id="none"),
    ],
)
def test_the_tasks_of_a_node_are_found_by_its_name(name: str, operator: str, expected: dict[str, str | None]) -> None:
    assert ENDED.tasks_of(name, operator) == expected


def test_what_dbt_has_said_of_a_node_is_told_over_all_its_commands() -> None:
    assert ENDED.built("mart") == ["error", "success"]
    assert ENDED.built("staging") == ["success"]
    assert ENDED.built("report") == []


def test_a_run_is_told_with_its_tasks_and_its_dbt() -> None:
    said = str(ENDED)

    assert "the run is failed" in said
    assert "mart.run success (try 1)" in said
    assert "dbt build -> 0: {'model.harbor.mart': 'success'}" in said
