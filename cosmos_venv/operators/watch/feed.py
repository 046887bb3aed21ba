"""The state of a run's producer, read once for all tasks of this process that watch it.

The files of its journal are read twice a second where this host has them. The published record is read every three
seconds: the producer may run on another host. Airflow's state of the producer is asked in a loop of its own: a round
trip can take 15 s where the triggerer is busy, and lines of the journal must not wait.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, ParamSpec, TypeVar

import msgspec
from asgiref.sync import sync_to_async

from cosmos_venv import compat
from cosmos_venv.operators.run.journal import published
from cosmos_venv.operators.run.journal_record import JournalFiles, TryRecord, folder_of, newest
from cosmos_venv.operators.watch.verdict import OVER

_P = ParamSpec("_P")
_T = TypeVar("_T")
_NOT_STARTED = (None, "scheduled", "queued")  # Airflow logs an error for an XCom that is not there yet
_BETWEEN_READINGS = 0.5
_BETWEEN_QUESTIONS = 3.0
# Two minutes. After these, the state of an ended producer counts even if its published record cannot be read.
_MOST_FAILURES = 40


async def ask(question: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Ask Airflow something in the triggerer, without blocking its event loop.

    A race in the triggerer of Airflow 3.0 to 3.2.1: an answer goes to the thread that reads first, and the triggerer
    dies when that thread has asked something else ("Response read out of order", apache/airflow#64620). This was seen
    with 3.1.8 and ``asyncio.to_thread``. In a thread of asgiref, Airflow sends its questions from the event loop, one
    after the other. A cancelled question goes on until its answer is read: else the next question would get it.

    :param question: is called in a thread.
    :param *args: of the question.
    :param **kwargs: of the question.
    :raises Exception: what the question raises.
    """
    asked = asyncio.ensure_future(sync_to_async(question, thread_sensitive=False)(*args, **kwargs))
    # Take the exception of a cancelled question: asyncio logs an exception that nobody has taken.
    asked.add_done_callback(lambda it: it.cancelled() or it.exception())
    await asyncio.wait({asked})  # as asyncio.shield, which itself logs such an exception from Python 3.14 on
    return asked.result()


class Producer(msgspec.Struct, frozen=True, kw_only=True):
    """The producer of one run.

    :param key: of its journal.
    :param task_id: of its task.
    :param place: ``dag_id`` and ``run_id``, and ``map_index`` of the task in a mapped group; -1: it is not mapped.
    """

    key: str
    task_id: str
    place: Mapping[str, Any]

    def state(self) -> str | None:
        """Airflow's state of the producer's task."""
        return compat.task_states([self.task_id], **self.place)[self.task_id]

    def published(self) -> TryRecord | None:
        """The record of its newest try, as published for other hosts."""
        return published(self.key, task_id=self.task_id, **self.place)


class Feed:
    """The present state of one producer, kept up to date while tasks watch it.

    :param producer: the producer.
    :ivar record: of the producer's newest try; None: no try has begun.
    :ivar state: Airflow's state of the producer, which was asked before the journal was read; None: it has none yet.
    :ivar has_looked: whether the state and the journal were read at all.
    :ivar problem: why the last attempt to read the published record failed; empty: no error, or not needed.
    """

    def __init__(self, producer: Producer) -> None:
        self.record: TryRecord | None = None
        self.state: str | None = None
        self.has_looked = False
        self.problem = ""
        self.journal = JournalFiles(folder_of(producer.key))
        self.watchers = 0
        self._producer = producer
        self._answer: tuple[str | None, TryRecord | None] | None = None
        self._published: TryRecord | None = None
        self._failures = 0
        self._changed = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def wait_for_change(self) -> None:
        """Wait until something has changed.

        :raises Exception: the error that has ended the reading: the trigger cannot go on.
        """
        await self._changed.wait()
        for loop in self._loops:
            if loop.done() and not loop.cancelled() and (error := loop.exception()) is not None:
                raise error

    def begin(self) -> None:
        """Begin to read."""
        # In an empty context: else lines that are logged here would go to the log of the task that came first.
        begin = contextvars.Context().run
        self._loops = [begin(asyncio.ensure_future, loop) for loop in (self._ask(), self._read())]
        for each in self._loops:
            each.add_done_callback(lambda _: self._tell())

    def end(self) -> None:
        """Read no more."""
        for loop in self._loops:
            loop.cancel()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _ask(self) -> None:
        while True:
            with suppress(Exception):  # whatever Airflow raises: it is asked again
                state = await ask(self._producer.state)
                # Also beside files: a later try on another host writes no file on this host.
                if state not in _NOT_STARTED:
                    await self._read_published()
                if not self.problem or self._failures >= _MOST_FAILURES or state not in OVER:
                    self._answer = (state, self._published)
            await asyncio.sleep(_BETWEEN_QUESTIONS)

    async def _read_published(self) -> None:
        try:
            self._published = await ask(self._producer.published)
            self.problem, self._failures = "", 0
        except Exception as error:  # noqa: BLE001 - likewise
            self.problem, self._failures = f"{type(error).__name__}: {error}", self._failures + 1

    async def _read(self) -> None:
        known: object = None
        while True:
            # Take the answer first: a producer that was over by then has already written its whole journal.
            answer = self._answer
            has_read = False
            with suppress(OSError):
                has_read = await asyncio.to_thread(self.journal.read)
            if has_read or answer is not known:
                known = answer
                state, published = answer or (None, None)
                self.state, self.has_looked = state, answer is not None
                self.record = newest(self.journal.record, published)
                self._tell()
            await asyncio.sleep(_BETWEEN_READINGS)


_feeds: dict[tuple[asyncio.AbstractEventLoop, str], Feed] = {}


@asynccontextmanager
async def watching(producer: Producer) -> AsyncIterator[Feed]:
    """Watch a producer within this block. All watchers of the producer in this process share one ``Feed``.

    :param producer: the producer.
    """
    name = (asyncio.get_running_loop(), producer.key)
    if name not in _feeds:
        _feeds[name] = Feed(producer)
        _feeds[name].begin()
    feed = _feeds[name]
    feed.watchers += 1
    try:
        yield feed
    finally:  # also where the trigger is cancelled
        feed.watchers -= 1
        if not feed.watchers:
            feed.end()
            del _feeds[name]


def look(producer: Producer) -> tuple[str | None, JournalFiles, TryRecord | None]:
    """The present state of a producer: Airflow's state, its files on this host, and the record of its newest try.

    :param producer: the producer.
    :raises Exception: whatever Airflow raises.
    """
    state = producer.state()
    journal = JournalFiles(folder_of(producer.key))
    journal.read()
    return state, journal, newest(journal.record, None if state in _NOT_STARTED else producer.published())
