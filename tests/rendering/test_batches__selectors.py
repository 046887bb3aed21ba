"""How dbt is told each node of a batch: by its fqn, and more exactly where dbt would take other nodes for it too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import DbtResourceType, TestBehavior, TestIndirectSelection
from cosmos_venv.project.graph import link
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.model import Plan, PlannedTask
from cosmos_venv.rendering.plan_request import PlanRequest
from cosmos_venv.rendering.planner import plan
from tests.rendering.made import node, planned

ORDERS = node("model.shop.orders")


def declared(unique_id: str, *depends_on: str, fqn: str, file: str = "models/schema.yml", **config: Any) -> DbtNode:
    """A node with an fqn of its own; the package of its id is its package."""
    kind, package, _ = unique_id.split(".", 2)
    return DbtNode(
        unique_id,
        DbtResourceType(kind),
        list(depends_on),
        Path("/srv/shop"),
        Path(file),
        package_name=package,
        config=config,
        fqn=fqn.split("."),
    )


UNIT = declared("unit_test.shop.orders.adds_up", "model.shop.orders", fqn="shop.orders.adds_up")
IN_A_POOL = {"cosmos": {"operator_kwargs": {"pool": "qa"}}}
LINES = declared("model.shop.lines", "model.shop.orders", fqn="shop.orders.lines", file="models/orders/lines.sql")


def told(made: Plan) -> dict[str, str]:
    """How dbt is told each node of all batches."""
    return {each: text for task in made.tasks for each, text in task.arguments.get("nodes", {}).items()}


def in_batches(*nodes: DbtNode, batch_by: object = "wave", **render: object) -> Plan:
    return planned(*nodes, render=RenderConfig(batch_by=batch_by, **render))  # type: ignore[arg-type]


def test_a_node_whose_fqn_is_no_beginning_of_another_one_is_told_by_it() -> None:
    piers = declared("model.shop.piers", "model.shop.orders", fqn="shop.orders_of_piers.piers")

    assert told(in_batches(ORDERS, piers)) == {
        "model.shop.orders": "fqn:shop.orders",
        "model.shop.piers": "fqn:shop.orders_of_piers.piers",
    }


@pytest.mark.parametrize("behavior", TestBehavior)
def test_a_model_is_told_without_its_unit_tests(behavior: TestBehavior) -> None:
    found = told(in_batches(ORDERS, UNIT, test_behavior=behavior))

    assert found["model.shop.orders"] == "fqn:shop.orders,resource_type:model"
    assert found.get(UNIT.unique_id, "fqn:shop.orders.adds_up") == "fqn:shop.orders.adds_up"
    assert (UNIT.unique_id in found) is (behavior in (TestBehavior.AFTER_EACH, TestBehavior.BUILD))


def test_a_model_is_told_without_those_in_a_folder_of_its_name() -> None:
    assert told(in_batches(ORDERS, LINES)) == {
        "model.shop.orders": "fqn:shop.orders,file:orders.sql",
        "model.shop.lines": "fqn:shop.orders.lines",
    }


def test_a_model_and_a_test_of_one_fqn_are_told_by_their_types() -> None:
    singular = declared("test.shop.orders", "model.shop.orders", fqn="shop.orders", file="tests/orders.sql")

    assert told(in_batches(ORDERS, singular, LINES)) == {
        "model.shop.orders": "fqn:shop.orders,resource_type:model,file:orders.sql",
        "test.shop.orders": "fqn:shop.orders,resource_type:test",
        "model.shop.lines": "fqn:shop.orders.lines",
    }


def test_a_model_is_told_without_one_of_a_package_whose_name_is_a_folder_here() -> None:
    # dbt takes an fqn without its package too.
    theirs = declared("model.crm.orders", fqn="crm.orders", file="models/orders.sql")
    ours = declared("model.shop.orders", fqn="shop.crm.orders", file="models/crm/orders.sql")

    assert told(in_batches(theirs, ours)) == {
        "model.crm.orders": "fqn:crm.orders,package:crm",
        "model.shop.orders": "fqn:shop.crm.orders",
    }


def planned_of(
    selected: tuple[DbtNode, ...], known: tuple[DbtNode, ...], *, may_hide: bool = False, **render: Any
) -> Plan:
    selection = link({each.unique_id: each for each in selected})
    return plan(
        PlanRequest(
            nodes=selection.nodes,
            render=RenderConfig(batch_by="wave", **render),  # type: ignore[arg-type]
            execution=ExecutionConfig(),
            project=ProjectConfig("shop"),
            operator_args={},
            known={each.unique_id: each for each in known},
            may_hide=may_hide,
        )
    )


def test_nodes_that_are_not_selected_are_not_taken_either() -> None:
    found = told(planned_of((ORDERS,), (ORDERS, LINES), exclude=["lines"]))

    assert found == {"model.shop.orders": "fqn:shop.orders,file:orders.sql"}


def test_nodes_that_are_not_known_are_not_taken_either() -> None:
    raw = declared("seed.shop.raw", fqn="shop.raw", file="seeds/raw.csv")
    history = declared("snapshot.shop.history", fqn="shop.history", file="snapshots/all.yml")
    test = declared("test.shop.unique_raw.0c", "seed.shop.raw", fqn="shop.unique_raw")
    nodes = (ORDERS, raw, history, test)

    assert told(planned_of(nodes, nodes, may_hide=True)) == {
        "model.shop.orders": "fqn:shop.orders,resource_type:model,file:orders.sql",
        "seed.shop.raw": "fqn:shop.raw,resource_type:seed,file:raw.csv,package:shop",
        "snapshot.shop.history": "fqn:shop.history,resource_type:snapshot,package:shop",
        "test.shop.unique_raw.0c": (
            "fqn:shop.unique_raw,resource_type:test,package:shop,"
            "fqn:shop.raw+1,resource_type:seed+1,file:raw.csv+1,package:shop+1"
        ),
    }


def of_all_tests(choice: TestIndirectSelection, *nodes: DbtNode, **render: Any) -> PlannedTask:
    """The task of AFTER_ALL of a project that may have more nodes."""
    made = plan(
        PlanRequest(
            nodes=link({each.unique_id: each for each in nodes}).nodes,
            render=RenderConfig(test_behavior=TestBehavior.AFTER_ALL, **render),
            execution=ExecutionConfig(test_indirect_selection=choice),
            project=ProjectConfig("shop"),
            operator_args={},
            may_hide=True,
        )
    )
    (task,) = (each for each in made.tasks if each.task_id == "shop_test")
    return task


FAR = declared("test.shop.far.0d", "model.shop.orders", "model.shop.hidden", fqn="shop.far")


@pytest.mark.parametrize(
    ("choice", "exclude"),
    [
        (TestIndirectSelection.EAGER, []),
        (TestIndirectSelection.EAGER, ["lines"]),
        (TestIndirectSelection.CAUTIOUS, []),
    ],
)
@pytest.mark.parametrize(("tests", "first"), [([FAR], "fqn:shop.far,"), ([], "fqn:shop.orders,")])
def test_the_task_of_all_tests_names_each_where_the_project_may_have_others(
    choice: TestIndirectSelection, exclude: list[str], tests: list[DbtNode], first: str
) -> None:
    task = of_all_tests(choice, ORDERS, *tests, exclude=exclude)

    assert str(task.arguments["select"]).startswith(first)  # without a test too: no word would be all tests
    assert " " not in task.arguments["select"]
    assert (task.arguments["exclude"], task.arguments["indirect_selection"]) == (None, "empty")
    assert task.context["dbt_tests"] == [each.unique_id for each in tests]


def test_dbt_decides_which_tests_a_selection_takes_in_another_mode() -> None:
    task = of_all_tests(TestIndirectSelection.CAUTIOUS, ORDERS, FAR, exclude=["lines"])

    assert (task.arguments["exclude"], task.arguments["indirect_selection"]) == ("lines", "cautious")
    assert task.context["dbt_tests"] == []


PIERS = node("model.shop.piers", file="models/piers/piers.sql")
NAMED = (
    declared("test.shop.has_an_id.0c", "model.shop.orders", fqn="shop.has_an_id"),
    declared("test.shop.has_an_id.1d", "model.shop.piers", fqn="shop.has_an_id"),
)


def test_tests_of_one_fqn_run_together_where_one_of_them_comes_with_the_nodes() -> None:
    across = declared("test.shop.has_an_id.2e", "model.shop.orders", "model.shop.raw", fqn="shop.has_an_id")
    nodes = {each.unique_id: each for each in (ORDERS, NAMED[0], across)}
    made = plan(
        PlanRequest(
            nodes=link(nodes).nodes,
            render=RenderConfig(batch_by="all"),  # type: ignore[arg-type]
            execution=ExecutionConfig(test_indirect_selection=TestIndirectSelection.CAUTIOUS),
            project=ProjectConfig("shop"),
            operator_args={},
        )
    )

    assert [*told(made)] == ["model.shop.orders", "test.shop.has_an_id.0c", "test.shop.has_an_id.2e"]


@pytest.mark.parametrize("batch_by", [None, "all"])
def test_tests_of_one_fqn_run_together_where_the_text_of_one_selects_the_other(batch_by: str | None) -> None:
    across = declared("test.shop.has_an_id.2e", "model.shop.orders", "model.shop.piers", fqn="shop.has_an_id")
    nodes = {each.unique_id: each for each in (ORDERS, PIERS, NAMED[0], across)}
    made = plan(
        PlanRequest(
            nodes=link(nodes).nodes,
            render=RenderConfig(batch_by=batch_by),  # type: ignore[arg-type]
            execution=ExecutionConfig(test_indirect_selection=TestIndirectSelection.CAUTIOUS),
            project=ProjectConfig("shop"),
            operator_args={},
            may_hide=True,
        )
    )

    run = {each for task in made.tasks for each in task.context.get("dbt_tests", task.arguments.get("nodes", ()))}
    assert {each for each in run if each.startswith("test.")} == {NAMED[0].unique_id, across.unique_id}


def of_tasks(made: Plan) -> dict[str, list[str]]:
    return {task.task_id: list(task.arguments.get("nodes", ())) for task in made.tasks}


def test_tests_of_one_fqn_run_together_in_the_last_batch_of_their_nodes() -> None:
    after = node("model.shop.piers", "model.shop.orders")

    assert of_tasks(in_batches(ORDERS, after, *NAMED)) == {
        "wave_1_batch": ["model.shop.orders"],
        "wave_2_batch": ["model.shop.piers", *(each.unique_id for each in NAMED)],
    }


def test_tests_of_one_fqn_have_one_task_where_none_of_their_batches_is_the_last() -> None:
    made = in_batches(ORDERS, PIERS, *NAMED, batch_by="chain")

    assert of_tasks(made) == {
        "orders_batch": ["model.shop.orders"],
        "piers_batch": ["model.shop.piers"],
        "has_an_id_test": [],
    }
    assert {before for before, after in made.edges if after == "has_an_id_test"} == {"orders_batch", "piers_batch"}


def test_a_unit_test_with_arguments_of_its_own_has_a_task_that_runs_it_alone() -> None:
    unit = declared("unit_test.shop.orders.adds_up", "model.shop.orders", fqn="shop.orders.adds_up", meta=IN_A_POOL)

    made = in_batches(ORDERS, unit)

    (task,) = (each for each in made.tasks if each.task_id == "orders_adds_up_test")
    assert task.arguments == {
        "select": "fqn:shop.orders.adds_up",
        "indirect_selection": "empty",
        "emit_datasets": False,
        "pool": "qa",
    }


def test_a_node_alone_leaves_out_the_unit_test_that_runs_apart_and_not_itself() -> None:
    unit = declared("unit_test.shop.orders.adds_up", "model.shop.orders", fqn="shop.orders.adds_up", meta=IN_A_POOL)
    alone = node("model.shop.orders", meta=IN_A_POOL)

    made = in_batches(alone, unit, test_behavior=TestBehavior.BUILD)

    (task,) = (each for each in made.tasks if each.task_id == "orders_model_build")
    assert "adds_up" not in task.arguments["select"]
    assert task.arguments["indirect_selection"] == "empty"


def selections(made: Plan) -> dict[str, str]:
    """How dbt is told what each task of one node runs."""
    found = {task.task_id: task.arguments.get("select", task.arguments.get("models")) for task in made.tasks}
    return {task_id: text for task_id, text in found.items() if text is not None}


@pytest.mark.parametrize(
    ("behavior", "ids"),
    [
        (TestBehavior.AFTER_EACH, {"orders.run"}),
        (TestBehavior.BUILD, {"orders_model_build"}),
        (TestBehavior.AFTER_ALL, {"orders_run"}),
        (TestBehavior.NONE, {"orders_run"}),
    ],
)
def test_a_node_alone_is_told_as_within_a_batch(behavior: TestBehavior, ids: set[str]) -> None:
    alone = node("model.shop.orders", meta=IN_A_POOL)
    test = declared("test.shop.unique_orders.0c", "model.shop.orders", fqn="shop.unique_orders")

    found = selections(in_batches(alone, test, LINES, test_behavior=behavior))

    assert {found[each].partition(" ")[0] for each in ids} == {"fqn:shop.orders,file:orders.sql"}


def test_a_test_alone_is_told_without_the_model_of_its_name() -> None:
    singular = declared(
        "test.shop.orders", "model.shop.orders", fqn="shop.orders", file="tests/orders.sql", meta=IN_A_POOL
    )

    assert selections(in_batches(ORDERS, singular))["orders_test"] == "fqn:shop.orders,resource_type:test"


def test_where_there_are_no_batches_a_node_is_told_without_the_nodes_in_a_folder_of_its_name() -> None:
    assert selections(planned(ORDERS, LINES))["orders_run"] == "fqn:shop.orders,file:orders.sql"


def unnamed(unique_id: str, *depends_on: str, file: str) -> DbtNode:
    """A node whose fqn nobody knows."""
    kind, package, _ = unique_id.split(".", 2)
    return DbtNode(
        unique_id, DbtResourceType(kind), list(depends_on), Path("/srv/shop"), Path(file), package_name=package
    )


def test_nodes_whose_fqn_nobody_knows_are_told_with_their_file() -> None:
    orders = unnamed("model.shop.orders", file="models/orders.sql")
    theirs = unnamed("model.crm.orders", file="models/orders.sql")
    piers = unnamed("model.shop.piers", "model.shop.orders", file="models/orders/piers.sql")
    history = unnamed("snapshot.shop.history", file="snapshots/all.yml")

    assert told(in_batches(orders, theirs, piers, history)) == {
        "model.shop.orders": "orders,resource_type:model,file:orders.sql,package:shop",
        "model.crm.orders": "orders,resource_type:model,file:orders.sql,package:crm",
        "model.shop.piers": "piers,resource_type:model,file:piers.sql,package:shop",
        "snapshot.shop.history": "history,resource_type:snapshot,package:shop",
    }


def with_ephemeral(choice: TestIndirectSelection) -> Mapping[str, str]:
    part = node("model.shop.part", "model.shop.orders", materialized="ephemeral")
    report = node("model.shop.report", "model.shop.part")
    inside = node("test.shop.unique_part.0c", "model.shop.part")
    across = node("test.shop.same_rows.1d", "model.shop.part", "model.shop.orders")
    plain = node("test.shop.unique_report.0c", "model.shop.report")
    nodes = {each.unique_id: each for each in (ORDERS, part, report, inside, across, plain)}
    batches = {"model.shop.orders": "first", "model.shop.part": "second", "model.shop.report": "second"}
    selection = link(nodes)
    made = plan(
        PlanRequest(
            nodes=selection.nodes,
            render=RenderConfig(batch_by=lambda _: batches),
            execution=ExecutionConfig(test_indirect_selection=choice),
            project=ProjectConfig("shop"),
            operator_args={},
        )
    )
    return told(made)


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        (TestIndirectSelection.EAGER, {"unique_part.0c", "same_rows.1d", "unique_report.0c"}),
        (TestIndirectSelection.CAUTIOUS, {"unique_part.0c", "unique_report.0c"}),
        (TestIndirectSelection.BUILDABLE, {"unique_part.0c", "same_rows.1d", "unique_report.0c"}),
        (TestIndirectSelection.EMPTY, set()),
    ],
)
def test_the_tests_of_a_batch_are_those_that_dbt_adds_to_all_its_nodes(
    choice: TestIndirectSelection, named: set[str]
) -> None:
    # dbt is not told an ephemeral model, of which it says nothing: so it would not add the tests of it.
    found = with_ephemeral(choice)

    assert {each.partition("test.shop.")[2] for each in found if each.startswith("test.")} == named
