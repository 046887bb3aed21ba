"""DAGs whose sources are waited for, on the fake dbt: in WATCHER and VIRTUALENV, and where a run chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag
from cosmos_venv.config import ExecutionConfig
from cosmos_venv.constants import ExecutionMode, SourceRenderingBehavior
from pytest_cosmos_venv import CosmosAirflow, CosmosDbt, CosmosProject, DbtProject, FakeVenv
from tests.fake_dags import fake_dag, states

PRODUCER, DONE = "dbt_producer_watcher", "dbt_producer_watcher_done"
SHIPS, CREWS = "source.harbor.raw.ships", "source.harbor.raw.crews"
WAITS = [
    pytest.param({"poke_interval": 0.01}, id="rescheduled"),
    pytest.param({"poke_interval": 0.01, "deferrable": True}, id="deferred"),
]


@pytest.fixture
def dbt(cosmos_fake_venv: FakeVenv) -> FakeVenv:
    """The fake dbt 1."""
    return cosmos_fake_venv(dbt_version="1.11.0")


@pytest.fixture
def project(cosmos_project: CosmosProject, own_cache: Path, cosmos_airflow: CosmosAirflow) -> DbtProject:
    """Two sources, and a model of each."""
    assert not cosmos_airflow.variables.values
    project = cosmos_project("harbor")
    stale = {"error_after": {"count": 2, "period": "day"}}
    project.source("raw", tables=["ships", "crews"], freshness=stale, loaded_at_field="at")
    project.model("ships_now", "select * from {{ source('raw', 'ships') }}")
    project.model("crews_now", "select * from {{ source('raw', 'crews') }}")
    return project


def made(dbt: FakeVenv, project: DbtProject, operator_args: dict[str, Any], **given: Any) -> DbtDag:
    """The DAG of the project, whose sources are waited for."""
    dag = {"operator_args": operator_args, **given.pop("dag", {})}
    waits: dict[str, Any] = {"source_rendering_behavior": SourceRenderingBehavior.ALL, "wait_for_sources": True}
    return fake_dag(dbt, project.path, manifest=project.manifest(), dag=dag, **waits, **given)


def commands(dbt: FakeVenv) -> list[str | None]:
    return [call.command for call in dbt.calls if call.command != "ls"]


@pytest.mark.parametrize("waits", WAITS)
def test_the_producer_builds_when_all_sources_are_fresh(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow, waits: dict[str, Any]
) -> None:
    dbt.script("source freshness", nodes={SHIPS: "pass", CREWS: "pass"})
    dbt.script("source freshness", nth=1, nodes={SHIPS: "error", CREWS: "error"})

    outcome = cosmos_airflow.run(made(dbt, project, waits, mode=ExecutionMode.WATCHER))

    assert states(outcome) == dict.fromkeys(
        ("raw_ships_source", "raw_crews_source", PRODUCER, DONE, "ships_now", "crews_now"), "success"
    )
    assert commands(dbt) == ["source freshness"] * 3 + ["build"]


@pytest.mark.parametrize(("soft_fail", "state"), [(False, "failed"), (True, "skipped")])
def test_nothing_is_built_where_a_source_stays_stale(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow, *, soft_fail: bool, state: str
) -> None:
    dbt.script("source freshness", nodes={SHIPS: "error", CREWS: "error"})

    outcome = cosmos_airflow.run(
        made(dbt, project, {"timeout": 0, "soft_fail": soft_fail}, mode=ExecutionMode.WATCHER),
        raise_on_failure=False,
    )

    producer = {"failed": "upstream_failed"}.get(state, state)
    assert states(outcome) == {
        **dict.fromkeys(("raw_ships_source", "raw_crews_source"), state),
        **dict.fromkeys((PRODUCER, DONE), producer),
        **dict.fromkeys(("ships_now", "crews_now"), state),
    }
    assert commands(dbt) == ["source freshness"] * 2


def test_a_run_waits_for_the_sources_that_it_has_chosen(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("source freshness", nodes={SHIPS: "pass"})
    dbt.script("source freshness", nth=1, nodes={SHIPS: "error"})
    dag = made(dbt, project, {"poke_interval": 0.01, "deferrable": True}, dag={"run_params": True})

    outcome = cosmos_airflow.run(dag, conf={"select": "ships_now crews_now source:raw.ships"})

    assert states(outcome) == {
        **dict.fromkeys(("dbt_select", "dbt_select_done", "raw_ships_source", "ships_now", "crews_now"), "success"),
        "raw_crews_source": "skipped",
    }
    assert sorted(map(str, commands(dbt))) == ["run", "run", "source freshness", "source freshness"]


@pytest.mark.parametrize("waits", [pytest.param(*WAITS[0].values, id="rescheduled", marks=pytest.mark.long), WAITS[1]])
def test_a_run_waits_with_the_dbt_of_a_managed_environment(
    dbt: FakeVenv,
    cosmos_dbt: CosmosDbt,
    project: DbtProject,
    tmp_path: Path,
    cosmos_airflow: CosmosAirflow,
    waits: dict[str, Any],
) -> None:
    cosmos_dbt.script("source freshness", nodes={SHIPS: "pass"})
    cosmos_dbt.script("source freshness", nth=1, nodes={SHIPS: "error"})
    environment = {
        "py_requirements": ["dbt-core==1.10.0", "dbt-duckdb"],
        "pip_install_options": cosmos_dbt.pip_install_options,
    }
    execution = ExecutionConfig(ExecutionMode.VIRTUALENV, virtualenv_dir=tmp_path / "kept")

    dag = made(dbt, project, environment | waits, dag={"execution_config": execution, "run_params": True})
    outcome = cosmos_airflow.run(dag, conf={"select": "ships_now source:raw.ships"})

    assert states(outcome) == {
        **dict.fromkeys(("dbt_select", "dbt_select_done", "raw_ships_source", "ships_now"), "success"),
        **dict.fromkeys(("raw_crews_source", "crews_now"), "skipped"),
    }
    assert [call.command for call in cosmos_dbt.calls] == ["ls", "source freshness", "source freshness", "run"]
    returned = outcome.tasks["raw_ships_source"].returned
    assert {each: found["status"] for each, found in returned.items()} == {SHIPS: "pass"}
