"""What was dbt told? Reads the files that calls of the look-alike left behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import RecordList
from pytest_cosmos_venv.lookalike.command_line import Invocation, UsageError


@dataclass(frozen=True, kw_only=True)
class DbtCall:
    """One call of the look-alike dbt.

    :param argv: its command line; element 0 is the path of the console script.
    :param cwd: the directory in which it ran.
    :param env: all its variables. They are not shown in a failure's message, because a password may be among them.
    :param pid: its process.
    :param ppid: the process that started it.
    :param prefix: the environment whose Python ran it.
    :param dbt_version: the version of the look-alike.
    :param stdin: what could be read at once, up to 64 KiB; None where it was a terminal or closed.
    :param child_pid: the child that it was scripted to fork.
    :param signals: names of the signals that it received, in order: ``("SIGINT", "SIGTERM")``.
    :param started_at: seconds since the epoch.
    :param held_at: when it began to wait for ``release()``; None where it did not.
    :param ended_at: the same, or None while it runs and when it was killed.
    :param exit_code: None as for ``ended_at``.
    :param misuse: what its script says and its project cannot do; such a call ends with 2, and fails its test.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    pid: int
    prefix: Path
    dbt_version: str
    started_at: float
    ended_at: float | None
    exit_code: int | None
    ppid: int = 0
    stdin: str | None = None
    child_pid: int | None = None
    signals: tuple[str, ...] = ()
    held_at: float | None = None
    misuse: str | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line without the executable."""
        return self.argv[1:]

    @property
    def words(self) -> tuple[str, ...]:
        """Neither options nor values of them: ``("run-operation", "grant")``; none where dbt would have refused it."""
        try:
            return tuple(Invocation(list(self.arguments)).words)
        except UsageError:
            return ()

    def option(self, *names: str) -> str | None:
        """The value of an option under any of its names, whether it is spelt ``--target dev`` or ``--target=dev``.

        :param names: such as ``"--target"``, ``"-t"``.
        :return: where it is there several times the last, as dbt takes it; None where it is not there, has no value, or
            dbt would have refused the command line.
        """
        try:
            values = Invocation(list(self.arguments)).all(*names)
        except UsageError:
            return None
        return values[-1] if values else None

    @property
    def command(self) -> str | None:
        """``run``, ``docs generate``, ``--version``, ...; None where dbt would have refused the command line."""
        try:
            return Invocation(list(self.arguments)).command
        except UsageError:
            return None


def read_dbt_calls(folder: Path) -> list[DbtCall]:
    """Every call on record in ``folder``, the earliest first; none where the folder does not exist."""
    calls = [_read_call(file) for file in sorted(folder.glob("*.jsonl"))]
    found = sorted((call for call in calls if call is not None), key=lambda call: call.started_at)
    return RecordList(
        found, of="calls", none="dbt was not called", word=lambda call: " ".join(("dbt", *call.arguments))
    )


def _read_call(file: Path) -> DbtCall | None:
    *lines, _unfinished = file.read_text(encoding="utf-8").split("\n")
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    by_name = {event["event"]: event for event in events}
    start = by_name.get("start")
    if start is None:  # the file has been made and its first line not yet written
        return None
    end = by_name.get("end", {})
    return DbtCall(
        argv=tuple(start["argv"]),
        cwd=Path(start["cwd"]),
        env=start["env"],
        pid=start["pid"],
        ppid=start["ppid"],
        prefix=Path(start["prefix"]),
        dbt_version=start["dbt_version"],
        stdin=start["stdin"],
        child_pid=by_name.get("child", {}).get("pid"),
        signals=tuple(event["name"] for event in events if event["event"] == "signal"),
        started_at=start["at"],
        held_at=by_name.get("held", {}).get("at"),
        ended_at=end.get("at"),
        exit_code=end.get("exit_code"),
        misuse=by_name.get("misuse", {}).get("message"),
    )
