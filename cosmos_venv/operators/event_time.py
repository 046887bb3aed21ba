"""The interval of event times of a DAG run, as flags by which dbt chooses batches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from cosmos_venv.exceptions import CosmosValueError

DATA_INTERVAL = "data_interval"

_HOUR: dict[str, Any] = {"minute": 0, "second": 0, "microsecond": 0}
_MIDNIGHT = {**_HOUR, "hour": 0}
_PARTITIONS = {
    "hourly_partition": (timedelta(hours=1), _HOUR),
    "daily_partition": (timedelta(days=1), _MIDNIGHT),
    "weekly_partition": (timedelta(days=7), _MIDNIGHT),
    "monthly_partition": (timedelta(days=31), {**_MIDNIGHT, "day": 1}),
    "yearly_partition": (timedelta(days=366), {**_MIDNIGHT, "day": 1, "month": 1}),
}
"""The greatest length of each partition, and the fields of the time at which it begins."""
EVENT_TIMES = (DATA_INTERVAL, *_PARTITIONS)
"""The values of the operators' ``event_time``."""

# Formats of the partition keys of Airflow's own timetables and mappers, beside ISO 8601.
_KEY_FORMATS = ("%Y-%m", "%Y")


def refuse_unknown_event_time(event_time: object) -> None:
    """Refuse a value that is none of ``EVENT_TIMES``.

    :param event_time: what was given; None: the task uses no event time.
    :raises CosmosValueError: with all known values.
    """
    if event_time is not None and event_time not in EVENT_TIMES:
        choices = ", ".join(map(repr, EVENT_TIMES))
        raise CosmosValueError(
            f"event_time={event_time!r} is none of {choices}. For other times give --event-time-start and "
            "--event-time-end as dbt_cmd_flags of run and build."
        )


def event_time_flags(event_time: str, context: Mapping[str, Any]) -> list[str]:
    """The flags ``--event-time-start`` and ``--event-time-end`` of a run, in UTC, as dbt takes them.

    :param event_time: one of ``EVENT_TIMES``.
    :param context: Airflow's context of the task.
    :raises CosmosValueError: when the run has no such interval, or an empty one.
    """
    if event_time == DATA_INTERVAL:
        start, end = _data_interval(context)
    else:
        start = _in_utc(_partition_start(event_time, context))
        longest, begin = _PARTITIONS[event_time]
        if start.replace(**begin) != start:
            # Two neighbouring partitions would both build one batch, and months differ in length.
            raise CosmosValueError(
                f"event_time={event_time!r}: the partition of this run begins at {_text(start)} in UTC, in which dbt "
                "has its batches. Give the timetable timezone='UTC', or another event_time."
            )
        end = (start + longest).replace(**begin)
    return ["--event-time-start", _text(start), "--event-time-end", _text(end)]


def _data_interval(context: Mapping[str, Any]) -> tuple[datetime, datetime]:
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None or _text(start) >= _text(end):
        found = "none" if start is None or end is None else f"the empty one at {_text(start)}"
        raise CosmosValueError(
            f"event_time={DATA_INTERVAL!r} needs a data interval, and this run has {found}. Give the DAG a schedule "
            "with intervals, such as CronDataIntervalTimetable (on Airflow 3 a cron text has them where [scheduler] "
            "create_cron_data_intervals is set), or partitions and event_time='daily_partition'."
        )
    return start, end


def _partition_start(event_time: str, context: Mapping[str, Any]) -> datetime:
    # Airflow 3.3 has both in the context, 3.2 the key in the DAG run, earlier releases neither.
    date = context.get("partition_date")
    if isinstance(date, datetime):
        return date
    key = context.get("partition_key") or getattr(context.get("dag_run"), "partition_key", None)
    if not key:
        raise CosmosValueError(
            f"event_time={event_time!r} needs a partition, and this run has none. Give the DAG a timetable with "
            "partitions, such as CronPartitionTimetable of Airflow 3.2 and later, or event_time='data_interval'."
        )
    start = _parsed(str(key))
    if start is None:
        raise CosmosValueError(
            f"event_time={event_time!r}: the partition {key!r} of this run is no time. Give the timetable keys such as "
            "2026-01-31 or 2026-01-31T06:00:00, or --event-time-start and --event-time-end as dbt_cmd_flags of run and "
            "build."
        )
    return start


def _parsed(key: str) -> datetime | None:
    date, _, _ = key.partition(" (W")  # the number of the week, behind the date in Airflow's mapper of weeks
    try:
        return datetime.fromisoformat(date.replace("Z", "+00:00"))  # Python 3.10 does not read the Z
    except ValueError:
        pass
    for form in _KEY_FORMATS:
        try:
            return datetime.strptime(key, form)  # noqa: DTZ007 - a time without a zone is UTC, as dbt has it
        except ValueError:
            continue
    return None


def _text(time: datetime) -> str:
    return _in_utc(time).strftime("%Y-%m-%dT%H:%M:%S")


def _in_utc(time: datetime) -> datetime:
    return time.astimezone(timezone.utc) if time.tzinfo else time
