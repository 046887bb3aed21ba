"""WATCHER for real: a DAG of the example project on each release of dbt, in a managed environment and without one."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from pytest_cosmos_venv import CosmosAirflow, DagOutcome
from tests.engines import DBT_1, DBT_2, PLAIN_AND_WARM, Engine
from tests.installed import copy_of_example
from tests.whole.test_real_batches import write_profile

PRODUCER, DONE = "dbt_producer_watcher", "dbt_producer_watcher_done"


def watched(engine: Engine, project: Path, directory: Path) -> DbtDag:
    return DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(project, install_dbt_deps=False),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=project / "profiles.yml"),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.WATCHER, virtualenv_dir=directory),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS),
        operator_args=engine.arguments,
    )


def watching(dag: DbtDag) -> list[Any]:
    return [task for task in dag.tasks if getattr(task, "node_ids", ())]


def states(outcome: DagOutcome) -> dict[str, str]:
    return {task_id: each.state for task_id, each in outcome.tasks.items()}


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
    dag = watched(engine, project, kept_directory)

    outcome = cosmos_airflow.run(dag)

    assert outcome.succeeded
    assert set(states(outcome).values()) == {"success"}
    producer: Any = dag.get_task(PRODUCER)
    rows = {row["node"]: row for row in outcome.tasks[PRODUCER].xcoms["dbt_nodes"]}
    assert rows.keys() == producer.nodes.keys()
    tasks = watching(dag)
    assert {each for task in tasks for each in task.node_ids} <= rows.keys()
    for task in tasks:
        xcoms = outcome.tasks[task.task_id].xcoms
        assert {row["node"]: row["status"] for row in xcoms["dbt_node"]} == {
            each: rows[each]["status"] for each in task.node_ids
        }
        if task.node_ids[0].startswith("model."):
            assert "select" in xcoms["compiled_sql"].lower(), task.task_id
            assert task.node_ids[0].rpartition(".")[2] in outcome.tasks[task.task_id].log


@pytest.mark.long
@pytest.mark.timeout(280)
@pytest.mark.usefixtures("no_other_servers")
@pytest.mark.parametrize(
    "engine",
    [pytest.param(DBT_1, id=DBT_1.name), pytest.param(DBT_2, id=DBT_2.name)],
)
def test_a_broken_model_fails_its_task_skips_those_below_and_fails_the_run(
    engine: Engine, kept_directory: Path, tmp_path: Path, cosmos_airflow: CosmosAirflow
) -> None:
    engine.require()
    project = copy_of_example(tmp_path / "harbor", "snapshots")
    write_profile(project)
    dag = watched(engine, project, kept_directory)
    broken = next(project.rglob("stg_*.sql"))
    broken.write_text("select * from nowhere_at_all")

    outcome = cosmos_airflow.run(dag, raise_on_failure=False)

    found = states(outcome)
    assert not outcome.succeeded
    assert (found[PRODUCER], found[DONE]) == ("failed", "upstream_failed")
    rows = {row["node"]: row["status"] for row in outcome.tasks[PRODUCER].xcoms["dbt_nodes"]}
    of_status = {"success": "success", "pass": "success", "error": "failed", "skipped": "skipped"}
    for task in watching(dag):
        states_of_nodes = {of_status[rows[each]] for each in task.node_ids}
        expected = next(each for each in ("failed", "skipped", "success") if each in states_of_nodes)
        assert found[task.task_id] == expected, (task.task_id, task.node_ids)
    assert {"failed", "skipped", "success"} <= {found[task.task_id] for task in watching(dag)}
