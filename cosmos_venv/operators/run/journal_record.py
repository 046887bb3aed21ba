"""The record of one try of a task that runs several nodes, and the lines, files and text that it is read from.

A try begins with the outcomes that it takes over from earlier tries. So the record of the newest try alone says which
nodes are done. An older record, such as a file on a host to which the task comes back, may call a node done that has to
run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv.dbt.log_lines import SUCCESS, NodeOutcome
from cosmos_venv.files import read_limits
from cosmos_venv.files.own_files import is_private
from cosmos_venv.managed import caches

LONGEST_TEXT = 65_536
"""Characters of a text of dbt, and of compiled SQL: it becomes an XCom."""

_LONGEST_MESSAGE = 1_000  # characters: a message is part of XComs, of which 8 MiB are read: 7,000 such nodes
_FOLDER = "journals-v1"


class TryRecord(msgspec.Struct, kw_only=True):
    """The record of one try in the journal.

    :param number: of the try, from 1.
    :param max_tries: Airflow's ``max_tries``: a try with a greater number is the last that Airflow makes by itself.
        Clearing the task changes it.
    :param begun: when the try has begun, in seconds since 1970; 0: it is not known.
    :param written: when its last line was written, in seconds since 1970; 0: it is not known.
    :param end: ``success`` or ``failed``; empty: it runs, or it was killed.
    :param why: the message of the failure, where it was given.
    :param outcomes: of the nodes that have ended in this try or were done before it, by unique id.
    """

    number: int
    max_tries: int
    begun: float = 0.0
    written: float = 0.0
    end: str = ""
    why: str = ""
    outcomes: dict[str, NodeOutcome] = {}

    @property
    def is_last(self) -> bool:
        """Whether Airflow does not try the task again by itself."""
        return self.number > self.max_tries or self.end == SUCCESS

    def take(self, line: Line) -> None:
        """Take note of a line of the try.

        :param line: of the journal, after the first line of the try.
        """
        self.written = max(self.written, line.at)
        if line.begun is not None:  # the same try has begun once more
            self.outcomes = dict(line.begun.outcomes)
        if line.end:
            self.end, self.why = line.end, line.why[:_LONGEST_MESSAGE]
        if line.outcome is not None:
            before = self.outcomes.get(line.id)
            # The last event of a node says that it has ended, and no more.
            message = line.outcome.message or line.text or (before.message if before else "")
            self.outcomes[line.id] = msgspec.structs.replace(
                line.outcome, try_number=self.number, message=message[:_LONGEST_MESSAGE]
            )


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of a journal: a try begins, dbt says something of a node, or the try ends.

    :param at: when it was written, in seconds since 1970. No two lines of a try have the same time.
    :param begun: the try that begins, with the outcomes of nodes that earlier tries have done.
    :param id: unique id of the node that the line is about.
    :param outcome: of that node; None: the node goes on.
    :param text: the words of dbt, for the logs of tasks that watch.
    :param sql: the SQL that dbt has compiled for it.
    :param end: of the try: ``success`` or ``failed``.
    :param why: the words of the try's failure.
    """

    at: float = 0.0
    begun: TryRecord | None = None
    id: str = ""
    outcome: NodeOutcome | None = None
    text: str = ""
    sql: str = ""
    end: str = ""
    why: str = ""


def line_of(text: str | bytes) -> Line:
    """A line of a journal. An invalid line counts as an empty one: the disk may have been full.

    :param text: of the line.
    """
    return read_limits.value_of(text, Line) or Line()


def packed(key: str, record: TryRecord) -> str:
    """The record as a short text.

    :param key: of the journal, so that the text does not pass for the record of another journal.
    :param record: of a try.
    """
    return read_limits.packed(msgspec.json.encode((key, record)))


def unpacked(key: str, text: object) -> TryRecord | None:
    """The record in a text; None for a text that ``packed`` has not made, or that is of another journal.

    :param key: of the journal.
    :param text: of an XCom, which anybody could have written.
    """
    found, record = read_limits.value_of(read_limits.unpacked(text), tuple[str, TryRecord]) or ("", None)
    return record if found == key else None


def newest(*records: TryRecord | None) -> TryRecord | None:
    """The record of the newest try. If this try has several records, the record that was written last is returned.

    A record with more outcomes can be older: a node that was done may have to run again.

    :param *records: such as the record of the files on this host, and the published record of another host. None is
        ignored.
    """
    known = [each for each in records if each is not None]
    return max(known, key=lambda each: (each.number, each.written), default=None)


def folder_of(key: str) -> Path:
    """The folder of the files of one task's journal on this host.

    :param key: of the journal.
    """
    return caches.cache_dir() / _FOLDER / key


@dataclass
class JournalFiles:
    """The files of one journal on this host, one file for each try. Each line is read once.

    :param folder: in which they are.
    :ivar record: of the newest try that has begun in them; None: there is none.
    :ivar texts: lines of dbt's log by unique id of their node, in order.
    :ivar sql: compiled SQL of the nodes that have ended, by unique id.
    """

    folder: Path
    record: TryRecord | None = None
    texts: dict[str, list[str]] = field(default_factory=dict)
    sql: dict[str, str] = field(default_factory=dict)
    _file: Path | None = None
    _read_to: int = 0
    _growing: TryRecord | None = None

    def read(self) -> bool:
        """Read new lines. Returns False when there are none."""
        # No file is read where other users could have written it.
        files = sorted(self.folder.glob("*.jsonl")) if is_private(self.folder) else []
        if self._file not in files:  # a run that was deleted and made again has new files
            self._file = self.record = None
        has_grown = False
        for file in files:
            if self._file is None or file > self._file:
                self._file, self._read_to, self._growing = file, 0, None
            if file == self._file and self._read_file(file):
                has_grown = True
                if (growing := self._growing) is not None:  # without a first line the former record stays
                    # A copy, since it is read while further lines are taken.
                    self.record = msgspec.structs.replace(growing, outcomes=dict(growing.outcomes))
        return has_grown

    def _read_file(self, file: Path) -> bool:
        start = self._read_to
        while (found := read_limits.whole_lines(file, self._read_to))[0]:
            lines, self._read_to = found
            for text in lines:
                self._take(line_of(text))
        return self._read_to > start

    def _take(self, line: Line) -> None:
        if self._growing is None:
            self._growing = line.begun
            return
        self._growing.take(line)
        if line.text:
            self.texts.setdefault(line.id, []).append(line.text)
        if line.sql:
            self.sql[line.id] = line.sql


def record_in(folder: Path) -> TryRecord | None:
    """The record of the newest try that the files of a journal have; None: they have none.

    :param folder: of ``folder_of``.
    """
    files = JournalFiles(folder)
    files.read()
    return files.record


def rows_of(outcomes: Mapping[str, NodeOutcome]) -> list[dict[str, Any]]:
    """The outcomes of nodes as the value of an XCom, without the messages of nodes that are simply built.

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
