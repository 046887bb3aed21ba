"""The event times of a run, as flags for dbt."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.event_time import event_time_flags
from cosmos_venv.operators.local import DbtBuildLocalOperator, DbtRunLocalOperator
from tests.kit import operator_arguments

TAIPEI = timezone(timedelta(hours=8))


def utc(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=timezone.utc)


def interval(start: datetime | None, end: datetime | None) -> dict[str, Any]:
    return {"data_interval_start": start, "data_interval_end": end}


def key(text: str) -> dict[str, Any]:
    return {"partition_key": text, "partition_date": None}


OF_A_WEEK = SimpleNamespace(partition_key="2026-01-26")


@pytest.mark.parametrize(
    ("event_time", "context", "times"),
    [
        pytest.param("data_interval", interval(utc(2026, 1, 1), utc(2026, 1, 2)), "01-01T00 01-02T00", id="interval"),
        pytest.param(
            "data_interval",
            interval(datetime(2026, 1, 1, 8, tzinfo=TAIPEI), datetime(2026, 1, 1, 9, tzinfo=TAIPEI)),
            "01-01T00 01-01T01",
            id="interval-of-another-zone",
        ),
        pytest.param(
            "daily_partition",
            {"partition_date": utc(2026, 1, 31), "partition_key": "January's last"},
            "01-31T00 02-01T00",
            id="date",
        ),
        pytest.param("hourly_partition", key("2026-01-31T23:00:00"), "01-31T23 02-01T00", id="key"),
        pytest.param("weekly_partition", {"dag_run": OF_A_WEEK}, "01-26T00 02-02T00", id="key-of-airflow-3.2"),
        pytest.param("monthly_partition", key("2026-01"), "01-01T00 02-01T00", id="month"),
        pytest.param("weekly_partition", key("2026-01-26 (W05)"), "01-26T00 02-02T00", id="week-of-airflow's-mapper"),
        pytest.param(
            "hourly_partition", key("2026-01-31T06:00:00Z"), "01-31T06 01-31T07", id="z-unknown-to-python-3.10"
        ),
    ],
)
def test_the_times_of_a_run_are_flags_in_utc(event_time: str, context: dict[str, Any], times: str) -> None:
    start, end = (f"2026-{each}:00:00" for each in times.split())
    assert event_time_flags(event_time, context) == ["--event-time-start", start, "--event-time-end", end]


@pytest.mark.parametrize(
    ("event_time", "context", "words"),
    [
        pytest.param("data_interval", {}, "this run has none", id="no-interval"),
        pytest.param(
            "data_interval",
            interval(utc(2026, 1, 1), utc(2026, 1, 1)),
            "this run has the empty one at 2026-01-01T00:00:00. .* CronDataIntervalTimetable",
            id="empty-interval",
        ),
        pytest.param(
            "daily_partition",
            {"dag_run": SimpleNamespace()},
            "this run has none. Give the DAG a timetable with partitions",
            id="no-partition",
        ),
        pytest.param("daily_partition", {"partition_key": "north"}, "the partition 'north' .* is no time", id="place"),
        pytest.param(
            "daily_partition",
            {"partition_date": datetime(2026, 1, 1, tzinfo=TAIPEI)},
            "begins at 2025-12-31T16:00:00 in UTC, in which dbt has its batches",
            id="another-zone",
        ),
        pytest.param("monthly_partition", {"partition_key": "2026-01-31"}, "begins at 2026-01-31T", id="no-month"),
    ],
)
def test_a_run_without_such_times_is_refused_with_the_way_out(
    event_time: str, context: dict[str, Any], words: str
) -> None:
    with pytest.raises(CosmosValueError, match=f"event_time='{event_time}'.*{words}"):
        event_time_flags(event_time, context)


@pytest.mark.parametrize("cls", [DbtBuildLocalOperator, DbtRunLocalOperator])
def test_an_operator_refuses_another_event_time(cls: Any, tmp_path: Path) -> None:
    with pytest.raises(CosmosValueError, match="event_time='day' is none of 'data_interval', 'hourly_partition'"):
        cls(**operator_arguments(tmp_path, event_time="day"))


@pytest.mark.parametrize("cls", [DbtBuildLocalOperator, DbtRunLocalOperator])
def test_a_full_refresh_builds_all_batches(cls: Any, tmp_path: Path) -> None:
    context = interval(utc(2026, 1, 1), utc(2026, 1, 2))
    arguments = operator_arguments(tmp_path, event_time="data_interval")

    command, _ = cls(**arguments).build_cmd(context)
    refreshing, _ = cls(**arguments, full_refresh=True).build_cmd(context)

    assert "--event-time-start" in command
    assert "--event-time-start" not in refreshing
    assert "--full-refresh" in refreshing
