"""Which tests run in tasks of their own, and what is left to their parents' tasks."""

from __future__ import annotations

import pytest

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import TestBehavior
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.model import Plan
from tests.rendering.made import node, planned

A, B = node("model.shop.a"), node("model.shop.b")
OF_A = node("test.shop.unique_a.0c", "model.shop.a")
BOTH = node(
    "test.shop.rel_a_b.7f", "model.shop.a", "model.shop.b", meta={"cosmos": {"operator_kwargs": {"pool": "qa"}}}
)


def detaching(test_behavior: TestBehavior = TestBehavior.AFTER_EACH, **more: list[str]) -> RenderConfig:
    return RenderConfig(should_detach_multiple_parents_tests=True, test_behavior=test_behavior, **more)  # type: ignore[arg-type]


def arguments(made: Plan) -> dict[str, dict[str, object]]:
    return {task.task_id: task.arguments for task in made.tasks}


def test_a_test_of_two_nodes_comes_behind_both_with_its_own_arguments() -> None:
    made = planned(A, B, OF_A, BOTH, render=detaching())

    assert made.edges == (("a.run", "a.test"), ("a.test", "rel_a_b_test"), ("b_run", "rel_a_b_test"))
    assert arguments(made)["rel_a_b_test"] == {
        "select": "fqn:shop.rel_a_b",
        "indirect_selection": "empty",
        "emit_datasets": False,
        "pool": "qa",
    }
    assert made.tasks_map["test.shop.rel_a_b.7f"] == "rel_a_b_test"


def test_the_tasks_of_its_parents_leave_it_out_and_do_not_hear_what_it_says() -> None:
    given = arguments(planned(A, B, OF_A, BOTH, render=detaching(exclude=["tag:slow"])))

    assert given["a.test"] == {
        "select": "fqn:shop.a",
        "exclude": "tag:slow fqn:shop.rel_a_b",
        "emit_datasets": False,
    }
    assert given["rel_a_b_test"]["exclude"] == "tag:slow"


def test_a_build_leaves_it_out_too() -> None:
    given = arguments(planned(A, B, BOTH, render=detaching(TestBehavior.BUILD)))

    assert [given[f"{name}_model_build"]["exclude"] for name in "ab"] == ["fqn:shop.rel_a_b"] * 2


@pytest.mark.parametrize("behavior", [TestBehavior.NONE, TestBehavior.AFTER_ALL])
def test_without_tasks_for_tests_nothing_is_detached(behavior: TestBehavior) -> None:
    made = planned(A, B, BOTH, render=detaching(behavior))

    assert "test.shop.rel_a_b.7f" not in made.tasks_map


def test_one_selected_parent_is_enough_and_none_is_not() -> None:
    made = planned(A, BOTH, node("test.shop.far.1", "model.shop.x", "model.shop.y"), render=detaching())

    assert [task.task_id for task in made.tasks] == ["a_run", "rel_a_b_test"]


def test_names_that_are_too_long_are_counted_in_the_order_of_ids() -> None:
    long = [node(f"test.shop.{letter * 245}.1", "model.shop.a", "model.shop.b") for letter in "qpz"]
    fits = node(f"test.shop.{'x' * 244}.1", "model.shop.a", "model.shop.b")

    made, again = (planned(A, B, *order, render=detaching()) for order in ([*long, fits], [fits, *reversed(long)]))

    counted = {made.tasks_map[test.unique_id]: test.resource_name[0] for test in long}
    assert counted == {"detached_0_test": "p", "detached_1_test": "q", "detached_2_test": "z"}
    assert made.tasks_map[fits.unique_id] == f"{'x' * 244}_test"
    assert again.tasks_map == made.tasks_map


def test_two_tests_of_one_name_are_refused_with_both() -> None:
    with pytest.raises(CosmosLoadDbtException, match=r"test\.pack\.rel_a_b\.9a and test\.shop\.rel_a_b\.7f would both"):
        planned(A, B, BOTH, node("test.pack.rel_a_b.9a", "model.shop.a", "model.shop.b"), render=detaching())


def test_tests_of_one_name_are_told_apart_by_the_node_that_they_read() -> None:
    """dbt cannot tell them apart by their fqn: the task of one node would run the test of the other."""
    of_a, of_b = node("test.shop.is_key.0a", "model.shop.a"), node("test.shop.is_key.0b", "model.shop.b")

    given = arguments(planned(A, B, of_a, of_b, known=[node("test.shop.far.0a", "model.shop.a")]))

    assert given["a.test"]["select"] == "fqn:shop.is_key,fqn:shop.a+1"
    assert given["b.test"]["select"] == "fqn:shop.b"


def test_a_test_of_the_name_of_a_detached_one_runs_with_it() -> None:
    """dbt cannot be told one without the other: each task would leave out or run the test of the other."""
    both = node("test.shop.is_key.0a", "model.shop.a", "model.shop.b")
    of_c = node("test.shop.is_key.0c", "model.shop.c")

    made = planned(A, B, node("model.shop.c"), both, of_c, render=detaching())

    (task,) = [each for each in made.tasks if each.task_id == "is_key_test"]
    assert task.arguments["select"] == "fqn:shop.is_key"
    assert task.context["dbt_tests"] == ["test.shop.is_key.0a", "test.shop.is_key.0c"]
    assert made.edges == (("a_run", "is_key_test"), ("b_run", "is_key_test"), ("c_run", "is_key_test"))


def test_a_test_is_told_apart_from_one_of_its_name_that_is_not_selected() -> None:
    file = "models/schema.yml"
    of_a = node("test.shop.is_key.0a", "model.shop.a", file=file)
    of_b = node("test.shop.is_key.0b", "model.shop.b", file=file)

    given = arguments(planned(A, B, of_a, known=[of_b]))

    assert given["a.test"]["select"] == "fqn:shop.a"
    given = arguments(planned(A, B, of_a, known=[of_b, node("test.shop.far.0a", "model.shop.a")]))
    assert given["a.test"]["select"] == "fqn:shop.is_key,fqn:shop.a+1"


def test_unit_tests_of_a_node_without_other_tests_are_not_run() -> None:
    """The node has no test task, as in Cosmos."""
    unit = node("unit_test.shop.a.gives_one", "model.shop.a")

    def tests_of(*nodes: DbtNode) -> set[str]:
        return {each for task in planned(*nodes).tasks for each in task.context.get("dbt_tests", ())}

    assert tests_of(A, unit) == set()
    assert tests_of(A, OF_A, unit) == {OF_A.unique_id, unit.unique_id}


@pytest.mark.parametrize(
    ("choice", "tests"),
    [
        ("cautious", ["test.shop.unique_a.0c"]),
        ("buildable", ["test.shop.unique_a.0c"]),
        ("empty", []),
    ],
)
def test_a_test_that_the_selection_left_out_does_not_come_with_its_node(choice: str, tests: list[str]) -> None:
    left_out = node("test.shop.not_null_a.0d", "model.shop.a")

    made = planned(A, B, OF_A, BOTH, known=[left_out], execution={"test_indirect_selection": choice})

    (task,) = [each for each in made.tasks if each.task_id == "a.test"]
    assert task.context["dbt_tests"] == tests
    assert task.arguments["indirect_selection"] == "empty"
    assert task.arguments["select"] == ("fqn:shop.unique_a" if tests else "fqn:shop.a")


@pytest.mark.parametrize("choice", ["cautious", "buildable"])
@pytest.mark.parametrize(
    ("behavior", "task_id"), [(TestBehavior.AFTER_EACH, "a.test"), (TestBehavior.BUILD, "a_model_build")]
)
def test_tests_of_one_fqn_run_together_where_dbt_is_told_one_of_them_by_name(
    behavior: TestBehavior, task_id: str, choice: str
) -> None:
    of_a, both = (
        node("test.shop.is_key.0a", "model.shop.a"),
        node("test.shop.is_key.0b", "model.shop.a", "model.shop.b"),
    )
    left_out = node("test.shop.not_null_a.0d", "model.shop.a")

    made = planned(
        A,
        B,
        of_a,
        both,
        known=[left_out],
        render=RenderConfig(test_behavior=behavior),
        execution={"test_indirect_selection": choice},
    )

    (task,) = [each for each in made.tasks if each.task_id == task_id]
    assert task.context["dbt_tests"] == [of_a.unique_id, both.unique_id]
    assert str(task.arguments["select"]).endswith("fqn:shop.is_key,fqn:shop.a+1")


def test_a_test_of_one_fqn_runs_alone_where_dbt_chooses_it() -> None:
    of_a, both = (
        node("test.shop.is_key.0a", "model.shop.a"),
        node("test.shop.is_key.0b", "model.shop.a", "model.shop.b"),
    )

    made = planned(A, B, of_a, both, execution={"test_indirect_selection": "cautious"})

    (task,) = [each for each in made.tasks if each.task_id == "a.test"]
    assert task.context["dbt_tests"] == [of_a.unique_id]
    assert task.arguments["indirect_selection"] == "cautious"
