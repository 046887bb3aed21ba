"""The table of a run, and the task that makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import ExecutionMode
from cosmos_venv.compat import asset
from cosmos_venv.constants import BatchBy
from cosmos_venv.operators import run_summary
from cosmos_venv.operators.run_summary import rows_of_run, shortened, table
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.fake_dags import fake_dag, states

SUMMARY = "dbt_run_summary"


def said(node: str, status: str = "success", seconds: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"node": node, "status": status, "seconds": seconds, "rows": None, **more}


def summary_of(*arguments: Any) -> dict[str, Any]:
    return shortened(rows_of_run(*arguments))


def rows_of(*arguments: Any) -> list[tuple[str, str, str]]:
    return [(row["node"], row["task"], row["state"]) for row in summary_of(*arguments)["rows"]]


def test_what_dbt_says_counts_and_failures_come_first() -> None:
    nodes = {"a_run": "model.x.a", "b.run": "model.x.b", "b.test": "tests of model.x.b", "c_run": "model.x.c"}
    states = {"a_run": "success", "b.run": "success", "b.test": "failed", "c_run": "upstream_failed"}
    tests = [said("test.x.t1", "fail", rows=3), said("test.x.t2", "pass"), said("test.x.t3", "warn")]
    pushed = {
        "a_run": [said("model.x.a", seconds=0.5, rows=7, started="warm")],
        "b.run": [said("model.x.b", seconds=2.0, started="process (auto)")],
        "b.test": tests,
    }

    summary = summary_of(nodes, states, pushed)

    assert summary["nodes"] == {"success": 2, "upstream_failed": 1}
    assert summary["tests"] == {"fail": 1, "warn": 1, "pass": 1}
    assert list(table(summary)) == [
        "Nodes: 2 success, 1 upstream_failed.",
        "Tests: 1 fail, 1 warn, 1 pass.",
        "test.x.t1  fail                 1.00 s        3 rows",
        "model.x.c  upstream_failed",
        "test.x.t3  warn                 1.00 s",
        "model.x.b  success              2.00 s                process (auto)",
        "model.x.a  success              0.50 s        7 rows  warm",
    ]


@pytest.mark.parametrize("argument", ["default_args", "operator_args"])
def test_the_tasks_around_a_project_update_no_asset_and_the_table_waits_for_no_earlier_run(
    argument: str, cosmos_fake_venv: FakeVenv, dbt_project: Path
) -> None:
    given = {argument: {"outlets": [asset("x://built")], "depends_on_past": True, "wait_for_downstream": True}}

    dag = fake_dag(cosmos_fake_venv, dbt_project, dag=given, run_summary=True, run_hooks_once=True)

    summary, *hooks = (dag.get_task(each) for each in (SUMMARY, "dbt_on_run_start", "dbt_on_run_end"))
    assert [each.outlets for each in (summary, *hooks)] == [[], [], []]
    # The task fails after a broken notifier. The next run would wait for it for ever, and would never end.
    assert (summary.depends_on_past, summary.wait_for_downstream) == (False, False)


def test_the_nodes_of_a_batch_that_was_killed_or_did_not_run_are_there() -> None:
    nodes = {"first_batch": ["model.x.a", "model.x.b"], "next_batch": ["model.x.c"], "last_batch": ["model.x.d"]}
    states = {"first_batch": "failed", "next_batch": "upstream_failed", "last_batch": "success"}
    pushed = {"first_batch": [said("model.x.a")], "last_batch": [said("model.x.d")]}

    assert sorted(rows_of(nodes, states, pushed)) == [
        ("model.x.a", "first_batch", "success"),
        ("model.x.b", "first_batch", "failed"),
        ("model.x.c", "next_batch", "upstream_failed"),
        ("model.x.d", "last_batch", "success"),
    ]


def test_a_task_that_ended_otherwise_than_dbt_is_shown_too() -> None:
    nodes = {"a_run": "model.x.a", "s_source": "source.x.s.t", "k_seed": "seed.x.k"}
    states = {"a_run": "failed", "s_source": "success", "k_seed": None}

    assert rows_of(nodes, states, {"a_run": [said("model.x.a")]}) == [
        ("model.x.a", "a_run", "failed"),
        ("seed.x.k", "k_seed", "none"),
        ("model.x.a", "a_run", "success"),
        ("source.x.s.t", "s_source", "success"),
    ]


def test_a_task_that_watches_and_has_run_dbt_itself_counts_instead_of_the_producer() -> None:
    nodes = {"dbt_producer_watcher": "all nodes of dbt_producer_watcher", "a_run": "model.x.a", "b_run": "model.x.b"}
    states = {"dbt_producer_watcher": "failed", "a_run": "success", "b_run": "skipped"}
    producer = [said("model.x.a", "error"), said("model.x.b", "skipped")]

    found = rows_of(nodes, states, {"dbt_producer_watcher": producer, "a_run": [said("model.x.a")]})

    assert found == [
        ("model.x.b", "dbt_producer_watcher", "skipped"),
        ("model.x.a", "a_run", "success"),
    ]


def test_a_long_table_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_summary, "MOST_ROWS", 2)

    summary = summary_of({}, {}, {"batch": [said(f"model.x.m{number}", seconds=number) for number in range(5)]})

    assert [row["node"] for row in summary["rows"]] == ["model.x.m4", "model.x.m3"]
    assert (summary["left_out"], list(table(summary))[-1]) == (3, "and 3 more")


MODES = [
    pytest.param({}, id="local"),
    pytest.param({"batch_by": BatchBy.ALL}, id="batches"),
    pytest.param({"mode": ExecutionMode.WATCHER}, id="watcher"),
]


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("how", MODES)
def test_a_run_that_succeeds_has_a_table(
    dbt_project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, how: dict[str, Any]
) -> None:
    outcome = cosmos_airflow.run(fake_dag(cosmos_fake_venv, dbt_project, run_summary=True, **how))

    assert outcome.succeeded, states(outcome)
    found = outcome.tasks[SUMMARY].xcoms["return_value"]
    assert found["nodes"] == {"success": 3}
    assert sorted(row["node"].split(".")[2] for row in found["rows"]) == ["mart", "piers", "staging"]
    assert {row["started"] for row in found["rows"]} == {"process"}
