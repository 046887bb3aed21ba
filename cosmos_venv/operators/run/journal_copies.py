"""The copies of a journal that other hosts read: the next try of the task, and tasks that watch it.

Both are told in object storage where ``[cosmos] remote_cache_dir`` and a key are set, in a signed file: whoever could
write it there without the key could make tasks green whose nodes are not built. Else the next try is told in an Airflow
Variable, since Airflow deletes the XComs of a task when its next try begins, and tasks that watch it in an XCom.
What goes wrong is one warning, since dbt does its work all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cosmos_venv import compat
from cosmos_venv.files import untrusted
from cosmos_venv.managed import caches
from cosmos_venv.operators.run.journal_lines import TryRecord, unpacked

if TYPE_CHECKING:
    from cosmos_venv.remote.object_store import RemoteFolder

XCOM = "dbt_journal"
"""Key of the XCom of a task that others watch."""

PushXCom = Callable[[str, Any], object]

_PREFIX = "cosmos_venv_journal__"
_DESCRIPTION = "cosmos-venv: the dbt nodes that a task has done, for its next try. It is removed when the task is over."
_BETWEEN_WRITES = 1.0
# A slow store must not hold up dbt: writing takes a sixth of the time at most.
_REST_AFTER_WRITE = 5.0
# Each writing tells of all nodes. At one a second, what a large project tells would grow with nodes times time.
_CHARACTERS_PER_SECOND = 8_192
_REMOTE_SECONDS = 10.0


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


@dataclass(frozen=True)
class _InXCom:
    push: PushXCom

    def __str__(self) -> str:
        return f"the XCom {XCOM}"

    def read(self) -> str:
        return ""  # Airflow has deleted it when a try begins

    def write(self, text: str) -> None:
        self.push(XCOM, text)

    def remove(self) -> None:
        """Airflow does, with the task."""


Store = _InVariable | _InObjectStorage | _InXCom
"""A place that workers on all hosts reach. Each kind of place reads, writes and removes one text."""


class Copy:
    """One copy of a journal.

    :param store: where it is.
    :param log: the task's logger.
    :param is_watched: whether tasks on other hosts wait for it, so that it stays when the task is over.
    :param is_short: whether it has the present try alone, without messages.
    """

    def __init__(self, store: Store, log: Any, *, is_watched: bool = False, is_short: bool = False) -> None:
        self.is_watched = is_watched
        self.is_short = is_short
        self._store = store
        self._log = log
        self._may_write_at = time.monotonic() + _BETWEEN_WRITES  # a short task writes nothing
        self._news = 0
        self._may_be_there = False
        self._has_warned = False

    def is_due(self, news: int) -> bool:
        """Whether it is to be written: there is something new, and the last writing is long enough ago.

        :param news: how many nodes have ended, as the journal counts them.
        """
        return news != self._news and time.monotonic() >= self._may_write_at

    def read(self, key: str) -> TryRecord | None:
        """The newest try in it; None where there is none, or it cannot be read.

        :param key: of the journal.
        """
        self._may_be_there = True  # also where the store does not answer now
        try:
            text = self._store.read()
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            self._warn("read", error)
            return None
        self._may_be_there = bool(text)
        if text and not (found := unpacked(key, text)):
            self._warn("read", "it is not what was written")
        return found[-1] if text and found else None

    def write(self, text: str, news: int) -> None:
        """Write it. What fails is tried again when it is due.

        :param text: of ``packed``.
        :param news: as for ``is_due``.
        """
        self._may_be_there = True
        began = time.monotonic()
        try:
            self._store.write(text)
            self._news = news
        except Exception as error:  # noqa: BLE001 - as above
            self._warn("written", error)
        ended = time.monotonic()
        rest = max(_BETWEEN_WRITES, _REST_AFTER_WRITE * (ended - began), len(text) / _CHARACTERS_PER_SECOND)
        self._may_write_at = ended + rest

    def remove(self) -> None:
        """Remove it, where an earlier or the present try may have written it."""
        if self._may_be_there:
            try:
                self._store.remove()
            except Exception as error:  # noqa: BLE001 - as above
                self._warn("removed", error)

    def _warn(self, done: str, error: object) -> None:
        if not self._has_warned:
            self._has_warned = True
            consequence = "" if done == "removed" else " A retry on another host runs all nodes."
            if self.is_watched:
                consequence = " Tasks on other hosts do not see what dbt does."
            self._log.warning(
                "What this task has done cannot be %s in %s: %s.%s", done, self._store, error, consequence
            )


def copies_of(key: str, log: Any, push_xcom: PushXCom | None) -> list[Copy]:
    """The copies of a journal, that for the next try first.

    :param key: of the journal.
    :param log: the task's logger.
    :param push_xcom: pushes an XCom of the task, where others watch it; None: nobody does.
    """
    if (storage := _in_object_storage(key)) is not None:
        return [Copy(storage, log, is_watched=push_xcom is not None)]
    found = [Copy(_InVariable(f"{_PREFIX}{key}"), log, is_short=True)]
    if push_xcom is not None:
        found.append(Copy(_InXCom(push_xcom), log, is_watched=True))
    return found


def published(key: str, *, task_id: str, **place: Any) -> list[TryRecord]:
    """What a task that is watched has told of each of its tries.

    :param key: of its journal.
    :param task_id: of the task.
    :param **place: ``dag_id``, ``run_id`` and ``map_index`` of the task.
    :raises Exception: whatever the store raises where it cannot be read.
    """
    storage = _in_object_storage(key)
    text = compat.xcom(XCOM, task_id=task_id, **place) or "" if storage is None else storage.read()
    return unpacked(key, text)


def remove_abandoned(key: str) -> None:
    """Remove the copies of a journal whose task never came to its end, such as one that was marked failed.

    :param key: of the journal.
    :raises Exception: whatever the store raises.
    """
    (_in_object_storage(key) or _InVariable(f"{_PREFIX}{key}")).remove()


def _in_object_storage(key: str) -> _InObjectStorage | None:
    folder = caches.remote_journals()
    return None if folder is None else _InObjectStorage(folder, f"{key}.jsonl")
