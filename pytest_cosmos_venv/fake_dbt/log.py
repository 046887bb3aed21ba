"""The output of the fake dbt: text with a time before each line, or JSON; and that of dbt 2, which has no times."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from .command_line import Invocation, variable

_LEVELS = ("debug", "info", "warn", "error", "none")
_WIDTH = 80
_FALSE = ("", "0", "false", "f", "no", "n", "off")
# The codes that dbt gives its events; readers of JSON logs know the names.
_CODES = {
    "AdapterRegistered": "E034",
    "ConcurrencyLine": "Q027",
    "EndOfRunSummary": "Z030",
    "FinishedRunningStats": "E047",
    "Formatting": "Z017",
    "FoundStats": "W006",
    "LogModelResult": "Q012",
    "LogSeedResult": "Q016",
    "LogSnapshotResult": "Q015",
    "LogStartLine": "Q011",
    "LogTestResult": "Q007",
    "MainReportVersion": "A001",
    "RunResultError": "Z024",
    "RunResultFailure": "Z022",
    "RunResultWarning": "Z021",
    "SQLCompiledPath": "Z026",
    "SkippingDetails": "Q034",
    "StatsLine": "Z023",
}
_NATIVE_LEVELS = ("off", "error", "warn", "info", "debug", "trace")
_NATIVE_CODES = {
    "ArtifactWritten": "P001",
    "CommandCompleted": "Q039",
    "DebugCmdResult": "Z048",
    "LogModelResult": "Q012",
    "LogSeedResult": "Q016",
    "LogSnapshotResult": "Q015",
    "LogStartLine": "Q011",
    "LogTestResult": "Q007",
    "MainReportArgs": "A002",
    "MainReportVersion": "A001",
    "MarkSkippedChildren": "Z033",
    "NodeExecuting": "Q031",
    "NodeFinished": "Q025",
    "NodeStart": "Q024",
    "PrintEvent": "Z052",
}


class Log:
    """dbt's standard output, in the form that the options of the command line ask for.

    :param invocation: the command line.
    :param silent: whether the test gave the lines, so that dbt's own are not printed.
    """

    def __init__(self, invocation: Invocation, *, silent: bool) -> None:
        self.invocation_id = new_id()
        self.started_at = now()
        self._silent = silent
        self._is_json = setting(invocation, "--log-format", default="default").lower() == "json"
        level = setting(invocation, "--log-level", default="info").lower()
        self._threshold = "error" if switch(invocation, "quiet") else level

    def say(self, message: str = "", *, name: str = "Formatting", level: str = "info", **data: Any) -> None:
        """Print one event.

        :param message: the text; may be empty.
        :param name: dbt's name of the event.
        :param level: ``debug``, ``info``, ``warn`` or ``error``.
        :param **data: the fields of the event in a JSON log; without any, the text alone.
        """
        if self._silent or _LEVELS.index(level) < _LEVELS.index(self._threshold):
            return
        if self._is_json:
            self._print_json(message, name, level, data or {"msg": message})
        else:
            print(f"{time.strftime('%H:%M:%S')}  {message}", flush=True)

    def repeat(self, event: dict[str, Any]) -> None:
        """Print an event that was recorded, as one of this call.

        :param event: the event, as a JSON log has it.
        """
        info = event["info"]
        if self._silent or _LEVELS.index(info["level"]) < _LEVELS.index(self._threshold):
            return
        if self._is_json:
            now_and_here = {"invocation_id": self.invocation_id, "pid": os.getpid(), "ts": now()}
            print(json.dumps({**event, "info": {**info, **now_and_here}}), flush=True)
        else:
            print(f"{time.strftime('%H:%M:%S')}  {info['msg']}", flush=True)

    def show(self, text: str, *, name: str) -> None:
        """Print what a command was asked for, such as a line of ``dbt ls``: whatever the level, without a time.

        :param text: the line.
        :param name: dbt's name of the event.
        """
        if self._silent:
            return
        if self._is_json:
            self._print_json(text, name, "info", {"msg": text})
        else:
            print(text, flush=True)

    def _print_json(self, message: str, name: str, level: str, data: dict[str, Any]) -> None:
        info = _event_info(self.invocation_id, message, name, level)
        print(json.dumps({"data": data, "info": info}), flush=True)


class Console:
    """The output of dbt 2: lines, with errors on standard error at the end, or JSON on standard output.

    ``errors`` and ``warnings`` count what the last line tells.

    :param invocation: the command line.
    :param silent: whether the test gave the lines, so that dbt's own are not printed.
    """

    def __init__(self, invocation: Invocation, *, silent: bool) -> None:
        self.invocation_id = new_id()
        self.started_at = now()
        self.errors = 0
        self.warnings = 0
        self._began = time.monotonic()
        self.is_quiet = switch(invocation, "quiet")
        self.is_json = setting(invocation, "--log-format", default="default") == "json"
        self._silent = silent
        self._level = _NATIVE_LEVELS.index(setting(invocation, "--log-level", default="info"))
        self._troubles: list[str] = []

    @property
    def seconds(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self._began

    def say(self, word: str, rest: str, *, name: str = "Generic") -> None:
        """Print a line of progress: a word, aligned, and what it is about.

        :param word: the word, such as ``Loading``.
        :param rest: the rest of the line.
        :param name: dbt's name of the event.
        """
        self.event(name, f"{word} {rest}", msg=f"{word} {rest}")
        self._print(f"{word:>10} {rest}")

    def node_line(self, line: str) -> None:
        """Print the line of a node, which every level shows.

        :param line: the line.
        """
        if not (self._silent or self.is_json or self.is_quiet):
            print(line, flush=True)

    def show(self, text: str) -> None:
        """Print what a command was asked for, such as a line of ``dbt ls``; ``--quiet`` does not count.

        :param text: the line.
        """
        self.event("PrintEvent", text, msg=text)
        if not (self._silent or self.is_json) and self._level >= _NATIVE_LEVELS.index("info"):
            print(text, flush=True)

    def head(self, line: str) -> None:
        """Print a line above what a command was asked for.

        :param line: the line.
        """
        self._print(line)

    def trouble(self, text: str, node: str | None = None) -> None:
        """Say an error or a warning: at once in JSON, else at the end.

        :param text: the text, from ``[error]`` or ``[warning]`` on.
        :param node: the unique id of the node that it is of, which is counted with the nodes.
        """
        level = "error" if text.startswith("[error]") else "warn"
        self.errors += level == "error" and node is None
        self.warnings += level == "warn"
        self.event("Generic", text, level, **({"node_info": {"unique_id": node}} if node else {}))
        self._troubles.append(text)

    def finish(self, command: str, target: str | None, sums: str = "") -> None:
        """Say all troubles, and how the command went.

        :param command: the command, as its last lines name it.
        :param target: the target; None: it was not looked at.
        :param sums: the lines that count the nodes; empty: there are none.
        """
        seconds = self.seconds
        if self._troubles and not self.is_json and not self._silent and self._level >= _NATIVE_LEVELS.index("info"):
            print("\n=================== Errors and Warnings ====================", file=sys.stderr)
            print("\n".join(self._troubles), file=sys.stderr, flush=True)
        counts = ((self.warnings, "warning"), (self.errors, "error"))
        told = " and ".join(f"{number} {noun}{'s' * (number != 1)}" for number, noun in counts if number)
        how = f"with {told}" if told else "successfully"
        where = f" for target '{target}'" if target else ""
        text = "\n==================== Execution Summary =====================\n"
        text += f"Finished '{command}' {how}{where} [{_duration(seconds)}]{sums}"
        self._print(text)
        self.event("CommandCompleted", text, completed_at=now(), elapsed=seconds, success=not self.errors)

    def event(self, name: str, message: str, level: str = "info", **data: Any) -> None:
        """Print one event of a JSON log.

        :param name: dbt's name of the event.
        :param message: its text.
        :param level: ``error``, ``warn``, ``info``, or ``debug``, which is shown without being asked for.
        :param **data: its fields.
        """
        is_shown = _NATIVE_LEVELS.index(level) <= self._level or (
            level == "debug" and self._level >= _NATIVE_LEVELS.index("info")
        )
        if self._silent or not self.is_json or not is_shown:
            return
        info = _event_info(self.invocation_id, message, name, level)
        info.update(code=_NATIVE_CODES.get(name, ""), thread="tokio-rt-worker")
        print(json.dumps({"data": data, "info": info}), flush=True)

    def _print(self, line: str) -> None:
        if not (self._silent or self.is_json or self.is_quiet) and self._level >= _NATIVE_LEVELS.index("info"):
            print(line, flush=True)


def _event_info(invocation_id: str, message: str, name: str, level: str) -> dict[str, Any]:
    return {
        "category": "",
        "code": _CODES.get(name, ""),
        "extra": {},
        "invocation_id": invocation_id,
        "level": level,
        "msg": message,
        "name": name,
        "pid": os.getpid(),
        "thread": "MainThread",
        "ts": now(),
    }


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.1f}s"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f}us"


def aligned(message: str, status: str) -> str:
    """Return a line with its status at the end: ``1 of 2 START sql view model main.orders ..... [RUN]``.

    :param message: the text.
    :param status: the status.
    """
    return f"{message + ' ':.<{_WIDTH}} [{status}]"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 seed``, ``2 seeds``.

    :param number: the number.
    :param noun: the noun in the singular.
    """
    return f"{number} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def now() -> str:
    """Return the time as dbt writes it into its artifacts."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{microseconds:06d}Z"


def setting(invocation: Invocation, *names: str, default: str) -> str:
    """Return the value of an option, else that of the environment variable that dbt has for it.

    :param invocation: the command line.
    :param *names: names of the option, the long one first.
    :param default: returned where neither is set.
    """
    return invocation.last(*names, default=variable(names[0][2:]) or default)


def switch(invocation: Invocation, name: str) -> bool:
    """Whether ``--name`` was given, or the variable that dbt has for it says so; ``--no-name`` takes it back.

    :param invocation: the command line.
    :param name: the option without ``--``.
    """
    given = [option for option in invocation.options if option in (f"--{name}", f"--no-{name}", f"-{name[0]}")]
    if given:
        return given[-1] != f"--no-{name}"
    return (variable(name) or "").lower() not in _FALSE


def new_id() -> str:
    """Return a UUID of version 4. The module of that name takes a quarter of a call's time to import."""
    word = f"{int.from_bytes(os.urandom(16), 'big') & ~(0xF << 76) & ~(3 << 62) | (4 << 76) | (2 << 62):032x}"
    return "-".join((word[:8], word[8:12], word[12:16], word[16:20], word[20:]))
