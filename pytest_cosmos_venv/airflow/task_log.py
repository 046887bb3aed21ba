"""What does a task say while it runs? Its log records and what it prints, in the order in which they come."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

_LOGGING = ("logging", "structlog", "airflow.utils.log", "airflow.sdk._shared.logging", "airflow._shared.logging")
_MACHINERY = ("[DAG TEST]", "::group::", "::endgroup::")


class TaskLog(logging.Handler):
    """Collects the text of one try of a task; also remembers the last exception that was logged."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[str] = []
        self.logged_exception: BaseException | None = None
        self.setFormatter(logging.Formatter("%(levelname)s - %(message)s"))

    @property
    def text(self) -> str:
        """Everything so far."""
        return "".join(self._parts)

    def emit(self, record: logging.LogRecord) -> None:
        """A record of Python's own logging."""
        if record.exc_info:
            self.logged_exception = record.exc_info[1]
        if not record.getMessage().startswith(_MACHINERY):
            self._parts.append(f"{self.format(record)}\n")

    def take_event(self, level: str, event: dict[str, Any]) -> None:
        """An event of structlog, on its way to be written."""
        text = f"{level.upper()} - {event.get('event', '')}\n"
        if event.get("exc_info"):
            error = event["exc_info"] if isinstance(event["exc_info"], BaseException) else sys.exc_info()[1]
            self.logged_exception = error or self.logged_exception
            text += "".join(traceback.format_exception(error)) if error else ""
        if not str(event.get("event", "")).startswith(_MACHINERY):
            self._parts.append(text)

    def print(self, text: str) -> None:
        """Something that was printed."""
        self._parts.append(text)


@contextmanager
def listening(log: TaskLog) -> Iterator[None]:
    """For the length of the block ``log`` hears Python's logging and what is printed."""
    loggers = [logging.getLogger(), *_closed_loggers()]
    for logger in loggers:
        logger.addHandler(log)
    try:
        with redirect_stdout(_Tee(sys.stdout, log)), redirect_stderr(_Tee(sys.stderr, log)):
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(log)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Take away the handlers that Airflow 2's ``dag.test()`` adds: they write to the captured output of one test."""
    logger = logging.getLogger("airflow.task")
    before = list(logger.handlers)
    try:
        yield
    finally:
        logger.handlers[:] = before


def _closed_loggers() -> list[logging.Logger]:
    """Those of Airflow whose records do not reach the root."""
    found = [logging.getLogger(name) for name in list(logging.Logger.manager.loggerDict) if name.startswith("airflow")]
    return [logger for logger in found if not logger.propagate]


class _Tee(io.TextIOBase):
    """Writes to the real output, and what no log handler writes to the log."""

    def __init__(self, real: TextIO, log: TaskLog) -> None:
        self._real = real
        self._log = log

    def write(self, text: str) -> int:
        # A handler that writes a record: the record itself has been taken.
        if not sys._getframe(1).f_globals.get("__name__", "").startswith(_LOGGING):
            self._log.print(text)
        return self._real.write(text)

    def flush(self) -> None:
        self._real.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
