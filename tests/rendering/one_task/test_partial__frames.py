"""Code that looks at a DAG of which one task is made: some needs the rest, and Airflow on its way there does not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from cosmos_venv.compat import DAG, EmptyOperator, FrameNames, TaskGroup
from cosmos_venv.rendering.one_task.partial import LazyTaskDict
from tests.rendering.recorded_project import START
from tests.rendering.serialised_dags import to_dict


class OneTaskDag:
    """A DAG with a group of three tasks, of which one is made so far."""

    def __init__(self) -> None:
        self.asked = 0
        self.dag = DAG("harbor", start_date=START, schedule=None)
        self.group = TaskGroup("dbt", dag=self.dag)
        EmptyOperator(task_id="b", dag=self.dag, task_group=self.group)
        tasks = self.dag.task_dict = LazyTaskDict(self.dag.task_dict, "dbt.b", FrameNames.ordering)
        children = self.group.children = LazyTaskDict(self.group.children, "dbt.b")
        for each in (tasks, children):
            each.add_missing("dbt.", self.make_rest, claims=True)

    def make_rest(self) -> None:
        self.asked += 1
        if self.asked == 1:
            for name in ("a", "c"):
                EmptyOperator(task_id=name, dag=self.dag, task_group=self.group)


@pytest.fixture
def one() -> OneTaskDag:
    return OneTaskDag()


ALL = {"dbt.a", "dbt.b", "dbt.c"}


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (lambda dag: set(dag.task_ids), ALL),
        (lambda dag: {task.task_id for task in dag.tasks}, ALL),
        (lambda dag: {task.task_id for task in dag.roots}, ALL),
        (lambda dag: set(dag.task_dict), ALL),
        (lambda dag: set(dag.task_dict.keys()), ALL),
        (lambda dag: {name for name, _ in dag.task_dict.items()}, ALL),
        (lambda dag: set(dag.task_dict.copy()), ALL),
        (lambda dag: set(copy.copy(dag.task_dict)), ALL),
        (lambda dag: len(dag.task_dict), 3),
        (lambda dag: dag.get_task("dbt.a").task_id, "dbt.a"),
        (lambda dag: dag.has_task("dbt.c"), True),
        (lambda dag: "dbt.a" in dag.task_dict, True),
        (lambda dag: {*reversed(dag.task_dict)}, ALL),
        (lambda dag: dag.task_dict.pop("dbt.a").task_id, "dbt.a"),
        (lambda dag: dag.task_dict.setdefault("dbt.c", None).task_id, "dbt.c"),
        (lambda dag: len([dag.task_dict.popitem(), *dag.task_dict]), 3),
        (lambda dag: dag.task_dict == {}, False),
        (lambda dag: dag.task_dict == {"dbt.b": dag.get_task("dbt.b")}, False),
        (lambda dag: dag.task_dict != {"dbt.b": dag.get_task("dbt.b")}, True),
        (lambda dag: dag.task_dict.get("dbt.a").task_id, "dbt.a"),
        (lambda dag: {task.task_id for task in dag.task_group}, ALL),
        (lambda dag: set(dag.task_group.children["dbt"].children), ALL),
        (lambda dag: {task.task_id for task in dag.task_group.children["dbt"].leaves}, ALL),
        (lambda dag: set(dag.partial_subset("a", include_upstream=False).task_ids), {"dbt.a"}),
    ],
)
def test_who_looks_through_a_dag_or_for_a_task_that_is_not_there_finds_all(
    one: OneTaskDag, look: Callable[[Any], object], expected: object
) -> None:
    assert look(one.dag) == expected


@pytest.mark.parametrize(
    "look",
    [
        lambda dag: dag.get_task("dbt.b"),
        lambda dag: "dbt.b" in dag.task_dict,
        lambda dag: dag.task_group.children["dbt"].children["dbt.b"],
        hash,
        lambda dag: dag == dag,
    ],
)
def test_who_looks_at_the_task_that_is_there_has_nothing_made(one: OneTaskDag, look: Callable[[DAG], object]) -> None:
    look(one.dag)

    assert one.asked == 0


def test_putting_a_group_in_order_needs_all_of_it(one: OneTaskDag) -> None:
    with one.dag:
        before = EmptyOperator(task_id="before")
        before >> one.group

    assert before.downstream_task_ids == ALL


def test_airflow_looks_through_the_tasks_of_a_dag_without_having_more_made(one: OneTaskDag) -> None:
    try:
        from airflow.dag_processing import dagbag
    except ImportError:  # before Airflow 3.2
        from airflow.models import dagbag  # type: ignore[no-redef, unused-ignore]

    seen: dict[str, Any] = {}
    as_airflow = {**vars(dagbag), "dag": one.dag}
    exec("dag.validate(); dag.check_cycle(); names = list(dag.task_dict)", as_airflow, seen)  # noqa: S102

    assert seen["names"] == ["dbt.b"]
    assert one.asked == 0


def test_what_serialises_a_dag_gets_the_whole_of_it(one: OneTaskDag) -> None:
    serialised = to_dict(one.dag)

    assert len(serialised["dag"]["tasks"]) == 3
