"""Code that looks at a DAG of which one task is made: some needs the rest, and Airflow on its way there does not."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import task

from cosmos_venv.compat import DAG, FRAME_NAMES, EmptyOperator, TaskGroup
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
        tasks = self.dag.task_dict = LazyTaskDict(self.dag.task_dict, "dbt.b", FRAME_NAMES.ordering)
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


def test_tasks_beside_it_are_made_and_put_in_order_without_having_more_made(one: OneTaskDag) -> None:
    with one.dag:
        before, after = EmptyOperator(task_id="before"), EmptyOperator(task_id="after")
        before >> one.dag.get_task("dbt.b") >> after

        @task
        def written_with_a_decorator() -> None: ...

        written_with_a_decorator()

    assert one.asked == 0
    assert after.upstream_task_ids == {"dbt.b"}


def test_putting_a_group_in_order_needs_all_of_it(one: OneTaskDag) -> None:
    with one.dag:
        before = EmptyOperator(task_id="before")
        before >> one.group

    assert before.downstream_task_ids == ALL


def test_looking_for_a_task_that_will_never_be_there_fails_as_ever(one: OneTaskDag) -> None:
    with pytest.raises(Exception, match="nowhere"):
        one.dag.get_task("nowhere")
    with pytest.raises(KeyError):
        one.dag.task_dict["nowhere"]


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


def test_a_copy_by_way_of_pickle_is_a_plain_dict_of_everything() -> None:
    asked = []
    tasks = LazyTaskDict({"a": 1}, "a")
    tasks.add_missing("", lambda: asked.append(1), claims=True)

    assert type(pickle.loads(pickle.dumps(tasks))) is dict  # noqa: S301 - our own bytes
    assert asked == [1]


def test_it_is_asked_once(one: OneTaskDag) -> None:
    tasks: list[Any] = one.dag.tasks
    assert [*one.dag.task_ids, *one.dag.task_ids] == [task.task_id for task in tasks] * 2
    assert one.asked <= 2  # once by the DAG, once by the group


def test_what_fails_to_be_made_is_asked_for_again(one: OneTaskDag) -> None:
    def fail() -> None:
        raise ValueError("the manifest is gone")

    tasks = LazyTaskDict({"dbt.b": 1}, "dbt.b")
    tasks.add_missing("dbt.", fail, claims=True)

    for _ in range(2):
        with pytest.raises(ValueError, match="the manifest is gone"):
            len(tasks)


def test_the_id_of_a_decorated_function_may_be_taken_by_a_task_that_is_not_made(one: OneTaskDag) -> None:
    with one.dag, TaskGroup("dbt2"):
        pass
    with one.dag, one.group:

        @task(task_id="a")
        def mine() -> None: ...

        made: Any = mine()
        assert made.operator.task_id == "dbt.a__1"
    assert one.asked
