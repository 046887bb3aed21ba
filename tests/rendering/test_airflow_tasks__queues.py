"""A task that watches has the queue that suits where it begins, whatever says whether it is deferred."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtTaskGroup, ExecutionConfig, ExecutionMode, settings
from cosmos_venv.compat import DAG
from cosmos_venv.rendering import airflow_tasks
from tests.rendering.recorded_project import START, copy_of_project, dag_of, edit_node, manifest_arguments

MODEL, TASK = "model.harbor_ops.geo_rollup", "geo_rollup_run"
OTHER_TASK = "stg_vessels_run"
DEFERRED, ON_WORKER = "later-tries", "short-starts"
WATCHED: dict[str, Any] = {
    "execution_config": ExecutionConfig(ExecutionMode.WATCHER),
    "operator_args": {},
    "render": {"test_behavior": "none"},
}


@pytest.fixture(autouse=True)
def queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__WATCHER_DBT_CONSUMER_QUEUE", ON_WORKER)
    monkeypatch.setenv("AIRFLOW__COSMOS__WATCHER_DBT_RETRY_QUEUE", DEFERRED)
    monkeypatch.setattr(airflow_tasks, "TASKS_START_AS_TRIGGERS", True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_of_project(tmp_path / "project")


def queue_of(task: Any) -> tuple[bool, str]:
    return task.deferrable, task.queue


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, (True, DEFERRED), id="nothing"),
        pytest.param({"operator_args": {"deferrable": False}}, (False, ON_WORKER), id="operator-args"),
        pytest.param({"default_args": {"deferrable": False}}, (False, ON_WORKER), id="default-args"),
        pytest.param({"operator_args": {"starts_on_worker": True}}, (True, ON_WORKER), id="starts-on-a-worker"),
        pytest.param(
            {"operator_args": {"deferrable": True}, "default_args": {"deferrable": False}},
            (True, DEFERRED),
            id="operator-args-win",
        ),
    ],
)
def test_the_queue_follows_from_what_all_tasks_are_given(
    given: dict[str, Any], expected: tuple[bool, str], project: Path
) -> None:
    dag = dag_of(project, **{**WATCHED, **given})

    assert queue_of(dag.get_task(TASK)) == expected


def test_the_queue_follows_from_the_arguments_of_a_node(project: Path) -> None:
    edit_node(project, MODEL, meta={"cosmos": {"operator_kwargs": {"deferrable": False}}})

    dag = dag_of(project, **WATCHED)

    assert queue_of(dag.get_task(TASK)) == (False, ON_WORKER)
    assert queue_of(dag.get_task(OTHER_TASK)) == (True, DEFERRED)


def test_a_queue_of_the_node_wins(project: Path) -> None:
    edit_node(project, MODEL, meta={"cosmos": {"operator_kwargs": {"queue": "own", "deferrable": False}}})

    assert queue_of(dag_of(project, **WATCHED).get_task(TASK)) == (False, "own")


def test_default_args_of_a_group_win_over_those_of_its_dag(project: Path) -> None:
    with DAG("harbor", schedule=None, start_date=START, default_args={"deferrable": True}) as dag:
        DbtTaskGroup("port", default_args={"deferrable": False}, **manifest_arguments(project, **WATCHED))

    assert queue_of(dag.get_task(f"port.{TASK}")) == (False, ON_WORKER)


def test_the_settings_are_read_once_for_all_tasks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    class Recorded:
        def __getattr__(self, name: str) -> Any:
            read.append(name)
            return getattr(settings, name)

    monkeypatch.setattr(airflow_tasks, "settings", Recorded())

    dag_of(project, **WATCHED)

    assert read.count("watcher_dbt_retry_queue") == read.count("watcher_dbt_consumer_queue") == 1
