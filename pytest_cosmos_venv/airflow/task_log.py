"""The text of a task while it runs: its log records and what it prints, in the order in which they come."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO
from unittest import mock

_LOGGING = ("logging", "structlog", "airflow.utils.log", "airflow.sdk._shared.logging", "airflow._shared.logging")
_MACHINERY = ("[DAG TEST]", "::group::", "::endgroup::")


class TaskLog(logging.Handler):
    """The text of one try of a task, with the last exception that was logged."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[str] = []
        self.logged_exception: BaseException | None = None
        self.setFormatter(logging.Formatter("%(levelname)s - %(message)s"))

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._parts)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of Python's own logging.

        :param record: the record.
        """
        if record.exc_info:
            self.logged_exception = record.exc_info[1]
        if not record.getMessage().startswith(_MACHINERY):
            self._parts.append(f"{self.format(record)}\n")

    def take_event(self, level: str, event: dict[str, Any]) -> None:
        """Take an event of structlog, on its way to be written.

        :param level: the name of the level, such as ``info``.
        :param event: the event, with its text under ``event``.
        """
        text = f"{level.upper()} - {event.get('event', '')}\n"
        if event.get("exc_info"):
            error = event["exc_info"] if isinstance(event["exc_info"], BaseException) else sys.exc_info()[1]
            self.logged_exception = error or self.logged_exception
            text += "".join(traceback.format_exception(error)) if error else ""
        if not str(event.get("event", "")).startswith(_MACHINERY):
            self._parts.append(text)

    def stream_to(self, stream: TextIO) -> None:
        """Write each part to a stream at once from now on, and drop the collected text: a killed process then leaves
        its log.

        :param stream: the stream.
        """
        self._parts = _Stream(stream)

    def print(self, text: str) -> None:
        """Take a text that was printed.

        :param text: the text.
        """
        self._parts.append(text)


class _Stream(list[str]):
    """A list of texts that keeps none, and writes each to a stream.

    :param stream: the stream.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def append(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


@contextmanager
def collecting(log: TaskLog) -> Iterator[None]:
    """Collect Python's logging and all that is printed, for the length of the block.

    :param log: the log that collects.
    """
    loggers = [logging.getLogger(), *_closed_loggers()]
    for logger in loggers:
        logger.addHandler(log)
    try:
        with redirect_stdout(_Tee(sys.stdout, log)), redirect_stderr(_Tee(sys.stderr, log)):
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(log)


def handlers_kept() -> AbstractContextManager[object]:
    """Remove the handlers that Airflow 2's ``dag.test()`` adds: they write to the captured output of one test."""
    logger = logging.getLogger("airflow.task")
    return mock.patch.object(logger, "handlers", [*logger.handlers])


def _closed_loggers() -> list[logging.Logger]:
    """Return the loggers of Airflow whose records do not reach the root."""
    found = [logging.getLogger(name) for name in list(logging.Logger.manager.loggerDict) if name.startswith("airflow")]
    return [logger for logger in found if not logger.propagate]


class _Tee(io.TextIOBase):
    """A stream that writes to the real output, and copies text that is no log record to the log.

    :param real: the real output.
    :param log: the log of the task.
    """

    def __init__(self, real: TextIO, log: TaskLog) -> None:
        self._real = real
        self._log = log

    def write(self, text: str) -> int:
        # A logging module writes records, which the log has taken already.
        if not sys._getframe(1).f_globals.get("__name__", "").startswith(_LOGGING):
            self._log.print(text)
        return self._real.write(text)

    def flush(self) -> None:
        # A thread often keeps its stderr to the end of the process. Python then closes and flushes this stream, though
        # pytest has closed the real stream before.
        if not self._real.closed:
            self._real.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
