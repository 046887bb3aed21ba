"""What the lines of a journal say: one record for each try of the task that has written it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from cosmos_venv.dbt.log_lines import DONE_STATUSES
from cosmos_venv.files import untrusted

SUCCESS, FAILED, SKIPPED = "success", "failed", "skipped"
"""States of a node and of a task."""

SQL = "sql"
"""In a line with the end of a node: the SQL that dbt has compiled for it."""


_SHORT = 80  # characters of a message, where the messages of all nodes are too long


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """How a node has ended in one try.

    :param status: of the node by dbt.
    :param try_number: the try that has run the node: this one, or an earlier one that has done it.
    :param message: of dbt.
    :param seconds: that the node took; 0 where dbt has not said it.
    :param rows: that it changed, or found as a test; None where dbt has not said it.
    """

    status: str
    try_number: int
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
    :param begun: when it has begun, in seconds since 1970; 0: it is not known.
    :param end: ``success`` or ``failed``; empty: it runs, or it was killed.
    :param outcomes: of the nodes that have ended in it or were done before it, by unique id.
    :param written: when its last line was written, in seconds since 1970; 0: it is not known.
    """

    number: int
    last: int
    begun: float = 0.0
    written: float = 0.0
    end: str = ""
    outcomes: dict[str, Outcome] = {}

    @property
    def is_last(self) -> bool:
        """Whether Airflow does not try the task again by itself."""
        return self.number > self.last or self.end == SUCCESS

    def copy(self) -> TryRecord:
        """The record as it is now."""
        return msgspec.structs.replace(self, outcomes=dict(self.outcomes))

    def with_short_messages(self) -> TryRecord:
        """The record with the beginning of each message."""
        outcomes = {
            node: msgspec.structs.replace(each, message=each.message[:_SHORT]) for node, each in self.outcomes.items()
        }
        return msgspec.structs.replace(self, outcomes=outcomes)

    def take(self, line: Mapping[str, Any]) -> None:
        """Take note of a line of the try.

        :param line: of the journal, behind the one with which the try has begun.
        """
        self.written = max(self.written, _time_of(line))
        if "end" in line:
            self.end = str(line["end"])
        if "id" not in line:  # the same try has begun once more
            return
        node, status = str(line["id"]), str(line.get("status", ""))
        found = self.outcomes.get(node)
        if line.get("is_end"):
            # What dbt's artifacts say comes behind its events.
            message = str(line.get("message") or line.get("text") or (found.message if found else ""))
            rows = line.get("rows")
            rows = rows if isinstance(rows, int) else None
            try:
                seconds = float(line.get("seconds") or 0)
            except (TypeError, ValueError, OverflowError):  # a line that is none of ours
                return
            self.outcomes[node] = Outcome(status, self.number, message, seconds, rows)
        elif not line.get("event") and found and found.try_number < self.number:
            del self.outcomes[node]  # this try builds again what an earlier one has done


def begun_try(line: Mapping[str, Any]) -> TryRecord | None:
    """The record of a try that begins with this line; None: it is no such line.

    :param line: the first one of a try.
    """
    try:
        done: Mapping[str, Sequence[Any]] = line["done"]
        outcomes = {node: Outcome(str(found[0]), int(found[1])) for node, found in done.items()}
        number, last, begun = int(line["number"]), int(line["last"]), _time_of(line)
        return TryRecord(number=number, last=last, begun=begun, written=begun, outcomes=outcomes)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None


def _time_of(line: Mapping[str, Any]) -> float:
    try:
        return float(line.get("at") or 0)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def packed(key: str, tries: Iterable[TryRecord]) -> str:
    """The records as a short text.

    :param key: of the journal, so that nobody takes them for those of another one.
    :param tries: of one task.
    """
    known = list(tries)
    content = msgspec.json.encode((key, known))
    if untrusted.SMALL.is_exceeded_by(len(content)):  # nobody would read it
        content = msgspec.json.encode((key, [each.with_short_messages() for each in known]))
    return untrusted.packed(content)


def unpacked(key: str, text: object) -> list[TryRecord]:
    """The records in a text; none where it is not one that ``packed`` has made, or one of another journal.

    :param key: of the journal.
    :param text: of an XCom, which anybody could have written.
    """
    found, tries = untrusted.value_of(untrusted.unpacked(text), tuple[str, list[TryRecord]]) or ("", [])
    return tries if found == key else []


def merged(*sources: Iterable[TryRecord]) -> list[TryRecord]:
    """The records of several sources: of each try the newest one.

    The one that knows most can be older: a node that was done may have to run again.

    :param *sources: such as the files on this host, and what another one has published.
    """
    found: dict[int, TryRecord] = {}
    for each in chain(*sources):
        other = found.get(each.number)
        if other is None or _newness(each) > _newness(other):
            found[each.number] = each
    return [found[number] for number in sorted(found)]


def _newness(record: TryRecord) -> tuple[float, int, str]:
    # Lines of one instant are told apart by what they add.
    return record.written, len(record.outcomes), record.end


def line_of(text: str | bytes) -> dict[str, Any]:
    """A line of a journal; empty for one that is none: the disk may have been full.

    :param text: of the line.
    """
    return untrusted.value_of(text, dict[str, Any]) or {}
