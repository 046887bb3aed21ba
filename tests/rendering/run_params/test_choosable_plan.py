"""Plans of DAGs whose runs may choose nodes: the first and the last task, and which tasks run for which selection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import BatchBy, SourceRenderingBehavior, TestBehavior
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.operators.run.run_request import Choice, choose
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.model import Plan
from cosmos_venv.rendering.one_task.plan_cache import find, keep
from cosmos_venv.rendering.task_arguments import PlanningSettings
from tests.rendering.made import node, planned

RAW = node("source.shop.raw.orders", has_freshness=True)
SEED = node("seed.shop.countries")
STAGING = node("model.shop.staging", RAW.unique_id)
PART = node("model.shop.part", STAGING.unique_id, materialized="ephemeral")
ORDERS = node("model.shop.orders", PART.unique_id, SEED.unique_id)
REPORT = node("model.shop.report", ORDERS.unique_id)
OTHER = node("model.shop.other")
UNIQUE = node("test.shop.unique_orders.1", ORDERS.unique_id)
SAME = node("test.shop.same_orders_report.1", ORDERS.unique_id, REPORT.unique_id)
UNIT = node("unit_test.shop.report.adds_up", REPORT.unique_id)
NODES = (RAW, SEED, STAGING, PART, ORDERS, REPORT, OTHER, UNIQUE, SAME, UNIT)


def choosable(*nodes: DbtNode, **render: Any) -> Plan:
    return planned(*nodes, render=RenderConfig(**render), settings=PlanningSettings(is_choosable=True))


def choice(made: Plan, *chosen: DbtNode) -> Choice:
    return choose(content(made), {each.unique_id for each in chosen}, made.tasks[0].arguments["selectors"])


def content(made: Plan) -> Mapping[str, Mapping[str, Any]]:
    tasks: Mapping[str, Mapping[str, Any]] = made.tasks[0].arguments["tasks"]
    return tasks


def test_a_first_task_stands_before_all_and_a_last_one_behind() -> None:
    made = choosable(*NODES, source_rendering_behavior=SourceRenderingBehavior.ALL)

    first, *tasks, last = made.tasks
    assert (first.task_id, first.operator) == ("dbt_select", "operators.virtualenv.DbtSelectVirtualenvOperator")
    assert (last.task_id, last.arguments["trigger_rule"]) == ("dbt_select_done", "none_failed_min_one_success")
    with_rule = {task.task_id: task.defaults for task in tasks if task.defaults.get("trigger_rule") == "none_failed"}
    assert with_rule.keys() == {task.task_id for task in tasks} - {"countries_seed", "raw_orders_source", "other_run"}
    assert with_rule["orders.run"]["skipped_with"] == ["staging_run"]  # beyond the placeholder of an ephemeral model
    assert "skipped_with" not in with_rule["part_run"]
    assert with_rule["report.test"]["skipped_with"] == []
    assert {after for before, after in made.edges if before == "dbt_select"} == {
        *("countries_seed", "raw_orders_source", "other_run", "dbt_select_done")
    }
    assert {before for before, after in made.edges if after == "dbt_select_done"} == {
        *("report.test", "other_run", "dbt_select")
    }
    assert made.outer["report.test"] == "report"


def test_a_project_without_tasks_has_neither() -> None:
    assert choosable().tasks == ()


def test_without_params_the_plan_is_as_ever() -> None:
    assert planned(*NODES).tasks[0].task_id != "dbt_select"


@pytest.mark.parametrize(
    ("chosen", "runs"),
    [
        pytest.param([ORDERS, UNIQUE, SAME], {"orders.run", "orders.test"}, id="tests-of-others-come-along"),
        pytest.param([REPORT, SAME, UNIT], {"report.run", "report.test"}, id="two-tests"),
        pytest.param([ORDERS], {"orders.run"}, id="no-tests"),
        pytest.param([UNIQUE], {"orders.test"}, id="a-test-alone"),
        pytest.param([SAME], {"orders.test", "report.test"}, id="a-test-of-two-alone"),
        pytest.param([UNIT], {"report.test"}, id="a-unit-test-alone"),
        pytest.param([PART], set(), id="a-placeholder-runs-nothing"),
    ],
)  # fmt: skip
def test_a_task_runs_where_its_node_or_its_tests_are_chosen(chosen: list[DbtNode], runs: set[str]) -> None:
    made = choosable(*NODES)

    found = choice(made, *chosen)

    of_nodes = {each for each, task in content(made).items() if task["nodes"]}
    assert of_nodes - {*found.skipped} == runs
    assert found.number == len(runs)


def test_only_the_chosen_tests_of_a_task_run() -> None:
    made = choosable(*NODES)

    assert choice(made, ORDERS, UNIQUE, SAME).partial == {}
    assert choice(made, ORDERS, SAME).partial == {"orders.test": [SAME.unique_id]}
    assert choice(made, SAME).partial == {"orders.test": [SAME.unique_id], "report.test": [SAME.unique_id]}
    texts = made.tasks[0].arguments["selectors"]
    assert texts[SAME.unique_id] == "fqn:shop.same_orders_report"


def test_a_build_runs_the_chosen_of_a_node_and_its_tests() -> None:
    made = choosable(*NODES, test_behavior=TestBehavior.BUILD)

    assert choice(made, ORDERS, UNIQUE).partial == {"orders_model_build": [ORDERS.unique_id, UNIQUE.unique_id]}
    assert "orders_model_build" in choice(made, REPORT).skipped
    assert "report_model_build" in choice(made, ORDERS, SAME).skipped
    assert choice(made, SAME).partial.keys() == {"orders_model_build", "report_model_build"}


def test_the_one_test_task_runs_the_chosen_tests() -> None:
    made = choosable(*NODES, test_behavior=TestBehavior.AFTER_ALL)

    assert choice(made, ORDERS, UNIQUE).partial == {"shop_test": [UNIQUE.unique_id]}
    assert "shop_test" in choice(made, ORDERS).skipped


def test_a_batch_runs_its_chosen_nodes_and_tests() -> None:
    made = choosable(*NODES, batch_by=BatchBy.ALL)

    assert choice(made, ORDERS, UNIQUE).partial == {"all_batch": [ORDERS.unique_id, UNIQUE.unique_id]}


def test_what_stands_behind_a_chosen_task_is_not_skipped_before_that_has_ended() -> None:
    made = choosable(*NODES)

    found = choice(made, STAGING)

    assert {*found.skipped} - {*found.at_once} == {"orders.run", "orders.test", "report.run", "report.test"}
    assert {*found.at_once} == {"countries_seed", "other_run"}


def test_a_worker_finds_each_task_of_a_kept_plan_alone(tmp_path: Path) -> None:
    made, kept = choosable(*NODES), FileCache(folder=tmp_path / "plans", suffix=".jsonl", most=1)

    keep(kept, "0" * 64, made, Path("/srv/shop"))

    for task in made.tasks:
        found = find(kept, "0" * 64, task.task_id, Path("/srv/shop"))
        assert found is not None
        assert found.task == task
    select = find(kept, "0" * 64, "dbt_select", Path("/srv/shop"))
    assert select is not None
    assert select.upstream == ()
