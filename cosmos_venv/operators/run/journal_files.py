"""The files of a journal on this host, one for each try of its task."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from cosmos_venv.files.durable_files import is_private
from cosmos_venv.files.untrusted import whole_lines
from cosmos_venv.managed import caches
from cosmos_venv.operators.run.journal_lines import Line, TryRecord, line_of

_FOLDER = "journals-v1"
_STILL = 10.0  # seconds without a line, after which the try may be one on another host


def folder_of(key: str) -> Path:
    """The folder of the files of one task's journal on this host.

    :param key: of the journal.
    """
    return caches.cache_dir() / _FOLDER / key


@dataclass
class JournalFiles:
    """The files of one journal on this host, of which each line is read once.

    :param folder: in which they are.
    :ivar tries: what they say, one record for each try.
    :ivar texts: lines of dbt's log by unique id of their node, in order.
    :ivar sql: compiled SQL of the nodes that have ended, by unique id.
    """

    folder: Path
    tries: list[TryRecord] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    sql: dict[str, str] = field(default_factory=dict)
    _grown_at: float = 0.0
    _read: dict[Path, int] = field(default_factory=dict)
    _records: dict[Path, TryRecord] = field(default_factory=dict)

    def read(self) -> bool:
        """Read what is new; False: nothing is."""
        files = _files_of(self.folder)
        for gone in self._read.keys() - set(files):  # a run that was deleted and made again begins anew
            del self._read[gone]
            self._records.pop(gone, None)
        changed = [self._read_file(path) for path in files]
        if any(changed):
            self._grown_at = time.monotonic()
            # Copies: they are read while the next lines are.
            self.tries = [self._records[path].copy() for path in files if path in self._records]
        elif not files:
            self.tries = []
        return any(changed)

    @property
    def is_growing(self) -> bool:
        """Whether a line has come a moment ago."""
        return time.monotonic() - self._grown_at < _STILL

    def _read_file(self, path: Path) -> bool:
        start = self._read.setdefault(path, 0)
        while (found := whole_lines(path, self._read[path]))[0]:
            lines, self._read[path] = found
            for text in lines:
                self._take(path, line_of(text))
        return self._read[path] > start

    def _take(self, path: Path, line: Line) -> None:
        if path not in self._records:
            if line.begun is not None:
                self._records[path] = line.begun
            return
        self._records[path].take(line)
        if line.text:
            self.texts.setdefault(line.id, []).append(line.text)
        if line.sql:
            self.sql[line.id] = line.sql


def tries_in(folder: Path) -> list[TryRecord]:
    """What the files of a journal say of each try, in order.

    :param folder: of ``folder_of``.
    """
    files = JournalFiles(folder)
    files.read()
    return files.tries


def _files_of(folder: Path) -> list[Path]:
    """The files, one for each try, in order; none where others could have written them."""
    return sorted(folder.glob("*.jsonl")) if is_private(folder) else []
