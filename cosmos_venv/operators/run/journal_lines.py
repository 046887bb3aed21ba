"""The lines of a journal, and the record of a try that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Annotated, Any

import msgspec

from cosmos_venv.dbt.log_lines import SUCCESS, NodeOutcome
from cosmos_venv.files import untrusted

LONGEST_TEXT = 65_536
"""Characters of a text of dbt, and of compiled SQL: it becomes an XCom."""

_LONGEST_MESSAGE = 1_000  # characters: a message is part of XComs
_SHORT = 80  # characters of a message, where the messages of all nodes are too long


class TryRecord(msgspec.Struct, kw_only=True):
    """What the journal says of one try.

    :param number: of the try, from 1.
    :param last: number of the last try that Airflow makes by itself. Clearing the task gives another one.
    :param begun: when the try has begun, in seconds since 1970; 0: it is not known.
    :param written: when its last line was written, in seconds since 1970; 0: it is not known.
    :param end: ``success`` or ``failed``; empty: it runs, or it was killed.
    :param outcomes: of the nodes that have ended in it or were done before it, by unique id.
    """

    number: int
    last: int
    begun: float = 0.0
    written: float = 0.0
    end: str = ""
    outcomes: dict[str, NodeOutcome] = {}

    @property
    def is_last(self) -> bool:
        """Whether Airflow does not try the task again by itself."""
        return self.number > self.last or self.end == SUCCESS

    def copy(self, *, most: int | None = None) -> TryRecord:
        """The record as it is now.

        :param most: characters of a message; None: all of them.
        """
        outcomes = dict(self.outcomes)
        if most is not None:
            outcomes = {
                node: msgspec.structs.replace(each, message=each.message[:most]) for node, each in outcomes.items()
            }
        return msgspec.structs.replace(self, outcomes=outcomes)

    def take(self, line: Line) -> None:
        """Take note of a line of the try.

        :param line: of the journal, behind the one with which the try has begun.
        """
        self.written = max(self.written, line.at)
        if line.begun is not None:  # the same try has begun once more
            self.outcomes = dict(line.begun.outcomes)
        self.end = line.end or self.end
        if line.is_end:
            before = self.outcomes.get(line.id)
            # The last event of a node says that it has ended, and no more.
            message = line.message or line.text or (before.message if before else "")
            self.outcomes[line.id] = NodeOutcome(
                line.status, self.number, message[:_LONGEST_MESSAGE], line.seconds, line.rows
            )


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of a journal: a try begins, dbt says something of a node, or the try ends.

    :param at: when it was written, in seconds since 1970. No two lines of a try have one time.
    :param begun: the try that begins, with the outcomes of nodes that earlier tries have done.
    :param id: unique id of the node of which dbt says something.
    :param status: of that node by dbt.
    :param is_end: whether that node has ended.
    :param text: the words of dbt, for the logs of tasks that watch.
    :param message: of dbt's artifacts.
    :param seconds: that the node took; 0 where dbt has not said it.
    :param rows: that it changed, or found as a test; None where dbt has not said it.
    :param sql: the SQL that dbt has compiled for it.
    :param end: of the try: ``success`` or ``failed``.
    """

    at: float = 0.0
    begun: TryRecord | None = None
    id: str = ""
    status: str = ""
    is_end: bool = False
    text: str = ""
    message: str = ""
    seconds: float = 0.0
    rows: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)] | None = None
    sql: str = ""
    end: str = ""


def line_of(text: str | bytes) -> Line:
    """A line of a journal. One of another kind says nothing: the disk may have been full.

    :param text: of the line.
    """
    return untrusted.value_of(text, Line) or Line()


def packed(key: str, tries: Iterable[TryRecord]) -> str:
    """The records as a short text.

    :param key: of the journal, so that nobody takes them for those of another one.
    :param tries: of one task.
    """
    known = list(tries)
    content = msgspec.json.encode((key, known))
    if untrusted.SMALL.is_exceeded_by(len(content)):  # nobody would read it
        content = msgspec.json.encode((key, [each.copy(most=_SHORT) for each in known]))
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
        if other is None or each.written > other.written:
            found[each.number] = each
    return [found[number] for number in sorted(found)]


def rows_of(outcomes: Mapping[str, NodeOutcome]) -> list[dict[str, Any]]:
    """What became of nodes as an XCom, in which messages of nodes that have simply been built are left out.

    :param outcomes: by unique id.
    """
    return [
        {
            "node": node,
            "status": each.status,
            "seconds": each.seconds,
            "rows": each.rows,
            "message": each.message if each.has_news else "",
            "try_number": each.try_number,
        }
        for node, each in outcomes.items()
    ]
