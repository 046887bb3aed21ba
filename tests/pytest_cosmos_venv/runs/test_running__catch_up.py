"""A DAG catches up over months of frozen time, a run for each data interval. On Airflow 2 and 3, by both clocks."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow import DAG

from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.errors import ToolkitMisuse

try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:  # Airflow 2
    from airflow.operators.python import PythonOperator  # type: ignore[import-not-found, no-redef]

NEW_YEAR = datetime(2026, 1, 1, tzinfo=timezone.utc)
THIRD = datetime(2026, 1, 3, tzinfo=timezone.utc)


def see(**context: Any) -> list[str]:
    """What a task sees of its interval and of the time."""
    begin, end = context["data_interval_start"], context["data_interval_end"]
    return [f"{begin:%Y-%m-%d}", f"{end:%Y-%m-%d}", f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M}", context["ds"]]


def dag_of(schedule: Any, work: Any = see, **arguments: Any) -> Any:
    with DAG("harbor", schedule=schedule, **{"start_date": NEW_YEAR, "catchup": True, **arguments}) as dag:
        PythonOperator(task_id="see", python_callable=work)
    return dag


def seen(outcomes: Any) -> list[list[str]]:
    return [outcome.tasks["see"].returned for outcome in outcomes]


MONTHS = [
    ["2026-01-01", "2026-02-01", "2026-02-01 00:00", "2026-01-01"],
    ["2026-02-01", "2026-03-01", "2026-03-01 00:00", "2026-02-01"],
    ["2026-03-01", "2026-04-01", "2026-04-01 00:00", "2026-03-01"],
]


def data_intervals_of(cron: str) -> Any:
    from airflow.timetables.interval import CronDataIntervalTimetable

    return CronDataIntervalTimetable(cron, timezone="UTC")


def data_intervals_of_months() -> Any:
    return data_intervals_of("0 0 1 * *")


def test_every_month_gets_a_run_at_its_end(cosmos_airflow: CosmosAirflow) -> None:
    outcomes = cosmos_airflow.catch_up(dag_of(data_intervals_of_months()), until="2026-04-15")

    assert seen(outcomes) == MONTHS
    assert outcomes[0].logical_date == NEW_YEAR


def test_a_backfill_takes_a_part_of_the_time(cosmos_airflow: CosmosAirflow) -> None:
    dag = dag_of(data_intervals_of_months(), start_date=datetime(2020, 1, 1, tzinfo=timezone.utc))

    outcomes = cosmos_airflow.catch_up(dag, since="2026-01-15", until="2026-04-01")

    assert seen(outcomes) == MONTHS[1:]


def test_the_clock_of_the_test_stands_at_the_last_run_and_sleeping_moves_it(cosmos_airflow: CosmosAirflow) -> None:
    cosmos_airflow.at("2030-01-01")

    cosmos_airflow.catch_up(dag_of(timedelta(days=1)), until="2026-01-03")

    assert cosmos_airflow.clock.now == datetime(2026, 1, 3, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("ends", "dates"),
    [
        pytest.param({"end_date": THIRD}, ["2026-01-01", "2026-01-02", "2026-01-03"], id="dag"),
        pytest.param(
            {"task_ends": [NEW_YEAR, None]},
            ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"],
            id="not-all-tasks",
        ),
    ],
)
def test_after_its_end_date_a_dag_gets_no_run(ends: Any, dates: list[str], cosmos_airflow: CosmosAirflow) -> None:
    task_ends = ends.pop("task_ends", [])
    with DAG("pier", schedule=data_intervals_of("0 0 * * *"), start_date=NEW_YEAR, **ends) as dag:
        for number, end in enumerate(task_ends or [None]):
            PythonOperator(task_id=f"see_{number}", python_callable=see, end_date=end)

    outcomes = cosmos_airflow.catch_up(dag, until="2026-01-05")

    assert [f"{outcome.logical_date:%Y-%m-%d}" for outcome in outcomes] == dates


@pytest.mark.parametrize(
    ("schedule", "until", "said"),
    [
        (None, "2026-04-01", "has no run between 2026-01-01T00:00:00.* give it a schedule"),
        (timedelta(minutes=1), "2026-04-01", "has more than 1000 runs .* give a shorter time"),
    ],
)
def test_no_runs_and_too_many_are_refused(schedule: Any, until: str, said: str, cosmos_airflow: CosmosAirflow) -> None:
    with pytest.raises(ToolkitMisuse, match=said):
        cosmos_airflow.catch_up(dag_of(schedule), until=until)
