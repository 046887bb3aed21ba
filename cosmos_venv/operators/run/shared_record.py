"""What the tries of a task have done, kept where workers on all hosts read it.

It is kept in object storage where ``[cosmos] remote_cache_dir`` and a key are set, signed: whoever could write it there
without the key could let a try skip what is not built. Else it is kept in one Airflow Variable: Airflow deletes the
XComs of a task when its next try begins. What goes wrong there is one warning, since dbt does its work all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from cosmos_venv import compat
from cosmos_venv.files import untrusted
from cosmos_venv.managed import caches

if TYPE_CHECKING:
    from cosmos_venv.remote.object_store import RemoteFolder

_PREFIX = "cosmos_venv_journal__"
_DESCRIPTION = "cosmos-venv: the dbt nodes that a task has done, for its next try. It is removed when the task is over."
_BETWEEN_WRITES = 1.0
# A slow store must not hold up dbt: writing takes a sixth of the time at most.
_REST_AFTER_WRITE = 5.0
# Each writing tells of all nodes. At one a second, what a large project tells would grow with nodes times time.
_CHARACTERS_PER_SECOND = 8_192
# MySQL keeps 64 KiB of a Variable, and Airflow encrypts it: a third more.
_LONGEST_PLAIN_TEXT = 30_000
_REMOTE_SECONDS = 10.0


class Done(msgspec.Struct, frozen=True, array_like=True):
    """A node that need not run again.

    :param status: by dbt.
    :param try_number: the try that has run it.
    """

    status: str
    try_number: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What a task has done, as one of its tries knew it.

    :param last: number of the last try that Airflow makes by itself.
    :param number: of the try that knew it.
    :param done: the nodes that need not run again, by unique id: of earlier tries and of this one.
    """

    last: int
    number: int
    done: dict[str, Done]


class Store(Protocol):
    """A place that workers on all hosts reach."""

    def read(self) -> str:
        """The text that was written last; empty: there is none. :raises Exception: as each store has it."""

    def write(self, text: str) -> None:
        """Write a text in place of the one before.

        :param text: the text.
        :raises Exception: as each store has it.
        """

    def remove(self) -> None:
        """Remove the text. :raises Exception: as each store has it."""


class Pace:
    """When a store may be written again, so that it does not hold up dbt."""

    def __init__(self) -> None:
        self._may_write_at = time.monotonic() + _BETWEEN_WRITES  # a short task writes nothing

    @property
    def is_due(self) -> bool:
        """Whether the last writing is long enough ago."""
        return time.monotonic() >= self._may_write_at

    @contextmanager
    def writing(self, text: str) -> Iterator[None]:
        """Within this block the store is written.

        :param text: what is written there.
        """
        began = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            rest = max(_REST_AFTER_WRITE * (ended - began), len(text) / _CHARACTERS_PER_SECOND)
            self._may_write_at = ended + max(_BETWEEN_WRITES, rest)


class SharedRecord:
    """The progress of one task, in a store.

    :param key: of the task's tries in one run.
    :param log: the task's logger.
    """

    def __init__(self, key: str, log: Any) -> None:
        self._store = _store_of(key)
        self._log = log
        self._pace = Pace()
        self._may_be_there = False
        self._has_warned = False

    @property
    def may_be_written(self) -> bool:
        """Whether the last writing is long enough ago."""
        return self._pace.is_due

    def read(self) -> Progress | None:
        """The progress that was written last; None where there is none, or it cannot be read."""
        self._may_be_there = True  # also where the store does not answer now
        try:
            text = self._store.read()
            self._may_be_there = bool(text)
            if text and (found := progress_of(text)) is not None:
                return found
            if text:
                self._warn("read", "it is not what was written")
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            self._warn("read", error)
        return None

    def write(self, progress: Progress) -> bool:
        """Write it; False where that failed.

        :param progress: of the task.
        """
        self._may_be_there = True
        text = _packed(progress)
        with self._pace.writing(text):
            return self._try("written", lambda: self._store.write(text))

    def remove(self) -> None:
        """Remove it, where an earlier or the present try may have written it."""
        if self._may_be_there:
            self._may_be_there = not self._try("removed", self._store.remove)

    def _try(self, done: str, change: Callable[[], None]) -> bool:
        try:
            change()
        except Exception as error:  # noqa: BLE001 - as above
            self._warn(done, error)
            return False
        return True

    def _warn(self, done: str, error: object) -> None:
        if not self._has_warned:
            self._has_warned = True
            consequence = "" if done == "removed" else " A retry on another host runs all nodes."
            self._log.warning(
                "What this task has done cannot be %s in %s: %s.%s", done, self._store, error, consequence
            )


def remove_abandoned(key: str) -> None:
    """Remove the record of a task that never came to its end, such as one that was marked failed between two tries.

    :param key: of the task's tries in one run.
    :raises Exception: whatever the store raises.
    """
    _store_of(key).remove()
    if (watched := record_of_watched(key)) is not None:
        watched.remove()


def record_of_watched(key: str) -> Store | None:
    """What a producer tells the tasks that watch it, in object storage; None where an XCom tells them.

    :param key: of the producer's tries in one run.
    """
    folder = caches.remote_journals()
    return None if folder is None else _InObjectStorage(folder, f"{key}-watched.jsonl")


@dataclass(frozen=True)
class _InVariable:
    name: str

    def __str__(self) -> str:
        return f"the Variable {self.name}"

    def read(self) -> str:
        return compat.variable(self.name) or ""

    def write(self, text: str) -> None:
        compat.set_variable(self.name, text, _DESCRIPTION)

    def remove(self) -> None:
        compat.forget_variable(self.name)


@dataclass(frozen=True)
class _InObjectStorage:
    folder: RemoteFolder
    name: str

    def __str__(self) -> str:
        return str(self.folder)

    def read(self) -> str:
        return (self.folder.read(self.name, seconds=_REMOTE_SECONDS, limit=untrusted.SMALL) or b"").decode()

    def write(self, text: str) -> None:
        self.folder.write(self.name, text.encode(), seconds=_REMOTE_SECONDS)

    def remove(self) -> None:
        self.folder.remove(self.name, seconds=_REMOTE_SECONDS)


def _store_of(key: str) -> Store:
    folder = caches.remote_journals()
    return _InVariable(f"{_PREFIX}{key}") if folder is None else _InObjectStorage(folder, f"{key}.jsonl")


def _packed(progress: Progress) -> str:
    text = msgspec.json.encode(progress)
    if len(text) <= _LONGEST_PLAIN_TEXT:
        return text.decode()
    return untrusted.packed(text)


def progress_of(text: str) -> Progress | None:
    """What was kept in a store; None for a text that says nothing of it.

    :param text: of the store.
    """
    return untrusted.value_of(text if text.startswith("{") else untrusted.unpacked(text), Progress)
