"""The plan, beside the recordings of Cosmos, is ordered, equal in every process, and readable."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import SeedRenderingBehavior, TestBehavior
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.model import Plan, PlannedGroup
from cosmos_venv.rendering.task_arguments import PlanningSettings
from tests.rendering.made import node, planned

RAW = node("seed.shop.raw")
ORDERS = node("model.shop.orders", "seed.shop.raw")
ORDERS_TEST = node("test.shop.unique_orders.1", "model.shop.orders")
REPORT = node("model.shop.report", "model.shop.orders")


def arguments(made: Plan) -> dict[str, dict[str, Any]]:
    return {task.task_id: task.arguments for task in made.tasks}


def test_tasks_stand_after_what_they_need_and_by_id_within_a_step() -> None:
    made = planned(REPORT, ORDERS_TEST, ORDERS, RAW, node("seed.shop.all"))

    assert [task.task_id for task in made.tasks] == [
        "all_seed",
        "raw_seed",
        "orders.run",
        "orders.test",
        "report_run",
    ]


def test_an_edge_from_a_group_leaves_its_test_and_one_to_a_group_enters_its_first_task() -> None:
    made = planned(RAW, ORDERS, ORDERS_TEST, REPORT)

    assert made.edges == (("orders.run", "orders.test"), ("orders.test", "report_run"), ("raw_seed", "orders.run"))
    assert [made.outer[each] for each in ("raw_seed", "orders.run", "orders.test", "report_run")] == [
        *("raw_seed", "orders", "orders", "report_run")
    ]
    assert made.groups == (PlannedGroup(group_id="orders", label="orders", parent=None),)


def test_what_the_dag_excludes_reaches_tests_after_what_all_tasks_exclude() -> None:
    made = planned(
        ORDERS,
        ORDERS_TEST,
        render=RenderConfig(exclude=["tag:slow", "raw"]),
        operator_args={"exclude": "tag:y raw"},
    )

    assert arguments(made)["orders.test"]["exclude"] == "tag:y raw tag:slow"
    assert "exclude" not in arguments(made)["orders.run"]


def test_what_the_dag_excludes_reaches_builds() -> None:
    made = planned(ORDERS, render=RenderConfig(exclude=["tag:slow"], test_behavior=TestBehavior.BUILD))

    assert arguments(made)["orders_model_build"]["exclude"] == "tag:slow"


def test_the_one_test_task_selects_like_the_dag_and_never_like_all_tasks() -> None:
    selecting = RenderConfig(select=["tag:a", "tag:b"], exclude=["raw"], test_behavior=TestBehavior.AFTER_ALL)
    plain = RenderConfig(test_behavior=TestBehavior.AFTER_ALL)

    selected, unselected = (arguments(planned(ORDERS, render=each))["shop_test"] for each in (selecting, plain))

    assert (selected["select"], selected["exclude"], selected["selector"]) == ("tag:a tag:b", "raw", None)
    assert (unselected["select"], unselected["exclude"], unselected["selector"]) == (None, None, None)


@pytest.mark.parametrize("where", ["select", "exclude"])
def test_a_method_that_dbt_does_not_have_never_reaches_dbt(where: str) -> None:
    given: dict[str, Any] = {where: ["exclude_resource_type:seed", "tag:slow"]}

    after_all = planned(ORDERS, ORDERS_TEST, render=RenderConfig(test_behavior=TestBehavior.AFTER_ALL, **given))
    after_each = planned(ORDERS, ORDERS_TEST, render=RenderConfig(**given))

    assert arguments(after_all)["shop_test"]["select"] == "fqn:shop.unique_orders"
    assert arguments(after_all)["shop_test"]["exclude"] is None
    assert arguments(after_each)["orders.test"].get("exclude") == ("tag:slow" if where == "exclude" else None)


@pytest.mark.parametrize("materialized", ["metric_view", "Semantic_View"])
def test_views_of_metrics_have_operators_of_their_own_where_that_is_set(materialized: str) -> None:
    view = node("model.shop.revenue", ORDERS.unique_id, materialized=materialized)
    on = PlanningSettings(has_metric_views=True)

    usual = {each.task_id: each.operator for each in planned(ORDERS, view).tasks}
    made = {each.task_id: each for each in planned(ORDERS, view, settings=on, may_hide=True).tasks}
    built = planned(ORDERS, view, settings=on, render=RenderConfig(test_behavior=TestBehavior.BUILD))

    assert usual["revenue_run"] == "operators.virtualenv.DbtRunVirtualenvOperator"
    task = made["revenue_semantic_metric_run"]
    assert task.operator == "operators.virtualenv.DbtSemanticMetricViewVirtualenvOperator"
    assert "resource_type:model" in task.arguments["select"]  # dbt's own type of it
    assert task.context["dbt_node_config"]["resource_type"] == "semantic_metric_view"
    assert [each.task_id for each in built.tasks] == ["orders_model_build", "revenue_semantic_metric_view_build"]


def test_the_one_test_task_comes_after_all_leaves() -> None:
    made = planned(
        RAW, ORDERS, REPORT, node("seed.shop.all"), render=RenderConfig(test_behavior=TestBehavior.AFTER_ALL)
    )

    assert [before for before, after in made.edges if after == "shop_test"] == ["all_seed", "report_run"]


def test_nothing_selected_is_an_empty_plan() -> None:
    made = planned(render=RenderConfig(test_behavior=TestBehavior.AFTER_ALL))

    assert made.tasks == ()


@pytest.mark.parametrize(
    ("nodes", "render", "kinds"),
    [
        pytest.param([node("source.shop.raw.ships")], RenderConfig(), r"1 nodes \(source\)", id="source"),
        pytest.param([ORDERS_TEST], RenderConfig(), r"1 nodes \(test\)", id="test"),
        pytest.param(
            [RAW, node("exposure.shop.x")],
            RenderConfig(seed_rendering_behavior=SeedRenderingBehavior.NONE, test_behavior=TestBehavior.AFTER_ALL),
            r"2 nodes \(exposure, seed\)",
            id="seed-not-shown",
        ),
    ],
)
def test_nodes_that_all_have_no_task_are_refused(nodes: list[DbtNode], render: RenderConfig, kinds: str) -> None:
    with pytest.raises(CosmosValueError, match=kinds):
        planned(*nodes, render=render)

    assert planned(*nodes, render=dataclasses.replace(render, allow_empty_selection=True)).tasks == ()


def test_a_node_that_has_no_task_bridges_no_gap() -> None:
    made = planned(
        node("model.shop.a"), node("exposure.shop.x", "model.shop.a"), node("model.shop.b", "exposure.shop.x")
    )

    assert [task.task_id for task in made.tasks] == ["a_run", "b_run"]
    assert made.edges == ()


def test_a_group_and_a_task_of_one_id_are_refused_with_both_nodes() -> None:
    tested = node("test.shop.t.1", "model.shop.a_run")

    words = r"shop\.a and model\.shop\.a_run would both become .*RenderConfig\.exclude.*or rename one .*normalize_task"
    with pytest.raises(CosmosLoadDbtException, match=words):
        planned(node("model.shop.a"), node("model.shop.a_run"), tested)


def test_tests_of_one_task_that_disagree_are_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    first, second = (
        node(f"test.shop.t{pool}.1", "model.shop.a", meta={"cosmos": {"operator_kwargs": {"pool": pool}}})
        for pool in ("x", "y")
    )

    made = planned(node("model.shop.a"), first, second)

    assert arguments(made)["a.test"]["pool"] == "y"
    assert "differ in operator_kwargs.pool: 'y' of test.shop.ty.1 replaces 'x'" in caplog.text


def test_a_circle_is_named() -> None:
    with pytest.raises(CosmosLoadDbtException, match=r"in a circle: (a_run -> b_run -> a_run|b_run -> a_run -> b_run)"):
        planned(node("model.shop.a", "model.shop.b"), node("model.shop.b", "model.shop.a"))


@pytest.mark.parametrize(
    ("nodes", "level", "counts"),
    [
        pytest.param(
            [*(node(f"exposure.shop.x{number}") for number in range(17)), node("metric.shop.m"), ORDERS_TEST],
            "INFO",
            "17 of type exposure, 1 of type metric",
            id="types-without-tasks-warn-nobody",
        ),
        pytest.param(
            [*(node(f"notebook.shop.n{number}") for number in range(19)), node("agent.shop.a")],
            "WARNING",
            "19 of type notebook, 1 of type agent",
            id="types-that-dbt-may-run",
        ),
    ],
)
def test_types_that_no_task_is_made_for_are_told_once(
    nodes: list[DbtNode], level: str, counts: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There are as many nodes as in no other test: what was told before is not told again."""
    caplog.set_level(logging.INFO, "cosmos_venv.rendering.planner")

    for _ in range(2):
        planned(*nodes, node("unit_test.shop.u"), render=RenderConfig(allow_empty_selection=True))

    words = f"No task for these selected nodes: {counts}. RenderConfig.node_converters can make some."
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [(level, words)]


def test_a_seed_that_is_to_be_loaded_when_it_changes_is_told_so() -> None:
    only_changed = RenderConfig(seed_rendering_behavior=SeedRenderingBehavior.WHEN_SEED_CHANGES)

    told, untold = (
        {task.task_id: "should_run_if_seed_changed" in task.context for task in planned(RAW, ORDERS, render=each).tasks}
        for each in (only_changed, None)
    )

    assert told == {"raw_seed": True, "orders_run": False}
    assert untold == {"raw_seed": False, "orders_run": False}


def test_the_test_of_all_and_a_node_of_one_id_are_refused() -> None:
    everything = RenderConfig(test_behavior=TestBehavior.AFTER_ALL, normalize_task_id=lambda _: "shop_test")

    with pytest.raises(
        CosmosLoadDbtException, match=r"model\.shop\.a and the test task of AFTER_ALL would both become"
    ):
        planned(node("model.shop.a"), render=everything)
