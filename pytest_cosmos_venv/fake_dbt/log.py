"""The output of the fake dbt: text with a time before each line, or JSON."""

from __future__ import annotations

import json
import os
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
    "LogStartLine": "Q011",
    "MainReportVersion": "A001",
    "RunResultError": "Z024",
    "RunResultFailure": "Z022",
    "RunResultWarning": "Z021",
    "SQLCompiledPath": "Z026",
    "SkippingDetails": "Q034",
    "StatsLine": "Z023",
}


class Log:
    """dbt's standard output, in the form that the options of the command line ask for.

    :param invocation: the command line.
    :param silent: whether the test gave the lines, so that dbt's own are not printed.
    """

    def __init__(self, invocation: Invocation, *, silent: bool) -> None:
        self.invocation_id = _new_id()
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
        info = {
            "category": "",
            "code": _CODES.get(name, ""),
            "extra": {},
            "invocation_id": self.invocation_id,
            "level": level,
            "msg": message,
            "name": name,
            "pid": os.getpid(),
            "thread": "MainThread",
            "ts": now(),
        }
        print(json.dumps({"data": data, "info": info}), flush=True)


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


def _new_id() -> str:
    """Return a UUID of version 4; the module of that name takes a quarter of a call's time to import."""
    word = f"{int.from_bytes(os.urandom(16), 'big') & ~(0xF << 76) & ~(3 << 62) | (4 << 76) | (2 << 62):032x}"
    return "-".join((word[:8], word[8:12], word[12:16], word[16:20], word[20:]))
