"""What is different between two plans: tasks, names, edges, arguments, and how it is shown."""

from __future__ import annotations

from typing import Any

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.project.graph import link
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.model import Plan
from cosmos_venv.rendering.plan_changes import (
    ArgumentChange,
    PlanChanges,
    changes_between,
    changes_to_mermaid,
    to_lines,
    to_markdown,
)
from cosmos_venv.rendering.planner import plan
from tests.rendering.made import node

RAW = node("seed.shop.raw")
ORDERS = node("model.shop.orders", RAW.unique_id)
LINES = node("model.shop.lines", RAW.unique_id)
REPORT = node("model.shop.report", ORDERS.unique_id)
OF_ORDERS = node("test.shop.unique_orders.1", ORDERS.unique_id)


def planned(*nodes: DbtNode, **render: Any) -> Plan:
    selection = link({each.unique_id: each for each in nodes}, detaching=False)
    return plan(
        selection.nodes,
        render_config=RenderConfig(**render),
        execution_config=ExecutionConfig(),
        project_config=ProjectConfig("shop"),
        operator_args={},
    )


def test_the_same_plan_has_no_changes() -> None:
    changes = changes_between(planned(RAW, ORDERS, OF_ORDERS), planned(RAW, ORDERS, OF_ORDERS))

    assert not changes
    assert changes.summary == "no changes"


def test_tasks_and_edges_come_and_go() -> None:
    changes = changes_between(planned(RAW, ORDERS, REPORT), planned(RAW, ORDERS, LINES))

    assert changes == PlanChanges(
        added=("lines_run",),
        removed=("report_run",),
        edges_added=(("raw_seed", "lines_run"),),
        edges_removed=(("orders_run", "report_run"),),
    )
    assert changes.summary == "1 task added, 1 task removed, 1 edge added, 1 edge removed"


def test_a_first_test_gives_the_task_of_its_model_another_id() -> None:
    """``orders_run`` becomes ``orders.run`` in a group: Airflow's history stays with the id that is gone."""
    changes = changes_between(planned(RAW, ORDERS, REPORT), planned(RAW, ORDERS, REPORT, OF_ORDERS))

    assert changes.renamed == (("orders_run", "orders.run"),)
    assert (changes.added, changes.removed) == (("orders.test",), ())
    assert changes.edges_added == (("orders.run", "orders.test"), ("orders.test", "report_run"))
    assert changes.edges_removed == (("orders.run", "report_run"),)


def test_an_argument_that_changes_is_told_with_both_values() -> None:
    changes = changes_between(planned(RAW, ORDERS), planned(RAW, ORDERS, exclude=["tag:slow"]))
    own = node("model.shop.orders", RAW.unique_id, meta={"cosmos": {"operator_kwargs": {"retries": 3}}})
    of_node = changes_between(planned(RAW, ORDERS), planned(RAW, own))

    # dbt is told the file too: with a selection, the project may have nodes that are not known.
    assert {each.name for each in changes.arguments} <= {"exclude", "select"}
    assert of_node.arguments == (ArgumentChange(task_id="orders_run", name="retries", before="-", after="3"),)


BEFORE, AFTER = planned(RAW, ORDERS, REPORT), planned(RAW, ORDERS, REPORT, OF_ORDERS, LINES)


def test_changes_as_lines() -> None:
    assert to_lines(changes_between(BEFORE, AFTER), "shop against main") == [
        "shop against main: 2 tasks added, 1 task renamed, 3 edges added, 1 edge removed",
        "added     lines_run",
        "added     orders.test",
        "renamed   orders_run -> orders.run",
        "edge +    orders.run -> orders.test",
        "edge +    orders.test -> report_run",
        "edge +    raw_seed -> lines_run",
        "edge -    orders.run -> report_run",
    ]


def test_changes_as_a_comment() -> None:
    changes = changes_between(BEFORE, AFTER)

    text = to_markdown(changes, "shop | `x` <b> against main", changes_to_mermaid(BEFORE, AFTER, changes))

    assert text.startswith("### shop \\| 'x' &lt;b> against main\n\n2 tasks added,")
    assert "| renamed | orders_run | orders.run |\n" in text
    assert "| removed | orders.run | report_run |\n" in text
    assert "```mermaid\nflowchart LR\n" in text
    assert "history" in text
