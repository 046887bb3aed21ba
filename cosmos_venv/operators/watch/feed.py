"""What the producer of a run does, read once for all tasks of a process that watch it.

The files of its journal are read twice a second where this host has them, else its XCom is asked. Airflow's state of
the producer is asked apart: a round trip can take 15 s where the triggerer is busy, and lines of the journal must not
wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv import compat
from cosmos_venv.operators.run.journal import files_of, folder_of
from cosmos_venv.operators.run.journal_lines import SQL, TryRecord, begun_try, line_of, unpacked

XCOM = "dbt_journal"
"""Key of the XCom with which the producer tells other hosts what its journal says."""

_BETWEEN_READINGS = 0.5
_BETWEEN_QUESTIONS = 3.0


class Producer(msgspec.Struct, frozen=True, kw_only=True):
    """The producer of one run.

    :param key: of its journal.
    :param task_id: of its task.
    :param dag_id: of the DAG.
    :param run_id: of the run.
    :param map_index: of the task in a mapped group; -1: it is not mapped.
    """

    key: str
    task_id: str
    dag_id: str
    run_id: str
    map_index: int

    @property
    def place(self) -> dict[str, Any]:
        """Where its task stands, as arguments."""
        return {"dag_id": self.dag_id, "run_id": self.run_id, "map_index": self.map_index}

    def state(self) -> str | None:
        """Airflow's state of it."""
        return compat.task_states([self.task_id], **self.place)[self.task_id]

    def published(self) -> list[TryRecord]:
        """What its XCom says of each try."""
        return unpacked(compat.xcom(XCOM, task_id=self.task_id, **self.place) or "")


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
    _read: dict[Path, int] = field(default_factory=dict)
    _records: dict[Path, TryRecord] = field(default_factory=dict)

    def read(self) -> bool:
        """Read what is new; False: nothing is."""
        files = files_of(self.folder)
        for gone in self._read.keys() - set(files):  # a run that was deleted and made again begins anew
            del self._read[gone]
            self._records.pop(gone, None)
        changed = [self._read_file(path) for path in files]
        self.tries = [self._records[path] for path in files if path in self._records]
        return any(changed)

    def _read_file(self, path: Path) -> bool:
        offset = self._read.get(path, 0)
        with suppress(OSError), path.open("rb") as file:
            file.seek(offset)
            # A line that is written now has no end yet.
            lines, _, _ = file.read().rpartition(b"\n")
            if not lines:
                return False
            self._read[path] = offset + len(lines) + 1
            for text in lines.decode(errors="replace").split("\n"):
                self._take(path, line_of(text))
            return True
        return False

    def _take(self, path: Path, line: Mapping[str, Any]) -> None:
        record = self._records.get(path)
        if record is None:
            if (begun := begun_try(line)) is not None:
                self._records[path] = begun
            return
        record.take(line)
        node = str(line.get("id"))
        if line.get("text"):
            self.texts.setdefault(node, []).append(str(line["text"]))
        if line.get(SQL):
            self.sql[node] = str(line[SQL])


class Feed:
    """What is known of one producer, kept up to date while somebody watches it.

    :param producer: the producer.
    :ivar tries: what its journal says of each try.
    :ivar state: Airflow's state of it, which was asked before the journal was read; None: it has none yet.
    """

    def __init__(self, producer: Producer) -> None:
        self.tries: list[TryRecord] = []
        self.state: str | None = None
        self.journal = JournalFiles(folder_of(producer.key))
        self._producer = producer
        self._answer: tuple[str | None, list[TryRecord]] | None = None
        self._changed = asyncio.Event()
        self._watchers = 0
        self._loops: list[asyncio.Task[None]] = []

    async def change(self) -> None:
        """Wait until something has changed."""
        await self._changed.wait()

    def _begin(self) -> None:
        # In a context of its own: what is logged here would stand in the log of the task that came first.
        begin = contextvars.Context().run
        self._loops = [begin(asyncio.ensure_future, loop()) for loop in (self._ask, self._read)]

    async def _ask(self) -> None:
        while True:
            with suppress(Exception):  # whatever Airflow raises: it is asked again
                state = await asyncio.to_thread(self._producer.state)
                published: list[TryRecord] = []
                if not self.journal.tries and state is not None:
                    published = await asyncio.to_thread(self._producer.published)
                self._answer = (state, published)
            await asyncio.sleep(_BETWEEN_QUESTIONS)

    async def _read(self) -> None:
        known: object = None
        while True:
            # The answer first: a producer that was over by then has written all that it writes.
            answer = self._answer
            has_read = False
            with suppress(OSError):
                has_read = await asyncio.to_thread(self.journal.read)
            if answer is not None:
                self.state, published = answer
                self.tries = self.journal.tries or published
            else:
                self.tries = self.journal.tries
            if has_read or answer is not known:
                known = answer
                self._changed.set()
                self._changed = asyncio.Event()
            await asyncio.sleep(_BETWEEN_READINGS)

    async def __aenter__(self) -> Feed:
        self._watchers += 1
        if self._watchers == 1:
            self._begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watchers -= 1
        if not self._watchers:
            for loop in self._loops:
                loop.cancel()


_feeds: dict[tuple[int, asyncio.AbstractEventLoop, str], Feed] = {}


@asynccontextmanager
async def watching(producer: Producer) -> AsyncIterator[Feed]:
    """Within this block a producer is watched, with all others that watch it in this process.

    :param producer: the producer.
    """
    name = (os.getpid(), asyncio.get_running_loop(), producer.key)
    feed = _feeds.setdefault(name, Feed(producer))
    async with feed:
        yield feed
    if not feed._watchers:
        _feeds.pop(name, None)


def look(producer: Producer) -> tuple[str | None, JournalFiles, list[TryRecord]]:
    """What is known of a producer now: Airflow's state of it, its files on this host, and a record for each try.

    :param producer: the producer.
    """
    state = producer.state()
    journal = JournalFiles(folder_of(producer.key))
    journal.read()
    return state, journal, journal.tries or producer.published()


def publisher(context: Mapping[str, Any], log: Any) -> Callable[[str], None] | None:
    """What writes the XCom of the producer; None where Airflow does not run it.

    :param context: Airflow's context of the producer.
    :param log: its logger: an XCom that cannot be written is one warning.
    """
    ti: Any = context.get("ti")
    if ti is None:
        return None
    has_warned = False

    def publish(text: str) -> None:
        nonlocal has_warned
        try:
            ti.xcom_push(key=XCOM, value=text)
        except Exception as error:  # noqa: BLE001 - whatever Airflow's store raises; dbt does its work all the same
            if not has_warned:
                log.warning("Tasks on other hosts do not see what dbt does: the XCom cannot be written: %s", error)
            has_warned = True

    return publish
