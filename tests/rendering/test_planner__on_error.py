"""``on_error: continue`` of a model (dbt 1.12) in a plan: what may run behind the model where it has failed."""

from __future__ import annotations

from typing import Any

import pytest

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import BatchBy, DbtResourceType, TestBehavior
from cosmos_venv.rendering.model import Plan
from cosmos_venv.rendering.task_arguments import PlanningSettings
from tests.rendering.made import node, planned

DAILY = node("model.shop.daily", on_error="continue")
DAILY_TEST = node("test.shop.unique_daily.1", DAILY.unique_id)
OTHER = node("model.shop.other", on_error="skip_children")
REPORT = node("model.shop.report", DAILY.unique_id, OTHER.unique_id)
DONE = "dbt_on_error_done"


def made(*nodes: Any, settings: PlanningSettings | None = None, **render: Any) -> Plan:
    return planned(*nodes, render=RenderConfig(**render), settings=settings)


def rules(plan: Plan) -> dict[str, str]:
    return {task.task_id: task.arguments["trigger_rule"] for task in plan.tasks if "trigger_rule" in task.arguments}


def test_what_reads_the_model_waits_for_its_end_and_for_the_success_of_others() -> None:
    plan = made(DAILY, OTHER, REPORT)

    assert rules(plan) == {"daily_run_on_error": "one_done", DONE: "none_failed_min_one_success"}
    assert plan.edges == (
        ("daily_run", "daily_run_on_error"),
        ("daily_run", DONE),
        ("daily_run_on_error", "report_run"),
        ("other_run", "report_run"),
        ("report_run", DONE),
    )
    assert plan.tasks_map[DAILY.unique_id] == "daily_run"


@pytest.mark.parametrize("behavior", [TestBehavior.AFTER_EACH, TestBehavior.BUILD])
def test_tests_of_the_failed_model_run_and_stop_what_reads_it(behavior: TestBehavior) -> None:
    plan = made(DAILY, DAILY_TEST, REPORT, test_behavior=behavior)

    first, passage, test, report, _ = plan.tasks
    assert [each.task_id for each in (first, passage, test)] == ["daily.run", "daily.run_on_error", "daily.test"]
    assert first.operator == "operators.virtualenv.DbtRunVirtualenvOperator"
    assert (test.task_id, report.task_id) in plan.edges
    assert (passage.task_id, report.task_id) not in plan.edges


@pytest.mark.parametrize(
    ("nodes", "render"),
    [
        pytest.param([DAILY, OTHER], {}, id="nothing-reads-it"),
        pytest.param([DAILY, DAILY_TEST], {"test_behavior": TestBehavior.NONE}, id="its-tests-are-not-run"),
        pytest.param([OTHER, REPORT], {}, id="children-are-skipped"),
        pytest.param(
            [node("seed.shop.raw", on_error="continue"), node("model.shop.a", "seed.shop.raw")], {}, id="seed"
        ),
        pytest.param([DAILY, REPORT], {"batch_by": BatchBy.ALL}, id="one-command-of-dbt"),
        pytest.param(
            [DAILY, REPORT],
            {"node_converters": {DbtResourceType.MODEL: lambda **_: None}},
            id="made-by-a-converter",
        ),
    ],
)
def test_other_plans_are_as_ever(nodes: list[Any], render: dict[str, Any]) -> None:
    assert rules(made(*nodes, **render)) == {}


def test_the_model_has_a_task_of_its_own_beside_batches() -> None:
    plan = made(DAILY, OTHER, REPORT, batch_by=BatchBy.WAVE)

    assert [task.task_id for task in plan.tasks] == [
        *("daily_run", "wave_1_batch", "daily_run_on_error", "wave_2_batch", DONE)
    ]


def test_what_a_converter_makes_of_a_child_stands_behind_the_passage() -> None:
    board = node("exposure.shop.board", DAILY.unique_id)

    plan = made(DAILY, REPORT, board, node_converters={DbtResourceType.EXPOSURE: lambda **_: None})

    assert ("daily_run_on_error", board.unique_id) in plan.edges


def test_where_a_run_may_choose_each_task_asks_what_became_of_those_before_the_passage() -> None:
    plan = made(DAILY, OTHER, REPORT, settings=PlanningSettings(is_choosable=True))

    tasks = {task.task_id: task for task in plan.tasks}
    assert rules(plan)["daily_run_on_error"] == "all_done"
    assert tasks["report_run"].defaults == {"trigger_rule": "none_failed", "skipped_with": ["daily_run"]}
    contents = tasks["dbt_select"].arguments["tasks"]
    assert [task_id for task_id, content in contents.items() if content.get("may_fail")] == ["daily_run"]
