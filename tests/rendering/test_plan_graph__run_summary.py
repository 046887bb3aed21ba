"""The task with the table of a run, behind all others."""

from __future__ import annotations

from typing import Any

import pytest

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import ON_RUN_END, ON_RUN_START, DbtResourceType, TestBehavior
from cosmos_venv.rendering.model import Plan
from tests.rendering.made import node, planned

SUMMARY = "dbt_run_summary"
NODES = (
    node("seed.shop.raw"),
    node("model.shop.orders", "seed.shop.raw"),
    node("model.shop.report", "model.shop.orders"),
    node("model.shop.part", materialized="ephemeral"),
    node("test.shop.unique_orders_id.4ede", "model.shop.orders"),
    node("test.shop.unique_report_id.4edf", "model.shop.report"),
)


def with_summary(**render: Any) -> Plan:
    return planned(*NODES, render=RenderConfig(run_summary=True, **render))


@pytest.mark.parametrize(
    "render",
    [{}, {"test_behavior": TestBehavior.AFTER_ALL}, {"batch_by": "all"}, {"group_nodes_by_folder": True}],
    ids=str,
)
def test_it_stands_right_behind_each_task(render: dict[str, Any]) -> None:
    plan = with_summary(**render)

    *before, last = (each.task_id for each in plan.tasks)
    assert last == SUMMARY
    assert {first for first, second in plan.edges if second == SUMMARY} == {*before}
    with_hooks = with_summary(run_hooks_once=True, **render)
    assert {first for first, second in with_hooks.edges if second == ON_RUN_END} == {ON_RUN_START, *before}


def test_hooks_stand_around_all_nodes_and_before_it() -> None:
    plan = with_summary(run_hooks_once=True)

    first, (last, done) = plan.tasks[0], plan.tasks[-3:-1]
    ids = ["dbt_on_run_start", "dbt_on_run_end", "dbt_on_run_end_done", SUMMARY]
    assert [each.task_id for each in (first, last, done, plan.tasks[-1])] == ids
    before_last = {before for before, after in plan.edges if after == last.task_id}
    assert before_last == {each.task_id for each in plan.tasks[:-3]}
    # Airflow counts no teardown task: this task fails the run after a broken hook, and the group behind a failed node.
    before_done = {before for before, after in plan.edges if after == done.task_id}
    assert before_done == {last.task_id, "report.test", "part_run"}
    assert {after for before, after in plan.edges if before == first.task_id} >= {"raw_seed", "part_run", last.task_id}
    assert plan.tasks[-1].arguments == {"task_nodes": last.arguments["task_nodes"]}
    assert "task_nodes" not in first.arguments


def test_it_knows_what_each_task_runs_and_no_placeholder() -> None:
    assert with_summary().tasks[-1].arguments["task_nodes"] == {
        "raw_seed": "seed.shop.raw",
        "orders.run": "model.shop.orders",
        "orders.test": "tests of model.shop.orders",
        "report.run": "model.shop.report",
        "report.test": "tests of model.shop.report",
    }


def test_it_knows_the_nodes_of_a_batch() -> None:
    (nodes,) = with_summary(batch_by="all").tasks[-1].arguments["task_nodes"].values()

    # dbt says nothing of an ephemeral model.
    assert {*nodes} == {each.unique_id for each in NODES} - {"model.shop.part"}


def test_it_stands_behind_what_converters_make() -> None:
    converters: dict[str, Any] = {"node_converters": {DbtResourceType.MODEL: lambda **_: None}}
    plan = with_summary(test_behavior=TestBehavior.NONE, **converters)

    assert ("model.shop.report", SUMMARY) in plan.edges
    with_hooks = with_summary(run_hooks_once=True, **converters)
    assert ("model.shop.report", ON_RUN_END) in with_hooks.edges
    # A converter may make nothing: the seed before a converted model then has nothing behind it.
    made = {each.key for each in plan.conversions}
    assert {first for first, second in plan.edges if second == SUMMARY} - made == {"raw_seed"}


def test_it_is_not_there_unless_it_is_asked_for() -> None:
    assert SUMMARY not in {task.task_id for task in planned(*NODES).tasks}
    nothing = planned(node("model.shop.part", materialized="ephemeral"), render=RenderConfig(run_summary=True))
    assert [task.task_id for task in nothing.tasks] == ["part_run"]
