"""A DAG that was made in a test runs to its end, and all that came of it is told. On Airflow 2 and 3."""

from __future__ import annotations

import itertools
import logging
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import pytest
from airflow import DAG

from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.airflow.home import AirflowHome
from pytest_cosmos_venv.errors import ToolkitMisuse

try:
    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.sdk import Asset
except ImportError:  # Airflow 2
    from airflow.datasets import Dataset as Asset  # type: ignore[import-not-found, no-redef]
    from airflow.operators.python import PythonOperator  # type: ignore[import-not-found, no-redef]


START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def dag_of(*operators: Any, dag_id: str = "harbor", **arguments: Any) -> Any:
    """A DAG of these operators, one after the other."""
    with DAG(dag_id, schedule=None, start_date=START, **arguments) as dag:
        made = [operator() for operator in operators]
    for one, next_one in itertools.pairwise(made):
        one.set_downstream(next_one)
    return dag


def python(task_id: str, function: Any, **arguments: Any) -> Callable[[], Any]:
    return lambda: PythonOperator(task_id=task_id, python_callable=function, **arguments)


def sink() -> None:
    raise ValueError("the pier is closed")


@pytest.fixture
def row_counts(_cosmos_airflow_home: AirflowHome) -> Callable[[], dict[str, int]]:
    """Set up before the fixtures under test, so that it looks again after them."""

    def count() -> dict[str, int]:
        with closing(sqlite3.connect(_cosmos_airflow_home.database)) as connection:
            found = connection.execute(
                "select name from sqlite_master where type = 'table' and name not like 'sqlite%'"
            )
            tables = [name for (name,) in found]
            count = "select count(*) from {}".format
            return {table: connection.execute(count(table)).fetchone()[0] for table in tables}

    return count


@pytest.fixture
def nothing_is_left(row_counts: Callable[[], dict[str, int]]) -> Iterator[None]:
    def everything() -> tuple[dict[str, int], dict[str, str], list[logging.Handler]]:
        variables = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        return row_counts(), variables, list(logging.getLogger("airflow.task").handlers)

    before = everything()
    yield
    assert everything() == before


def test_states_results_and_logs_are_told(cosmos_airflow: CosmosAirflow) -> None:
    def load() -> dict[str, int]:
        logging.getLogger("crane").info("lifted %s", 3)
        print("and put down")
        print("gently", file=sys.stderr)
        return {"containers": 3}

    outcome = cosmos_airflow.run(dag_of(python("load", load), python("count", lambda: 1)))

    assert outcome.succeeded
    assert outcome.states == {"load": "success", "count": "success"}
    assert list(outcome.tasks) == ["load", "count"]
    assert outcome.tasks["load"].returned == {"containers": 3}
    assert outcome.tasks["load"].xcoms == {"return_value": {"containers": 3}}
    assert "INFO - lifted 3\nand put down\ngently\n" in outcome.tasks["load"].log
    assert "lifted" not in outcome.tasks["count"].log
    assert 0 < outcome.tasks["load"].duration < outcome.duration
    with pytest.raises(KeyError, match="'laod' is no task of this run; there are load, count"):
        _ = outcome.tasks["laod"]


def test_a_failure_is_part_of_the_outcome(cosmos_airflow: CosmosAirflow) -> None:
    outcome = cosmos_airflow.run(dag_of(python("sink", sink), python("count", lambda: 1)))

    assert not outcome.succeeded
    assert outcome.states == {"sink": "failed", "count": "upstream_failed"}
    error = outcome.tasks["sink"].exception
    assert (type(error), str(error)) == (ValueError, "the pier is closed")
    assert outcome.tasks["count"].exception is None
    assert repr(outcome) == "<DAG harbor failed: sink failed, count upstream_failed>"
    lines = str(outcome).splitlines()
    assert lines[1].split() == ["task", "state", "tries", "seconds", "exception"]
    assert re.fullmatch(r"sink   failed           1      \d+\.\d\d +ValueError: the pier is closed", lines[2])
    assert "--- the last lines of sink's log" in str(outcome)
    assert "task_runner.py" not in str(outcome)
    assert "ValueError: the pier is closed" in str(outcome).partition("--- the last lines")[2]


def test_tries_follow_each_other_without_a_wait(cosmos_airflow: CosmosAirflow) -> None:
    seen: list[int] = []

    def third_time_lucky() -> None:
        seen.append(1)
        assert len(seen) == 3

    dag = dag_of(python("lucky", third_time_lucky), default_args={"retries": 2})
    outcome = cosmos_airflow.run(dag)

    assert outcome.states == {"lucky": "success"}
    assert outcome.tasks["lucky"].tries == 3
    assert outcome.tasks["lucky"].exception is None
    assert outcome.duration < 60
    assert dag.get_task("lucky").retry_delay.total_seconds() == 300


def test_mapped_tasks_are_told_one_by_one(cosmos_airflow: CosmosAirflow) -> None:
    with DAG("mapped", schedule=None, start_date=START, default_args={"retries": 1}) as dag:
        PythonOperator.partial(task_id="double", python_callable=lambda n: 10 // n).expand(op_args=[[1], [0]])

    outcome = cosmos_airflow.run(dag)

    assert outcome.states == {"double[0]": "success", "double[1]": "failed"}
    assert outcome.tasks["double[0]"].returned == 10
    assert isinstance(outcome.tasks["double[1]"].exception, ZeroDivisionError)
    assert outcome.tasks["double[1]"].tries == 2


def test_emitted_assets_are_told_and_those_of_a_failed_task_are_not(cosmos_airflow: CosmosAirflow) -> None:
    outcome = cosmos_airflow.run(
        dag_of(
            python("piers", lambda: None, outlets=[Asset("file:///piers")]),
            python("sink", sink, outlets=[Asset("file:///ships")]),
        )
    )

    assert [asset.uri for asset in outcome.assets] == ["file:///piers"]
    assert outcome.tasks["piers"].assets[0].name == "file:///piers"
    assert outcome.tasks["sink"].assets == ()


def test_date_id_and_configuration_of_the_run_can_be_given(cosmos_airflow: CosmosAirflow) -> None:
    def tell(**context: Any) -> list[str]:
        return [context["ds"], context["run_id"], context["dag_run"].conf["tide"], context["params"]["tide"]]

    dag = dag_of(python("tell", tell), params={"tide": "low"})
    outcome = cosmos_airflow.run(dag, logical_date="2026-02-03", run_id="by_hand", conf={"tide": "high"})

    assert outcome.tasks["tell"].returned == ["2026-02-03", "by_hand", "high", "high"]
    assert outcome.run_id == "by_hand"
    assert outcome.logical_date == datetime(2026, 2, 3, tzinfo=timezone.utc)


@pytest.mark.parametrize("time", ["first", "second"])
@pytest.mark.usefixtures("nothing_is_left")
def test_the_same_dag_id_can_run_in_each_test_and_leaves_nothing(time: str, cosmos_airflow: CosmosAirflow) -> None:
    outcome = cosmos_airflow.run(
        dag_of(python(time, lambda: 1, outlets=[Asset("file:///piers")]), python("sink", sink)), run_id="always"
    )

    assert outcome.states == {time: "success", "sink": "failed"}


@pytest.mark.parametrize("time", ["first", "second"])
def test_rows_that_a_test_changes_or_deletes_come_back(time: str, cosmos_airflow: CosmosAirflow) -> None:
    with closing(sqlite3.connect(cosmos_airflow.home.database)) as connection, connection:
        found = connection.execute("select slots from slot_pool").fetchall()
        versions = connection.execute("select count(*) from alembic_version").fetchone()
        connection.execute("update slot_pool set slots = 3")
        connection.execute("delete from alembic_version")

    assert found == [(128,)], time
    assert versions == (1,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(
            {"logical_date": "2020-01-01"},
            r"DAG 'harbor' starts on 2026-01-01T00:00:00\+00:00, "
            r"so that a run for 2020-01-01.* has no tasks, and succeeds",
            id="before-the-dag-starts",
        ),
    ],
)
def test_a_run_that_cannot_be_is_refused(options: dict[str, Any], words: str, cosmos_airflow: CosmosAirflow) -> None:
    with pytest.raises(ToolkitMisuse, match=words):
        cosmos_airflow.run(dag_of(python("one", lambda: 1)), **options)


def test_a_second_run_of_the_same_id_is_refused(cosmos_airflow: CosmosAirflow) -> None:
    dag = dag_of(python("one", lambda: 1))
    cosmos_airflow.run(dag, run_id="r", logical_date="2026-02-03")

    with pytest.raises(ToolkitMisuse, match="run_id='r': DAG 'harbor' has a run of this id already"):
        cosmos_airflow.run(dag, run_id="r")


def test_on_request_a_failure_is_raised_with_the_table(cosmos_airflow: CosmosAirflow) -> None:
    with pytest.raises(AssertionError, match=r"DAG harbor: failed in .*\n.*\nsink +failed") as raised:
        cosmos_airflow.run(dag_of(python("sink", sink)), raise_on_failure=True)

    assert isinstance(raised.value.__cause__, ValueError)
