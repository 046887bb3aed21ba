"""DAGs of ExecutionMode.WATCHER in the toolkit's runs, on both fakes of dbt: what each task becomes."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest

from cosmos_venv.constants import BatchBy, ExecutionMode
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.fake_dags import CHAIN, fake_dag, states, write_models

PRODUCER, DONE = "dbt_producer_watcher", "dbt_producer_watcher_done"
MODELS = (*CHAIN,)
ALL_GREEN = dict.fromkeys((PRODUCER, DONE, *MODELS), "success")


@pytest.fixture(params=["1.11.0", pytest.param("2.0.0a4", marks=[pytest.mark.long])])
def dbt(request: pytest.FixtureRequest, cosmos_fake_venv: FakeVenv) -> FakeVenv:
    """The fake dbt 1, and the fake dbt 2."""
    return cosmos_fake_venv(dbt_version=request.param)


@pytest.fixture
def project(dbt_project: Path, own_cache: Path, cosmos_airflow: CosmosAirflow) -> Path:
    """Three models of which each reads the one before."""
    assert not cosmos_airflow.variables.values
    return write_models(dbt_project, CHAIN)


watched = partial(fake_dag, mode=ExecutionMode.WATCHER)


def commands(dbt: FakeVenv) -> list[tuple[str, set[str]]]:
    calls = [call for call in dbt.calls if call.command != "ls"]
    return [(str(call.command), {word.rpartition(".")[2] for word in call.arguments} & {*MODELS}) for call in calls]


def test_a_failed_node_fails_the_run_although_its_leaf_is_skipped(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("build", nodes={"mart": "error"})

    outcome = cosmos_airflow.run(watched(dbt, project), raise_on_failure=False)

    assert not outcome.succeeded
    assert states(outcome) == {
        PRODUCER: "failed",
        DONE: "upstream_failed",
        "staging": "success",
        "mart": "failed",
        "report": "skipped",
    }
    log = outcome.tasks[PRODUCER].log
    assert log.count("mart failed, 1 skipped, 1 of 3 nodes done.") == 1
    assert log.count("dbt's last lines:") == 1


@pytest.mark.long
def test_a_retry_of_the_producer_builds_what_is_not_done_and_nothing_twice(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("build", nth=1, nodes={"mart": "error"})

    outcome = cosmos_airflow.run(watched(dbt, project, retries=1))

    assert states(outcome) == ALL_GREEN
    assert commands(dbt) == [("build", {*MODELS}), ("build", {"mart", "report"})]


def test_a_task_of_several_nodes_runs_alone_what_the_producer_has_not_built(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("build", nth=1, nodes={"mart": "error"})

    outcome = cosmos_airflow.run(
        watched(dbt, project, retries=1, setup={"retries": 0}, batch_by=BatchBy.ALL), raise_on_failure=False
    )

    assert states(outcome) == {PRODUCER: "failed", DONE: "upstream_failed", "all_batch": "success"}
    assert commands(dbt) == [("build", {*MODELS}), ("build", {"mart", "report"})]
    rows = outcome.tasks["all_batch"].xcoms["dbt_nodes"]
    assert {row["node"].rpartition(".")[2]: row["status"] for row in rows} == {"mart": "success", "report": "success"}


def test_a_task_of_several_nodes_ends_with_the_worst_of_them(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("build", nodes={"mart": "error"})

    outcome = cosmos_airflow.run(watched(dbt, project, batch_by=BatchBy.WAVE), raise_on_failure=False)

    assert not outcome.succeeded
    assert states(outcome) == {
        PRODUCER: "failed",
        DONE: "upstream_failed",
        "wave_1_batch": "success",
        "wave_2_batch": "failed",
        "wave_3_batch": "skipped",
    }


@pytest.mark.parametrize("at", MODELS)
def test_a_killed_dbt_leaves_no_green_task_over_an_unbuilt_node(
    at: str, dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("build", at=at, crash=signal.SIGKILL)

    outcome = cosmos_airflow.run(watched(dbt, project), raise_on_failure=False)

    built = MODELS[: MODELS.index(at)]
    found = states(outcome)
    assert (found[PRODUCER], found[DONE]) == ("failed", "upstream_failed")
    assert {each for each in MODELS if found[each] == "success"} == {*built}
    assert {found[each] for each in MODELS if each not in built} == {"failed"}
