"""The output of the fake dbt: text with a time before each line, or JSON. The text of dbt 2 has no times."""

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
_NATIVE_LEVELS = ("off", "error", "warn", "info", "debug", "trace")


class _Output:
    def __init__(self, invocation: Invocation, *, silent: bool) -> None:
        self.invocation_id = new_id()
        self.started_at = now()
        self._silent = silent
        self._is_json = setting(invocation, "--log-format", default="default").lower() == "json"

    def _print_json(self, message: str, name: str, level: str, data: dict[str, Any], thread: str) -> None:
        info = {
            "category": "",
            "code": "",
            "extra": {},
            "invocation_id": self.invocation_id,
            "level": level,
            "msg": message,
            "name": name,
            "pid": os.getpid(),
            "thread": thread,
            "ts": now(),
        }
        print(json.dumps({"data": data, "info": info}), flush=True)


class Log(_Output):
    """dbt's standard output, in the form that the options of the command line ask for.

    :param invocation: the command line.
    :param silent: whether the test gave the lines, so that dbt's own are not printed.
    """

    def __init__(self, invocation: Invocation, *, silent: bool) -> None:
        super().__init__(invocation, silent=silent)
        level = setting(invocation, "--log-level", default="info").lower()
        self._threshold = "error" if switch(invocation, "quiet") else level

    def say(self, message: str = "", *, name: str = "Formatting", level: str = "info", **data: Any) -> None:
        """Print one event.

        :param message: the text; may be empty.
        :param name: dbt's name of the event.
        :param level: ``debug``, ``info``, ``warn`` or ``error``.
        :param **data: the fields of the event in a JSON log; by default the message alone.
        """
        if self._silent or _LEVELS.index(level) < _LEVELS.index(self._threshold):
            return
        if self._is_json:
            self._print_json(message, name, level, data or {"msg": message}, "MainThread")
        else:
            print(f"{time.strftime('%H:%M:%S')}  {message}", flush=True)

    def show(self, text: str, *, name: str) -> None:
        """Print a result of the command, such as a line of ``dbt ls``, at any log level and without a time.

        :param text: the line.
        :param name: dbt's name of the event.
        """
        if self._silent:
            return
        if self._is_json:
            self._print_json(text, name, "info", {"msg": text}, "MainThread")
        else:
            print(text, flush=True)


class Console(_Output):
    """The output of dbt 2: JSON, or the texts of the events; errors and warnings go to standard error.

    ``errors`` and ``warnings`` are the counts for the last event.

    :param invocation: the command line.
    :param silent: whether the test gave the lines, so that dbt's own are not printed.
    """

    def __init__(self, invocation: Invocation, *, silent: bool) -> None:
        super().__init__(invocation, silent=silent)
        self.errors = 0
        self.warnings = 0
        self._began = time.monotonic()
        self.is_quiet = switch(invocation, "quiet")
        self._level = _NATIVE_LEVELS.index(setting(invocation, "--log-level", default="info"))

    @property
    def seconds(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self._began

    def show(self, text: str) -> None:
        """Print a result of the command, such as a line of ``dbt ls``, even with ``--quiet``.

        :param text: the line.
        """
        self.event("PrintEvent", text, msg=text)

    def say(self, text: str, *, name: str = "Generic") -> None:
        """Print a line of progress.

        :param text: the line.
        :param name: dbt's name of the event.
        """
        self.event(name, text, msg=text)

    def trouble(self, text: str, node: str | None = None) -> None:
        """Print an error or a warning.

        :param text: the text, from ``[error]`` or ``[warning]`` on.
        :param node: the unique id of its node, whose error is counted with the nodes.
        """
        level = "error" if text.startswith("[error]") else "warn"
        self.errors += level == "error" and node is None
        self.warnings += level == "warn"
        self.event("Generic", text, level, **({"node_info": {"unique_id": node}} if node else {}))

    def finish(self, command: str, sums: str = "") -> None:
        """Print the last line of the command.

        :param command: the command, as its last line names it.
        :param sums: the line that counts the nodes; empty: there are none.
        """
        counts = ((self.warnings, "warning"), (self.errors, "error"))
        told = " and ".join(counted(number, noun) for number, noun in counts if number)
        text = f"Finished '{command}' {f'with {told}' if told else 'successfully'} [{self.seconds:.2f}s]{sums}"
        self.event("CommandCompleted", text, completed_at=now(), elapsed=self.seconds, success=not self.errors)

    def event(self, name: str, message: str, level: str = "info", **data: Any) -> None:
        """Print one event.

        :param name: dbt's name of the event.
        :param message: its text.
        :param level: ``error``, ``warn``, ``info``, or ``debug``, which a JSON log shows at level ``info`` too.
        :param **data: its fields in a JSON log.
        """
        weight = _NATIVE_LEVELS.index("info" if level == "debug" else level)
        if self._silent or weight > self._level:
            return
        if self._is_json:
            self._print_json(message, name, level, data, "tokio-rt-worker")
        elif level in ("error", "warn"):
            print(message, file=sys.stderr, flush=True)
        elif level == "info" and (name == "PrintEvent" or not self.is_quiet):
            print(message, flush=True)


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
    """Return the value of an option, else the value of dbt's environment variable for it.

    :param invocation: the command line.
    :param *names: names of the option, the long one first.
    :param default: returned where neither is set.
    """
    return invocation.last(*names, default=variable(names[0][2:]) or default)


def switch(invocation: Invocation, name: str) -> bool:
    """Whether ``--name`` or dbt's environment variable for it switches something on; ``--no-name`` switches it off.

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
