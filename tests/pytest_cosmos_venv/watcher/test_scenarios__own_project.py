"""Scenarios on a project and a DAG of one's own, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG, EmptyOperator
from cosmos_venv.constants import ExecutionMode, InvocationMode, LoadMode
from pytest_cosmos_venv import (
    DbtProjects,
    ToolkitMisuse,
    WatcherBench,
    WatcherScenario,
    WatcherScenarios,
)
from pytest_cosmos_venv.watcher.outcome import WatcherRequirementNotMet

CRANES_FAIL = WatcherScenario(
    id="cranes-fail",
    sentence="The night is red when the cranes fail.",
    reported=("#1",),
    dbt=({"command": "build", "nodes": {"cranes": "error"}},),
    run="failed",
    success=("docks",),
    failed=("cranes",),
    built={"docks": 1, "cranes": 0},
)


@pytest.fixture
def dock(cosmos_dbt_project: DbtProjects) -> Path:
    project = cosmos_dbt_project("dock")
    project.model("docks", "select 1 as id")
    project.model("cranes", "select * from {{ ref('docks') }}")
    project.manifest()
    return project.path


def make_dag(bench: WatcherBench) -> DbtDag:
    return DbtDag(
        dag_id="nightly",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(bench.project, manifest_path=bench.manifest),
        profile_config=ProfileConfig("dock", "dev", profiles_yml_filepath=bench.project / "profiles.yml"),
        execution_config=ExecutionConfig(
            ExecutionMode.WATCHER,
            dbt_executable_path=bench.dbt_executable,
            invocation_mode=InvocationMode.SUBPROCESS,
        ),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
        default_args={"retries": bench.scenario.retries},
    )


def test_a_scenario_runs_on_a_project_of_ones_own(cosmos_watcher_scenario: WatcherScenarios, dock: Path) -> None:
    before = sorted(dock.rglob("*"))

    outcome = cosmos_watcher_scenario(CRANES_FAIL, project=dock, make_dag=make_dag)

    outcome.check()
    assert (outcome.state("cranes"), outcome.built("docks")) == ("failed", 1)
    assert sorted(dock.rglob("*")) == before, "the project is copied"


def test_what_is_not_as_required_is_told_in_words(cosmos_watcher_scenario: WatcherScenarios, dock: Path) -> None:
    wrong = replace(CRANES_FAIL, run="success", built={"docks": 2}, absent=("cranes",), failed=("cranes.test",))

    outcome = cosmos_watcher_scenario(wrong, project=str(dock), make_dag=make_dag)

    with pytest.raises(WatcherRequirementNotMet) as raised:
        outcome.check()
    head, _, calls = str(raised.value).partition("Calls of dbt: ")
    assert head == (
        f"{outcome.implementation} does not do what the scenario cranes-fail requires.\n"
        "The night is red when the cranes fail. (Reported of astronomer-cosmos: #1.)\n"
        "  dbt: command='build', nodes={'cranes': 'error'}\n"
        "\n"
        "Required: the run ends in state success\nSeen:     failed\n"
        "Required: the task of cranes.test ends in state failed\nSeen:     there is no such task\n"
        "Required: cranes has no task\nSeen:     one in state failed\n"
        "Required: dbt builds docks twice\nSeen:     once\n"
        "\n"
    )
    assert calls.startswith("1\n  dbt build ")
    assert "(exit code 1)" in calls
    assert "DAG nightly: failed in " in calls


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"failed": ("crane.test",)}, r"^failed=\('crane\.test', .* Give one such as 'cranes'\.$"),
        ({"built": {"model.dock.dock": 0}}, r"^built=\{'model\.dock\.dock': \.\.\.\}: .* such as 'model\.dock\.docks'"),
    ],
)
def test_a_name_that_no_node_has_is_refused(
    given: dict[str, Any], message: str, cosmos_watcher_scenario: WatcherScenarios, dock: Path
) -> None:
    with pytest.raises(ToolkitMisuse, match=message):
        cosmos_watcher_scenario(replace(CRANES_FAIL, **given), project=dock, make_dag=make_dag)


def make_plain_dag(_: WatcherBench) -> DAG:
    with DAG("plain", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        EmptyOperator(task_id="docks_run")
    return dag


def make_idle_dag(_: WatcherBench) -> DAG:
    dag = make_plain_dag(_)
    with dag:
        EmptyOperator(task_id="dbt_producer_watcher")
    return dag


@pytest.mark.parametrize(
    ("given", "make", "message"),
    [
        ({}, make_plain_dag, r"^DAG 'plain' has no task 'dbt_producer_watcher', so it does not run in .*WATCHER: give"),
        (
            {},
            make_idle_dag,
            r"^Scenario cranes-fail: dbt was never called\. Give bench\.dbt_executable and InvocationMode.SUBPROCESS",
        ),
        (
            {"dbt": ({"command": "run", "nodes": {"cranes": "error"}},)},
            make_dag,
            r"^Scenario cranes-fail: no call of dbt was the one of dbt=\(\{command='run', .*\}, \.\.\.\)\. 0 have its ",
        ),
    ],
)
def test_a_run_that_does_not_meet_what_is_scripted_is_refused(
    given: dict[str, Any],
    make: Callable[[WatcherBench], DAG],
    message: str,
    cosmos_watcher_scenario: WatcherScenarios,
    dock: Path,
) -> None:
    with pytest.raises(ToolkitMisuse, match=message):
        cosmos_watcher_scenario(replace(CRANES_FAIL, **given), project=dock, make_dag=make)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scenario": "each-node-is-built-once"}, r"cosmos_watcher_scenario\('each-.*'\): give a WatcherScenario\."),
        ({"make_dag": print}, r"project= and make_dag= go together: give both, or none"),
        ({"scenario": replace(CRANES_FAIL, test_behavior="later")}, r"test_behavior='later': TestBehavior of .* has "),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    cosmos_watcher_scenario: WatcherScenarios, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ToolkitMisuse, match=message):
        cosmos_watcher_scenario(**{"scenario": CRANES_FAIL, **given})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"run": "red"}, r"^run='red': give 'success', 'failed' or None\.$"),
        ({"dbt": {"nodes": {}}}, r"^dbt=\{'nodes': \{\}\}: give a tuple"),
        ({"not_called": ("tests",)}, r"^command='tests' is unknown to dbt: give one of "),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolkitMisuse, match=message):
        WatcherScenario(id="one", sentence="Nothing.", **given)
