"""The tries of a task whose dbt has failed, with ``retry_on``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.compat import AIRFLOW_VERSION, AirflowFailException
from cosmos_venv.constants import BatchBy, ExecutionMode
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.operators.watcher import DbtRunWatcherOperator
from pytest_cosmos_venv import CosmosAirflow, DagOutcome, FakeVenv, NodeOutcome
from tests.fake_dags import fake_dag, write_models
from tests.kit import operator_arguments

WATCHER = {"mode": ExecutionMode.WATCHER}
MISSING = NodeOutcome(
    status="error", message="Runtime Error in model mart\n  Catalog Error: Table with name x does not exist!"
)
LOST = NodeOutcome(status="error", message="Database Error in model mart\n  server closed the connection unexpectedly")


@pytest.fixture
def project(dbt_project: Path, own_cache: Path) -> Path:
    """Two models that read nothing."""
    return write_models(dbt_project, dict.fromkeys(("mart", "quay"), "select 1 as id"))


def run(airflow: CosmosAirflow, dbt: FakeVenv, project: Path, *, given: Any = (), **arguments: Any) -> DagOutcome:
    """:param given: further arguments of the DAG's configurations.
    :param arguments: of all tasks, each of which has three tries.
    """
    dag = fake_dag(dbt, project, retries=2, dag={"operator_args": arguments}, **dict(given))
    return airflow.run(dag, raise_on_failure=False)


def tries(dbt: FakeVenv) -> int:
    """How often dbt was started for the mart."""
    return sum(any("mart" in word for word in call.arguments) for call in dbt.calls if call.command != "ls")


def test_a_failure_that_would_come_again_has_one_try(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    cosmos_fake_venv.script("run", nodes={"mart": MISSING})

    outcome = run(cosmos_airflow, cosmos_fake_venv, project, retry_on="warehouse")

    assert tries(cosmos_fake_venv) == 1
    assert outcome.tasks["mart_run"].state == "failed"
    assert (
        "No other try: the kind of the failure is 'sql', which retry_on=['warehouse'] does not name."
        in outcome.tasks["mart_run"].log
    )


@pytest.mark.parametrize(
    ("outcome", "arguments"),
    [
        pytest.param(MISSING, {}, id="without retry_on"),
        pytest.param(MISSING, {"retry_on": []}, id="empty"),
        pytest.param(MISSING, {"retry_on": ["warehouse", "sql"]}, id="named"),
        pytest.param(LOST, {"retry_on": "warehouse"}, id="connection lost"),
    ],
)
def test_another_failure_has_the_tries_of_airflow(
    outcome: NodeOutcome,
    arguments: dict[str, Any],
    cosmos_airflow: CosmosAirflow,
    cosmos_fake_venv: FakeVenv,
    project: Path,
) -> None:
    cosmos_fake_venv.script("run", nodes={"mart": outcome})

    run(cosmos_airflow, cosmos_fake_venv, project, **arguments)

    assert tries(cosmos_fake_venv) == 3


def test_a_dbt_that_was_killed_is_tried_again(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    cosmos_fake_venv.script("run", nth=1, select="mart", exit_code=137)

    outcome = run(cosmos_airflow, cosmos_fake_venv, project, retry_on="warehouse")

    assert outcome.succeeded
    assert tries(cosmos_fake_venv) == 2


def test_the_setting_counts_where_the_operator_has_no_word(
    monkeypatch: pytest.MonkeyPatch, cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__RETRY_ON", "warehouse, tests")
    cosmos_fake_venv.script("run", nodes={"mart": MISSING})

    run(cosmos_airflow, cosmos_fake_venv, project)

    assert tries(cosmos_fake_venv) == 1


@pytest.mark.parametrize(("quay", "expected"), [(MISSING, 1), (LOST, 3)])
def test_a_batch_is_tried_again_where_one_of_its_failures_may_heal(
    quay: NodeOutcome, expected: int, cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    cosmos_fake_venv.script("build", nodes={"mart": MISSING, "quay": quay})

    run(cosmos_airflow, cosmos_fake_venv, project, given={"batch_by": BatchBy.ALL}, retry_on="warehouse")

    assert tries(cosmos_fake_venv) == expected


@pytest.mark.parametrize(("mart", "expected"), [(MISSING, ["build"]), (LOST, ["build", "build", "build"])])
def test_watched_nodes_follow_it_too(
    mart: NodeOutcome,
    expected: list[str],
    cosmos_airflow: CosmosAirflow,
    cosmos_fake_venv: FakeVenv,
    project: Path,
) -> None:
    cosmos_fake_venv.script(nodes={"mart": mart})

    outcome = run(cosmos_airflow, cosmos_fake_venv, project, given=WATCHER, retry_on="warehouse")

    calls = [call.command for call in cosmos_fake_venv.calls if call.command != "ls"]
    assert [each for each in calls if each == "build"] == expected
    assert "run" not in calls or mart is LOST
    assert {outcome.tasks[each].state for each in ("mart_run", "dbt_producer_watcher")} == {"failed"}
    assert outcome.tasks["quay_run"].state == "success"


def test_a_watching_task_that_goes_on_behind_its_trigger_follows_it_too(
    cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    given = {"node_ids": ["model.harbor.mart"], "retry_on": "warehouse", "dbt_executable_path": cosmos_fake_venv.dbt}
    watching = DbtRunWatcherOperator(**operator_arguments(project, **given))
    event = {"action": "fail", "reason": "model.harbor.mart: error.", "told": {}, "try_number": 1, "kinds": ["sql"]}
    pushed: dict[str, Any] = {}
    context: Any = {"ti": SimpleNamespace(try_number=1, xcom_push=lambda key, value: pushed.update({key: value}))}
    event["xcoms"] = {"dbt_node": [{"node": "model.harbor.mart"}]}

    with pytest.raises(AirflowFailException, match="No other try: the kind of the failure is 'sql'"):
        watching.execute_complete(context, event)

    assert pushed == event["xcoms"]


def test_watching_tasks_do_not_run_dbt_for_a_project_that_cannot_be_compiled(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    lines = ["Encountered an error:", "Compilation Error", "  Model 'model.harbor.mart' depends on a node named 'x'"]
    cosmos_fake_venv.script("build", exit_code=2, stdout=lines)

    run(cosmos_airflow, cosmos_fake_venv, project, given=WATCHER, retry_on="warehouse")

    assert [call.command for call in cosmos_fake_venv.calls if call.command != "ls"] == ["build"]


@pytest.mark.skipif(AIRFLOW_VERSION < "3.3", reason="this Airflow has no retry policies")
def test_a_policy_of_the_user_decides_and_a_mapped_task_has_its_kinds(project: Path) -> None:
    from airflow.sdk import DAG, ExceptionRetryPolicy

    own = ExceptionRetryPolicy(rules=[])
    with DAG("harbor", default_args={"retry_policy": own}):
        theirs = DbtRunLocalOperator(**operator_arguments(project, retry_on="warehouse"))
    with DAG("mapped"):
        arguments = operator_arguments(project, retry_on="warehouse")
        mapped = DbtRunLocalOperator.partial(**arguments).expand(select=["mart", "quay"])
    one: Any = mapped.unmap({"select": "mart"})

    assert (theirs.retry_policy, theirs.retry_on) == (own, ())
    assert one.retry_on == ("warehouse",)


def test_an_unknown_kind_of_an_operator_or_the_setting_is_named(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    words = r"retry_on=\['network'\]: 'network' is no kind of failure. Known are: \["
    with pytest.raises(CosmosValueError, match=words):
        DbtRunLocalOperator(**operator_arguments(project, retry_on="network"))
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__RETRY_ON", "network")

    with pytest.raises(CosmosValueError, match=rf"\[cosmos_venv\] {words}"):
        DbtRunLocalOperator(**operator_arguments(project))
