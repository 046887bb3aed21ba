"""Airflow's tasks stand in exactly the order of the plan, with all edges of it and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv import DbtTaskGroup, TestBehavior
from cosmos_venv.compat import DAG, EmptyOperator
from tests.rendering.recorded_project import START, dag_of, edges_of, manifest_arguments


@pytest.mark.parametrize("test_behavior", TestBehavior)
def test_the_edges_of_a_dag_are_those_of_its_plan(project: Path, test_behavior: TestBehavior) -> None:
    dag = dag_of(project, render={"test_behavior": test_behavior})

    assert dag.plan.edges
    assert edges_of(dag) == set(dag.plan.edges)
    assert set(dag.task_ids) == {task.task_id for task in dag.plan.tasks}


@pytest.mark.parametrize("test_behavior", TestBehavior)
def test_the_edges_of_a_group_are_those_of_its_plan_below_its_id(project: Path, test_behavior: TestBehavior) -> None:
    with DAG("outer", schedule=None, start_date=START) as dag:
        group = DbtTaskGroup("harbor", **manifest_arguments(project, render={"test_behavior": test_behavior}))

    assert group.plan.edges
    assert edges_of(dag) == {(f"harbor.{before}", f"harbor.{after}") for before, after in group.plan.edges}
    assert set(dag.task_ids) == {f"harbor.{task.task_id}" for task in group.plan.tasks}


@pytest.mark.parametrize("test_behavior", TestBehavior)
def test_what_stands_around_a_group_meets_its_first_and_last_tasks_only(
    project: Path, test_behavior: TestBehavior
) -> None:
    with DAG("outer", schedule=None, start_date=START) as dag:
        before, after = EmptyOperator(task_id="before"), EmptyOperator(task_id="after")
        group = DbtTaskGroup("harbor", **manifest_arguments(project, render={"test_behavior": test_behavior}))
        before >> group >> after

    ids = {task.task_id for task in group.plan.tasks}
    with_upstream, with_downstream = {edge[1] for edge in group.plan.edges}, {edge[0] for edge in group.plan.edges}
    assert before.downstream_task_ids == {f"harbor.{first}" for first in ids - with_upstream}
    assert after.upstream_task_ids == {f"harbor.{last}" for last in ids - with_downstream}
    assert len(edges_of(dag)) == len(group.plan.edges) + len(ids - with_upstream) + len(ids - with_downstream)
