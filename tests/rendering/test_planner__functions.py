"""Functions (dbt 1.11 and later) as tasks, and saved queries, which are none."""

from __future__ import annotations

import logging

import pytest

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import BatchBy, TestBehavior
from cosmos_venv.rendering import planner
from cosmos_venv.rendering.model import PlannedTask
from tests.rendering.made import node, planned

TAX = node("function.shop.tax")
ORDERS = node("model.shop.orders", "function.shop.tax")
TEST = node("test.shop.tax_is_positive", "function.shop.tax")
QUERY = node("saved_query.shop.revenue", "model.shop.orders")


def tasks(behavior: TestBehavior, batch_by: BatchBy | None = None) -> dict[str, PlannedTask]:
    made = planned(TAX, ORDERS, TEST, render=RenderConfig(test_behavior=behavior, batch_by=batch_by))
    return {task.task_id: task for task in made.tasks}


def test_a_function_is_built_alone_before_what_calls_it() -> None:
    made = planned(TAX, ORDERS, TEST, render=RenderConfig(test_behavior=TestBehavior.NONE))

    task = made.tasks[0]
    assert (task.task_id, task.operator) == ("tax_function", "operators.virtualenv.DbtBuildVirtualenvOperator")
    assert task.arguments == {"select": "fqn:shop.tax", "indirect_selection": "empty"}
    assert made.edges == (("tax_function", "orders_run"),)


def test_the_tests_that_call_a_function_run_behind_it() -> None:
    made = tasks(TestBehavior.AFTER_EACH)

    assert made["tax.function"].arguments["indirect_selection"] == "empty"
    assert made["tax.test"].arguments["select"] == "fqn:shop.tax"


def test_with_build_dbt_runs_the_tests_of_a_function_too() -> None:
    assert "indirect_selection" not in tasks(TestBehavior.BUILD)["tax_function_build"].arguments


def test_a_batch_has_functions_too() -> None:
    (batch,) = tasks(TestBehavior.NONE, BatchBy.ALL).values()

    assert batch.arguments["nodes"] == {"function.shop.tax": "fqn:shop.tax", "model.shop.orders": "fqn:shop.orders"}


def test_a_saved_query_is_no_task_and_the_log_says_what_becomes_of_its_exports(
    caplog: pytest.LogCaptureFixture,
) -> None:
    planner._log_once.cache_clear()

    with caplog.at_level(logging.INFO):
        made = planned(ORDERS, QUERY)

    assert [task.task_id for task in made.tasks] == ["orders_run"]
    assert "1 of type saved_query" in caplog.text
    assert "exports of saved queries are not made: dbt Core has no command for them" in caplog.text
