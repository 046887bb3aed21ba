"""WATCHER for real: a DAG of the example project on each release of dbt, in a managed environment and without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.constants import ExecutionMode
from pytest_cosmos_venv import CosmosAirflow
from tests.engines import PLAIN_AND_WARM, Engine
from tests.installed import copy_of_example
from tests.whole.real_dags import real_dag, write_profile

PRODUCER = "dbt_producer_watcher"


@pytest.mark.long
@pytest.mark.timeout(280)
@pytest.mark.usefixtures("no_other_servers")
@pytest.mark.parametrize(("engine", "warm"), PLAIN_AND_WARM)
def test_a_watched_dag_builds_the_example_project(
    engine: Engine,
    warm: str,
    kept_directory: Path,
    tmp_path: Path,
    cosmos_airflow: CosmosAirflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine.require()
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", warm)
    project = copy_of_example(tmp_path / "harbor", "snapshots")  # which name another dbt
    write_profile(project)
    dag = real_dag(project, kept_directory, engine.arguments, mode=ExecutionMode.WATCHER)

    outcome = cosmos_airflow.run(dag)

    assert outcome.succeeded
    assert {each.state for each in outcome.tasks.values()} == {"success"}
    producer: Any = dag.get_task(PRODUCER)
    rows = {row["node"]: row for row in outcome.tasks[PRODUCER].xcoms["dbt_nodes"]}
    assert rows.keys() == producer.nodes.keys()
    tasks: list[Any] = [task for task in dag.tasks if getattr(task, "node_ids", ())]
    assert {each for task in tasks for each in task.node_ids} <= rows.keys()
    for task in tasks:
        xcoms = outcome.tasks[task.task_id].xcoms
        assert {row["node"]: row["status"] for row in xcoms["dbt_node"]} == {
            each: rows[each]["status"] for each in task.node_ids
        }
        if task.node_ids[0].startswith("model."):
            assert "select" in xcoms["compiled_sql"].lower(), task.task_id
            assert task.node_ids[0].rpartition(".")[2] in outcome.tasks[task.task_id].log
