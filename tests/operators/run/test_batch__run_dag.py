"""Batches in a DAG that the toolkit runs: a kill of dbt at any event, and what the next try does then."""

from __future__ import annotations

import shutil
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag
from cosmos_venv.compat import AIRFLOW_VERSION
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.fake_dags import CHAIN, fake_dag, write_models

NODES = (*CHAIN,)
PLACES = [{where: node} for node in NODES for where in ("at", "after")]
HAS_TASK_STATE = tuple(map(int, AIRFLOW_VERSION.split(".")[:2])) >= (3, 3)


@pytest.fixture(params=["1.10.0", pytest.param("2.0.0a4", marks=[pytest.mark.long])])
def dbt(request: pytest.FixtureRequest, cosmos_fake_venv: FakeVenv) -> FakeVenv:
    """The fake dbt 1, and the fake dbt 2."""
    return cosmos_fake_venv(dbt_version=request.param)


@pytest.fixture
def harbor(dbt: FakeVenv, dbt_project: Path, own_cache: Path, cosmos_airflow: CosmosAirflow) -> DbtDag:
    """A DAG of one batch of three models, each of which reads the one before; one retry."""
    assert not cosmos_airflow.variables.values
    models = write_models(dbt_project, CHAIN)
    return fake_dag(dbt, models, retries=1, batch_by=lambda nodes: dict.fromkeys(nodes, "all"))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: "-".join(*place.items()))
def test_a_kill_at_any_event_leaves_the_next_try_what_is_not_done(
    place: dict[str, Any], harbor: DbtDag, dbt: FakeVenv, cosmos_airflow: CosmosAirflow, own_cache: Path
) -> None:
    dbt.script("build", nth=1, crash=signal.SIGKILL, **place)

    outcome = cosmos_airflow.run(harbor)

    assert outcome.states == {"all_batch": "success"}
    assert outcome.tasks["all_batch"].tries == 2
    first, second = (set(call.nodes) for call in dbt.calls if call.command == "build")
    every = {f"model.harbor.{name}" for name in NODES}
    assert first == {f"model.harbor.{name}" for name in NODES[: PLACES.index(place) // 2 + ("after" in place)]}
    # Behind the last node nothing is left to do, and something has failed: all of it runs again.
    assert second == ((every - first) or every)
    rows: list[dict[str, Any]] = outcome.tasks["all_batch"].xcoms["dbt_nodes"]
    assert {row["node"]: (row["status"], row["try_number"]) for row in rows} == {
        each: ("success", 2 if each in second else 1) for each in every
    }
    assert {asset.uri.rpartition("/")[2] for asset in outcome.tasks["all_batch"].assets} == {*NODES}
    assert not [name for name in cosmos_airflow.variables.values if "journal" in name]
    assert not [*own_cache.glob("journals-v1/*")]


def test_a_try_on_another_host_learns_what_is_done_from_airflow(
    harbor: DbtDag, dbt: FakeVenv, cosmos_airflow: CosmosAirflow, own_cache: Path
) -> None:
    """By the task state store where there is one: what a run that was deleted has left there is gone with the run."""
    dbt.script("build", nth=1, nodes={"mart": "error"})
    harbor.get_task("all_batch").on_retry_callback = [lambda _: shutil.rmtree(own_cache)]

    outcome = cosmos_airflow.run(harbor)

    assert outcome.states == {"all_batch": "success"}
    second = [call for call in dbt.calls if call.command == "build"][1]
    assert set(second.nodes) == {"model.harbor.mart", "model.harbor.report"}
    assert any("journal" in write.key for write in cosmos_airflow.variables.writes) is not HAS_TASK_STATE
    assert not [name for name in [*task_states(), *cosmos_airflow.variables.values] if "journal" in name]


def task_states() -> list[str]:
    """The names of what is in Airflow's task state store."""
    if not HAS_TASK_STATE:
        return []
    model: Any = import_module("airflow.models.task_state_store").TaskStateStoreModel
    with import_module("airflow.utils.session").create_session() as session:
        return [key for (key,) in session.query(model.key)]


FILES = {
    "orders": "{{ config(tags=['nightly']) }} select 1 as id",
    "orders/lines": "{{ config(tags=['nightly']) }} select * from {{ ref('orders') }}",
    "orders/report": "select * from {{ ref('lines') }}",
    "piers": "{{ config(tags=['hourly']) }} select 1 as id",
    "../tests/no_orders": "select * from {{ ref('orders') }}",
}


@pytest.mark.long
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("behavior", ["after_each", "build"])
@pytest.mark.parametrize(
    ("batch_by", "tasks"),
    [
        ("tag", {"hourly_batch": {"piers"}, "nightly_batch": {"orders", "lines"}, "report": {"report"}}),
        ("chain", {"orders_batch": {"orders", "lines", "report"}, "piers_batch": {"piers"}}),
        ("all", {"all_batch": {"orders", "lines", "report", "piers"}}),
    ],
)
def test_batches_of_each_kind_build_their_nodes(
    batch_by: str,
    tasks: dict[str, set[str]],
    behavior: str,
    dbt: FakeVenv,
    dbt_project: Path,
    cosmos_airflow: CosmosAirflow,
) -> None:
    models = write_models(dbt_project, FILES)

    outcome = cosmos_airflow.run(fake_dag(dbt, models, batch_by=batch_by, test_behavior=behavior))

    assert outcome.succeeded
    found = {
        task_id: {row["node"].split(".")[2] for row in task.xcoms["dbt_nodes"]}
        for task_id, task in outcome.tasks.items()
        if task_id.endswith("_batch")
    }
    tested = next(task_id for task_id, names in tasks.items() if "orders" in names)
    assert found == {
        task_id: names | ({"no_orders"} if task_id == tested else set())
        for task_id, names in tasks.items()
        if task_id.endswith("_batch")
    }
    ran = [each.split(".")[2] for call in dbt.calls if call.command in ("build", "run") for each in call.nodes]
    assert sorted(ran) == ["lines", "no_orders", "orders", "piers", "report"], "each once"
