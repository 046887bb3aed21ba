"""Runs of a DAG that choose nodes by its params, on the fake dbt: what each task becomes, and what dbt is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag, DbtTaskGroup
from cosmos_venv.compat import DAG
from cosmos_venv.constants import BatchBy
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.fake_dags import CHAIN, START, dag_arguments, fake_dag, states, write_models

SELECT, DONE = "dbt_select", "dbt_select_done"
MODELS = (*CHAIN, "other")


@pytest.fixture
def dbt(cosmos_fake_venv: FakeVenv) -> FakeVenv:
    """The fake dbt 1."""
    return cosmos_fake_venv(dbt_version="1.11.0")


@pytest.fixture
def project(dbt_project: Path, own_cache: Path, cosmos_airflow: CosmosAirflow) -> Path:
    """Three models of which each reads the one before, and one that stands alone."""
    assert not cosmos_airflow.variables.values
    return write_models(dbt_project, {**CHAIN, "other": "select 2 as id"})


VARS = {"day": "1", "unit": "t"}


def made(dbt: FakeVenv, project: Path, *, dag: dict[str, Any] | None = None, **render: Any) -> DbtDag:
    """A DAG whose runs may choose."""
    return fake_dag(dbt, project, dbt_vars=VARS, dag={"run_params": True, **(dag or {})}, **render)


def group(group_id: str, dbt: FakeVenv, project: Path, **render: Any) -> None:
    """A group whose runs may choose."""
    DbtTaskGroup(group_id, run_params=True, **dag_arguments(dbt, project, dbt_vars=VARS, **render))


def test_what_is_not_chosen_is_skipped_and_starts_no_dbt(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dag = made(dbt, project)
    before = len(dbt.calls)

    outcome = cosmos_airflow.run(dag, conf={"select": "staging report"})

    assert outcome.succeeded
    assert states(outcome) == {
        **dict.fromkeys((SELECT, DONE, "staging", "report"), "success"),
        **dict.fromkeys(("mart", "other"), "skipped"),
    }
    assert [call.command for call in dbt.calls[before:]] == ["ls", "run", "run"]


def flags(dbt: FakeVenv, before: int) -> list[tuple[str, bool, str | None]]:
    """Of each command since then: its name, whether it refreshes, and its variables."""
    return [
        (str(call.command), "--full-refresh" in call.arguments, option(call.arguments, "--vars"))
        for call in dbt.calls[before:]
    ]


def option(words: Sequence[str], flag: str) -> str | None:
    return words[words.index(flag) + 1] if flag in words else None


@pytest.mark.long
def test_a_run_gives_its_variables_and_refreshes_and_the_next_does_not(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dag = made(dbt, project)
    before = len(dbt.calls)

    cosmos_airflow.run(
        dag, conf={"select": "staging", "vars": {"day": "2"}, "full_refresh": True}, raise_on_failure=True
    )
    between = len(dbt.calls)
    # All are given: dag.test() leaves the values of one run in the DAG.
    cosmos_airflow.run(dag, conf={"select": "staging", "vars": None, "full_refresh": False}, raise_on_failure=True)

    theirs, own = "day: '2'\nunit: t\n", "day: '1'\nunit: t\n"
    assert flags(dbt, before)[: between - before] == [("ls", False, theirs), ("run", True, theirs)]
    assert flags(dbt, between) == [("ls", False, own), ("run", False, own)]


def test_a_node_behind_a_failed_one_does_not_run_and_the_run_fails_although_its_leaf_is_not_chosen(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("run", select="staging", nodes={"staging": "error"})

    outcome = cosmos_airflow.run(made(dbt, project), conf={"select": "staging mart"})

    assert outcome.state == "failed"
    assert states(outcome) == {
        SELECT: "success",
        "staging": "failed",
        **dict.fromkeys(("mart", "report", DONE), "upstream_failed"),
        "other": "skipped",
    }


@pytest.mark.long
def test_a_selection_of_nothing_fails_the_first_task_and_is_not_tried_again(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dag = made(dbt, project, retries=2, exclude=["other"])
    before = len(dbt.calls)

    nothing = cosmos_airflow.run(dag, conf={"select": "nobody"})
    elsewhere = cosmos_airflow.run(dag, conf={"select": "other"})

    told = "select='nobody' chooses no task of this DAG: dbt selects no node."
    assert told in str(nothing.tasks[SELECT].exception)
    told = "select='other' chooses no task of this DAG: dbt selects model.harbor.other. No task here runs it."
    assert told in str(elsewhere.tasks[SELECT].exception)
    assert [call.command for call in dbt.calls[before:]] == ["ls"] * 2
    assert {each.state for each in nothing.tasks.values()} == {"failed", "upstream_failed"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "conf", "unlike"),
    [
        pytest.param("{{ config(materialized='ephemeral') }}", {}, {"mart": "success"}, id="a-placeholder-between"),
        pytest.param("", {"select": "staging report other"}, {}, id="an-unchosen-one-between"),
    ],
)
def test_a_node_far_behind_one_that_dbt_has_skipped_is_skipped_too(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow, text: str, conf: dict[str, str], unlike: dict[str, str]
) -> None:
    mart = project / "models" / "mart.sql"
    mart.write_text(text + mart.read_text())
    dbt.script("run", select="staging", exit_code=99)

    outcome = cosmos_airflow.run(made(dbt, project), conf=conf)

    found = {each.partition("_")[0]: state for each, state in states(outcome).items() if each not in (SELECT, DONE)}
    assert found == {**dict.fromkeys(("staging", "mart", "report"), "skipped"), "other": "success", **unlike}
    assert "Skipped as staging_run before it." in outcome.tasks["report_run"].log


@pytest.mark.long
def test_a_rule_of_the_users_stays_though_it_is_the_one_that_is_ours(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("run", select="staging", exit_code=99)

    outcome = cosmos_airflow.run(made(dbt, project, dag={"operator_args": {"trigger_rule": "none_failed"}}))

    assert states(outcome) == {**dict.fromkeys((SELECT, DONE, *MODELS), "success"), "staging": "skipped"}


@pytest.mark.long
def test_a_group_of_which_nothing_is_chosen_is_skipped_where_another_shares_the_param(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    with DAG("harbor", schedule=None, start_date=START) as dag:
        for group_id, name in (("one", "staging"), ("two", "other")):
            group(group_id, dbt, project, select=[name])

    outcome = cosmos_airflow.run(dag, conf={"select": "staging"}, raise_on_failure=True)

    assert {each: state for each, state in states(outcome).items() if state != "success"} == {"two.other": "skipped"}
    assert "chooses no task of the group two: all of them are skipped." in outcome.tasks[f"two.{SELECT}"].log


@pytest.mark.long
def test_a_batch_builds_its_chosen_nodes(dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow) -> None:
    dag = made(dbt, project, batch_by=BatchBy.ALL)
    before = len(dbt.calls)

    outcome = cosmos_airflow.run(dag, conf={"select": "staging report", "full_refresh": True}, raise_on_failure=True)

    assert {row["node"] for row in outcome.tasks["all_batch"].xcoms["dbt_nodes"]} == {
        "model.harbor.staging",
        "model.harbor.report",
    }
    assert [call[:2] for call in flags(dbt, before)] == [("ls", False), ("build", True)]


def give_two_tests(project: Path) -> None:
    """Let a model have two tests."""
    described = "{version: 2, models: [{name: other, columns: [{name: id, data_tests: [unique, not_null]}]}]}"
    (project / "models" / "other.yml").write_text(described, encoding="utf-8")


@pytest.mark.long
def test_only_the_chosen_tests_of_a_node_run(dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow) -> None:
    give_two_tests(project)
    dag = made(dbt, project, select=["other"])
    before = len(dbt.calls)

    outcome = cosmos_airflow.run(dag, conf={"select": "unique_other_id"}, raise_on_failure=True)

    assert states(outcome) == {SELECT: "success", DONE: "success", "other.run": "skipped", "other.test": "success"}
    (call,) = (call for call in dbt.calls[before:] if call.command == "test")
    assert option(call.arguments, "--select") == "fqn:harbor.unique_other_id"
    assert option(call.arguments, "--indirect-selection") == "empty"


@pytest.mark.long
def test_each_of_a_mapped_group_runs_what_is_chosen(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    from airflow.sdk import task_group

    with DAG("harbor", schedule=None, start_date=START) as dag:

        @task_group
        def per_region(region: str) -> None:
            group("dbt", dbt, project)

        per_region.expand(region=["north", "south"])
    before = len(dbt.calls)

    outcome = cosmos_airflow.run(dag, conf={"select": "mart", "vars": {"day": "2"}}, raise_on_failure=True)

    ran = {task_id for task_id, each in outcome.tasks.items() if each.state == "success"}
    assert {task_id.rpartition(".")[2].partition("[")[0] for task_id in ran} == {SELECT, DONE, "mart_run"}
    assert len(ran) == 6
    told = "day: '2'\nunit: t\n"
    assert sorted(flags(dbt, before)) == [*[("ls", False, told)] * 2, *[("run", False, told)] * 2]
