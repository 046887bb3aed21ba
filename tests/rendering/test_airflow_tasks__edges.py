"""Airflow's tasks stand in exactly the order of the plan, with all edges of it and no other."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import (
    DbtDag,
    DbtTaskGroup,
    ExecutionConfig,
    ExecutionMode,
    LoadMode,
    ProjectConfig,
    RenderConfig,
    TestBehavior,
)
from cosmos_venv.compat import DAG, EmptyOperator
from tests.kit import harbor_profile

RECORDED = Path(__file__).parent.parent / "data" / "rendering-project"
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files of the recorded project that are read when it is loaded from its manifest."""
    folder = tmp_path / RECORDED.name
    (folder / "models").mkdir(parents=True)
    for name in ("dbt_project.yml", "manifest.json", "profiles.yml"):
        shutil.copy(RECORDED / name, folder)
    return folder


def arguments(project: Path, test_behavior: TestBehavior) -> dict[str, Any]:
    return {
        "project_config": ProjectConfig(project, manifest_path=project / "manifest.json"),
        "profile_config": harbor_profile(project),
        "execution_config": ExecutionConfig(ExecutionMode.VIRTUALENV),
        "render_config": RenderConfig(load_method=LoadMode.DBT_MANIFEST, test_behavior=test_behavior),
        "operator_args": {"py_requirements": ["dbt-duckdb"]},
    }


def edges_of(dag: DAG) -> set[tuple[str, str]]:
    return {(task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids}


@pytest.mark.parametrize("test_behavior", TestBehavior)
def test_the_edges_of_a_dag_are_those_of_its_plan(project: Path, test_behavior: TestBehavior) -> None:
    dag = DbtDag(dag_id="harbor", schedule=None, start_date=START, **arguments(project, test_behavior))

    assert dag.plan.edges
    assert edges_of(dag) == set(dag.plan.edges)
    assert set(dag.task_ids) == {task.task_id for task in dag.plan.tasks}


@pytest.mark.parametrize("test_behavior", TestBehavior)
def test_the_edges_of_a_group_are_those_of_its_plan_below_its_id(project: Path, test_behavior: TestBehavior) -> None:
    with DAG("outer", schedule=None, start_date=START) as dag:
        group = DbtTaskGroup("harbor", **arguments(project, test_behavior))

    assert group.plan.edges
    assert edges_of(dag) == {(f"harbor.{before}", f"harbor.{after}") for before, after in group.plan.edges}
    assert set(dag.task_ids) == {f"harbor.{task.task_id}" for task in group.plan.tasks}


@pytest.mark.parametrize("test_behavior", TestBehavior)
def test_what_stands_around_a_group_meets_its_first_and_last_tasks_only(
    project: Path, test_behavior: TestBehavior
) -> None:
    with DAG("outer", schedule=None, start_date=START) as dag:
        before, after = EmptyOperator(task_id="before"), EmptyOperator(task_id="after")
        group = DbtTaskGroup("harbor", **arguments(project, test_behavior))
        before >> group >> after

    ids = {task.task_id for task in group.plan.tasks}
    with_upstream, with_downstream = {edge[1] for edge in group.plan.edges}, {edge[0] for edge in group.plan.edges}
    assert before.downstream_task_ids == {f"harbor.{first}" for first in ids - with_upstream}
    assert after.upstream_task_ids == {f"harbor.{last}" for last in ids - with_downstream}
    assert len(edges_of(dag)) == len(group.plan.edges) + len(ids - with_upstream) + len(ids - with_downstream)
