"""Runs of DAGs in which a model with ``on_error: continue`` has failed, on the fake dbt: what each task becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.constants import BatchBy, ExecutionMode
from cosmos_venv.exceptions import CosmosValueError
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests import fake_dags
from tests.fake_dags import fake_dag, write_models

DONE = "dbt_on_error_done"
MODELS = {
    "raw": "select 1 as id",
    "daily": "{{ config(on_error='continue') }} select * from {{ ref('raw') }}",
    "other": "select 1 as id",
    "report": "select * from {{ ref('daily') }}",
    "both": "select * from {{ ref('daily') }} join {{ ref('other') }} using (id)",
}


@pytest.fixture
def dbt(cosmos_fake_venv: FakeVenv) -> FakeVenv:
    """The fake dbt 1.12."""
    return cosmos_fake_venv(dbt_version="1.12.0")


@pytest.fixture
def project(dbt_project: Path, own_cache: Path, cosmos_airflow: CosmosAirflow) -> Path:
    """Five models: ``daily`` reads ``raw``, ``report`` reads ``daily``, ``both`` reads ``daily`` and ``other``."""
    assert not cosmos_airflow.variables.values
    return write_models(dbt_project, MODELS)


def states(
    dbt: FakeVenv, project: Path, airflow: CosmosAirflow, *, conf: dict[str, Any] | None = None, **given: Any
) -> dict[str, str]:
    """Run the DAG, which must fail, and return what became of each task."""
    dag = fake_dag(dbt, project, dag={"run_params": conf is not None}, **given)
    outcome = airflow.run(dag, conf=conf, raise_on_failure=False)
    assert outcome.state == "failed"
    return fake_dags.states(outcome)


def test_children_run_behind_the_failed_model_and_the_run_is_red(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("run", select="daily", nodes={"daily": "error"})

    assert states(dbt, project, cosmos_airflow) == {
        **dict.fromkeys(("raw", "other", "daily_run_on_error", "report", "both"), "success"),
        "daily": "failed",
        DONE: "upstream_failed",
    }


@pytest.mark.long
@pytest.mark.parametrize("broken", ["raw", "other"])
def test_a_failure_before_the_model_or_beside_it_stops_what_reads_both(
    broken: str, dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("run", select=broken, nodes={broken: "error"})

    found = states(dbt, project, cosmos_airflow)

    stopped = {"skipped", "upstream_failed"}
    assert found[broken] == "failed"
    assert found["both"] in stopped
    assert found["daily"] == ("upstream_failed" if broken == "raw" else "success")
    assert (found["report"] in stopped) == (broken == "raw")


@pytest.mark.long
def test_children_in_a_batch_run_behind_the_failed_model(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("run", select="daily", nodes={"daily": "error"})

    found = states(dbt, project, cosmos_airflow, batch_by=BatchBy.WAVE)

    assert (found["daily"], found["wave_3_batch"], found[DONE]) == ("failed", "success", "upstream_failed")


@pytest.mark.long
@pytest.mark.parametrize(
    ("select", "broken", "runs"),
    [
        pytest.param("", "daily", True, id="nothing-chosen"),
        pytest.param("", "raw", False, id="nothing-chosen-behind-another"),
        pytest.param("daily report", "daily", True, id="chosen"),
        pytest.param("raw daily report", "raw", False, id="behind-another"),
        pytest.param("raw report", "raw", False, id="behind-another-and-not-chosen"),
    ],
)
def test_a_run_that_chooses_goes_on_behind_the_model_alone(
    select: str, broken: str, runs: bool, dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("run", select=broken, nodes={broken: "error"})

    found = states(dbt, project, cosmos_airflow, conf={"select": select})

    assert found[broken] == "failed"
    assert found["report"] == ("success" if runs else "skipped")
    assert found[DONE] == "upstream_failed"


@pytest.mark.long
def test_a_task_that_watches_runs_dbt_behind_the_failed_model_in_its_next_try(
    dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    """``dbt build`` itself goes on; a later try of a task runs dbt for its node where its parents allow it."""
    rest = dict.fromkeys(("raw", "other", "both"), "success")
    dbt.script("build", nodes={"daily": "error", "report": "error", **rest})
    dbt.script("run", select="daily", nodes={"daily": "error"})

    found = states(dbt, project, cosmos_airflow, mode=ExecutionMode.WATCHER, retries=1)

    assert (found["daily"], found["report"], found["both"]) == ("failed", "success", "success")
    assert (found[DONE], found["dbt_producer_watcher_done"]) == ("upstream_failed", "upstream_failed")


@pytest.mark.parametrize(
    "how", [{"batch_by": BatchBy.ALL}, {"mode": ExecutionMode.WATCHER}], ids=["one batch", "watcher"]
)
def test_the_next_try_builds_what_was_built_of_former_rows(
    how: dict[str, Any], dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("build", nth=1, nodes={"daily": "error", "report": "success", "both": "success"})
    dbt.script("build", nth=2, nodes={"raw": "error"})

    states(dbt, project, cosmos_airflow, retries=1, **how)

    builds = [{word.rpartition(".")[2] for word in call.arguments} for call in dbt.calls if call.command == "build"]
    assert [each & {*MODELS} for each in builds[:2]] == [{*MODELS}, {*MODELS}]


@pytest.mark.parametrize("rule", ["all_done", "none_failed"])
def test_a_trigger_rule_of_the_user_is_refused_beside_it(
    rule: str, dbt: FakeVenv, project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    with pytest.raises(CosmosValueError, match=f"trigger_rule='{rule}' does not go with on_error: continue of a model"):
        fake_dag(dbt, project, dag={"default_args": {"trigger_rule": rule}})
