"""Time stands, moves and sleeps as the test says, in the test and in a task."""

from __future__ import annotations

import sys
import time
from datetime import date, datetime, timedelta, timezone
from time import sleep
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosAirflow

NEW_YEAR = datetime(2030, 1, 1, tzinfo=timezone.utc)
real_time = time.time


def timestamp() -> datetime:
    return datetime.now(timezone.utc)


def python_operator(function: Any) -> Any:
    try:
        from airflow.providers.standard.operators.python import PythonOperator
    except ImportError:  # Airflow 2
        from airflow.operators.python import PythonOperator  # type: ignore[import-not-found, no-redef]
    return PythonOperator(task_id="call", python_callable=function)


def test_a_task_sees_the_frozen_time_even_if_it_is_the_first_of_the_process(cosmos_airflow: CosmosAirflow) -> None:
    cosmos_airflow.at("2030-01-01")

    def wait(**context: Any) -> list[Any]:
        began, monotonic = timestamp(), time.monotonic()
        time.sleep(600)
        return [context["ds"], began.isoformat(), timestamp().isoformat(), time.monotonic() - monotonic >= 600]

    task = cosmos_airflow.run(python_operator(wait))

    assert task.returned == ["2030-01-01", "2030-01-01T00:00:00+00:00", "2030-01-01T00:10:00+00:00", True], str(task)
    assert timestamp() == datetime(2030, 1, 1, 0, 10, tzinfo=timezone.utc) == cosmos_airflow.clock.now
    assert task.duration < 300


@pytest.mark.parametrize(
    "when",
    [
        "2030-01-01",
        "2030-01-01T01:00:00+01:00",
        "2030-01-01T00:00:00Z",
        date(2030, 1, 1),
        datetime(2030, 1, 1),  # noqa: DTZ001 - without a time zone it is in UTC
        NEW_YEAR,
    ],
    ids=str,
)
def test_a_moment_can_be_written_in_many_ways(when: Any, cosmos_airflow: CosmosAirflow) -> None:
    cosmos_airflow.at(when)

    assert timestamp() == NEW_YEAR == cosmos_airflow.clock.now
    assert time.time() == NEW_YEAR.timestamp()


def test_a_frozen_clock_moves_only_when_told(cosmos_airflow: CosmosAirflow) -> None:
    cosmos_airflow.at(NEW_YEAR)

    cosmos_airflow.clock.move(timedelta(hours=1))
    cosmos_airflow.clock.move(-60)

    assert timestamp() == NEW_YEAR + timedelta(minutes=59)


def test_a_moved_clock_stands(cosmos_airflow: CosmosAirflow) -> None:
    before = timestamp()

    cosmos_airflow.clock.move(3600)

    first = timestamp()
    assert first - before >= timedelta(hours=1)
    assert timestamp() == first == cosmos_airflow.clock.now


def test_sleeping_moves_it_under_every_name_of_the_function(cosmos_airflow: CosmosAirflow) -> None:
    cosmos_airflow.at(NEW_YEAR)
    monotonic = time.monotonic()

    time.sleep(100)
    sleep(50)

    assert timestamp() == NEW_YEAR + timedelta(seconds=150)
    assert time.monotonic() - monotonic >= 150
    with pytest.raises(ValueError, match="non-negative"):
        time.sleep(-1)


def test_afterwards_everything_is_real_again() -> None:
    assert time.time is real_time
    assert sleep is time.sleep
    assert type(time.sleep).__name__ == "builtin_function_or_method"
    assert abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 60


def test_the_duration_that_pytest_tells_is_real(cosmos_airflow: CosmosAirflow) -> None:
    timing = sys.modules["_pytest.timing"]
    began = timing.perf_counter()

    cosmos_airflow.at(NEW_YEAR)

    assert 0 <= timing.perf_counter() - began < 60
