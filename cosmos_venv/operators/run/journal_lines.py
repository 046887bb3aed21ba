"""What the lines of a journal say: one record for each try of the task that has written it."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from cosmos_venv.dbt.log_lines import DONE_STATUSES

SUCCESS, FAILED, SKIPPED = "success", "failed", "skipped"
"""States of a node and of a task."""

SQL = "sql"
"""In a line with the end of a node: the SQL that dbt has compiled for it."""


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """How a node has ended in one try.

    :param status: of the node by dbt.
    :param at: when that was written, in seconds since 1970; 0: in an earlier try.
    :param message: of dbt.
    :param seconds: that the node took; 0 where dbt has not said it.
    :param rows: that it changed, or found as a test; None where dbt has not said it.
    """

    status: str
    at: float
    message: str = ""
    seconds: float = 0.0
    rows: int | None = None

    @property
    def state(self) -> str:
        """``success``, ``failed`` or ``skipped``."""
        if self.status in DONE_STATUSES:
            return SUCCESS
        return SKIPPED if self.status == SKIPPED else FAILED


class TryRecord(msgspec.Struct, kw_only=True):
    """What the journal says of one try.

    :param number: of the try, from 1.
    :param last: number of the last try that Airflow makes by itself. Clearing the task gives another one.
    :param end: ``success`` or ``failed``; empty: it runs, or it was killed.
    :param outcomes: of the nodes that have ended in it or were done before it, by unique id.
    """

    number: int
    last: int
    end: str = ""
    outcomes: dict[str, Outcome] = {}

    @property
    def is_last(self) -> bool:
        """Whether Airflow does not try the task again by itself."""
        return self.number > self.last or self.end == SUCCESS

    def take(self, line: Mapping[str, Any]) -> None:
        """Take note of a line of the try.

        :param line: of the journal, behind the one with which the try has begun.
        """
        if "end" in line:
            self.end = str(line["end"])
        if "id" not in line:  # the same try has begun once more
            return
        node, status = str(line["id"]), str(line.get("status", ""))
        if line.get("is_end"):
            self.outcomes[node] = _outcome(status, line, self.outcomes.get(node))
        elif not line.get("event") and (found := self.outcomes.get(node)) and not found.at:
            del self.outcomes[node]  # this try builds again what an earlier one has done


def _outcome(status: str, line: Mapping[str, Any], before: Outcome | None) -> Outcome:
    """What a line says; dbt's artifacts, which come behind its events, have no time."""
    at = float(line.get("at") or (before.at if before else 0) or 0)
    message = str(line.get("message") or line.get("text") or (before.message if before else ""))
    return Outcome(status, at, message, float(line.get("seconds") or 0), line.get("rows"))


def begun_try(line: Mapping[str, Any]) -> TryRecord | None:
    """The record of a try that begins with this line; None: it is no such line.

    :param line: the first one of a try.
    """
    try:
        done: Mapping[str, Sequence[Any]] = line["done"]
        outcomes = {node: Outcome(str(found[0]), 0.0) for node, found in done.items()}
        return TryRecord(number=int(line["number"]), last=int(line["last"]), outcomes=outcomes)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None


def packed(tries: Iterable[TryRecord]) -> str:
    """The records as a short text.

    :param tries: of one task.
    """
    return base64.b64encode(zlib.compress(msgspec.json.encode(list(tries)))).decode()


def unpacked(text: object) -> list[TryRecord]:
    """The records in a text; none where it is not one that ``packed`` has made.

    :param text: of an XCom, which anybody could have written.
    """
    try:
        plain = zlib.decompress(base64.b64decode(str(text), validate=True))
        return msgspec.json.decode(plain, type=list[TryRecord])
    except (binascii.Error, zlib.error, msgspec.DecodeError):
        return []


def line_of(text: str) -> dict[str, Any]:
    """A line of a journal; empty for one that is none: the disk may have been full.

    :param text: of the line.
    """
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
