"""Several processes run DAGs at once in one database: contenders that were handed the fixture, and copies of a test."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow import DAG

from pytest_cosmos_venv import Contender, CosmosAirflow, CosmosRace
from tests.waiting import wait_until

try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:  # Airflow 2
    from airflow.operators.python import PythonOperator  # type: ignore[import-not-found, no-redef]


class ClosedPierError(Exception):
    """Cannot be pickled: it is made of two values and keeps one."""

    def __init__(self, pier: str, hour: int) -> None:
        super().__init__(f"pier {pier} is closed at {hour}")


def meet(folder: Path, name: str, others: int) -> int:
    """Come there, and wait until so many others have come."""
    (folder / name).touch()
    wait_until(lambda: len(list(folder.iterdir())) > others, "the others are not at work at the same time")
    return os.getpid()


def harbor(*functions: Any, dag_id: str = "harbor") -> Any:
    """A DAG of tasks that call these functions, one after the other."""
    with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        before = None
        for function in functions:
            task = PythonOperator(task_id=function.__name__, python_callable=function)
            if before is not None:
                before >> task
            before = task
    return dag


def run_to_the_end(contender: Contender, airflow: CosmosAirflow, folder: Path, dates: tuple[str | None, ...]) -> Any:
    def arrive() -> int:
        return meet(folder, contender.name, contender.count - 1)

    def leave() -> None:
        if contender.index == 1:
            raise ClosedPierError("north", 22)

    return airflow.run(harbor(arrive, leave), logical_date=dates[contender.index])


@pytest.mark.long
def test_contenders_run_one_dag_at_once(cosmos_race: CosmosRace, cosmos_airflow: CosmosAirflow, tmp_path: Path) -> None:
    race = cosmos_race(run_to_the_end, cosmos_airflow, tmp_path, (None, None, "2026-02-03"), contenders=3)

    first, second, third = race.values
    assert first.states == third.states == {"arrive": "success", "leave": "success"}
    assert second.states == {"arrive": "success", "leave": "failed"}
    assert [outcome.tasks["arrive"].returned for outcome in race.values] == [each.pid for each in race.outcomes]
    assert len({outcome.run_id for outcome in race.values}) == 3
    assert third.logical_date == datetime(2026, 2, 3, tzinfo=timezone.utc)
    error = second.exception
    assert (type(error).__name__, str(error)) == ("ClosedPierError", "pier north is closed at 22")


def run_for_one_date(contender: Contender, airflow: CosmosAirflow, folder: Path) -> None:
    def arrive() -> None:
        contender.point("arrived")
        meet(folder, contender.name, 1)

    airflow.run(harbor(arrive), logical_date="2026-02-03")


def test_two_runs_for_one_logical_date_are_refused(
    cosmos_race: CosmosRace, cosmos_airflow: CosmosAirflow, tmp_path: Path
) -> None:
    with cosmos_race.start(run_for_one_date, cosmos_airflow, tmp_path) as race:
        race.wait_for("arrived")
        while len(race.running) == 2:
            pass
        (tmp_path / "the test").touch()
        result = race.finish(check=False)

    (loser,) = [each for each in result.outcomes if not each.succeeded]
    assert (loser.exception or "").partition(": ")[2] == (
        "Another process is running DAG 'harbor' for 2026-02-03T00:00:00+00:00, and Airflow has one run for a logical "
        "date: give each of them a logical_date of its own, or none."
    )
