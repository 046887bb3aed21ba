"""What was dbt told? Reads the files that calls of the look-alike left behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DbtCall:
    """One call of the look-alike dbt.

    :param argv: its command line; element 0 is the path of the console script.
    :param cwd: the directory in which it ran.
    :param env: its variables named ``AIRFLOW_CTX_*``, ``COSMOS_*``, ``DBT_*``, ``PYTHON*`` and ``VIRTUAL_ENV*``.
    :param prefix: the environment whose Python ran it.
    :param dbt_version: the version of the look-alike wheel.
    :param started_at: seconds since the epoch.
    :param ended_at: the same, or None while it runs and when it was killed.
    :param exit_code: None as for ``ended_at``.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    pid: int
    prefix: Path
    dbt_version: str
    started_at: float
    ended_at: float | None
    exit_code: int | None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line without the executable."""
        return self.argv[1:]


def read_dbt_calls(folder: Path) -> list[DbtCall]:
    """Every call on record in ``folder``, the earliest first; none where the folder does not exist."""
    calls = [_read_call(file) for file in sorted(folder.glob("*.jsonl"))]
    return sorted((call for call in calls if call is not None), key=lambda call: call.started_at)


def _read_call(file: Path) -> DbtCall | None:
    events = {event["event"]: event for event in map(json.loads, file.read_text(encoding="utf-8").splitlines())}
    start = events.get("start")
    if start is None:  # the file has been made and its first line not yet written
        return None
    end = events.get("end", {})
    return DbtCall(
        argv=tuple(start["argv"]),
        cwd=Path(start["cwd"]),
        env=start["env"],
        pid=start["pid"],
        prefix=Path(start["prefix"]),
        dbt_version=start["dbt_version"],
        started_at=start["at"],
        ended_at=end.get("at"),
        exit_code=end.get("exit_code"),
    )
