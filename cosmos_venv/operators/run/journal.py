"""The journal of a task that runs several nodes: what became of each node, by the try of the task.

Each event is written to a file at once, so that nothing is lost on this host when the worker is killed. Where Airflow
may try the task again, on any host, what is done is kept elsewhere too, at most once a second: in object storage where
``[cosmos] remote_cache_dir`` is set, else in one Airflow Variable. Airflow deletes the XComs of a task when its next
try begins. Both are removed when the task is over.

A task that somebody has cleared runs everything: Airflow gives it another number of tries, by which the tries that
belong together are told.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from cosmos_venv import compat
from cosmos_venv.dbt.log_lines import NodeEvent
from cosmos_venv.files.durable_files import make_private
from cosmos_venv.files.read_limits import Limit
from cosmos_venv.io import map_index
from cosmos_venv.managed import caches

if TYPE_CHECKING:
    from cosmos_venv.remote.object_store import RemoteFolder

DONE_STATUSES = frozenset({"success", "pass", "warn", "no-op", "reused"})
"""What dbt says of a node that need not run again."""

_FOLDER = "journals-v1"
_PREFIX = "cosmos_venv_journal__"
_DESCRIPTION = "cosmos-venv: the dbt nodes that a task has done, for its next try. It is removed when the task is over."
_BETWEEN_WRITES = 1.0
# A slow store must not hold up dbt: writing takes a sixth of the time at most.
_REST_AFTER_WRITE = 5.0
# MySQL keeps 64 KiB of a Variable, and Airflow encrypts it: a third more.
_LONGEST_PLAIN_TEXT = 30_000
_REMOTE_SECONDS = 10.0
_REMOTE_LIMIT = Limit(most=1 << 28)
_MOST_DAYS = 30
_DIGITS = 32


class Done(msgspec.Struct, frozen=True, array_like=True):
    """A node that need not run again.

    :param status: by dbt.
    :param try_number: the try that has run it.
    """

    status: str
    try_number: int


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a node.

    :param node: unique id.
    :param status: by dbt, or ``missing``.
    :param seconds: that it took; 0 where dbt has not said it.
    :param rows: that it changed, or found as a test; None where dbt has not said it.
    :param message: of dbt.
    :param try_number: the try that has run it.
    """

    node: str
    status: str
    seconds: float = 0.0
    rows: int | None = None
    message: str = ""
    try_number: int = 1


class Tries(msgspec.Struct, frozen=True, kw_only=True):
    """The tries of one task in one run, as the present one sees them.

    :param key: a text that only they have: of DAG, run, task and index of a mapped task.
    :param number: of the present try, from 1.
    :param last: number of the last try that Airflow makes by itself. Clearing the task gives another one.
    """

    key: str
    number: int
    last: int

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Tries | None:
        """The tries of a running task; None where Airflow does not run it, so that there is no other.

        :param context: Airflow's context of the task.
        """
        ti = context.get("ti") or context.get("task_instance")
        names = [getattr(ti, "dag_id", None), getattr(ti, "run_id", None) or context.get("run_id")]
        names += [getattr(ti, "task_id", None), *map_index(context)]
        number, last = getattr(ti, "try_number", None), getattr(ti, "max_tries", None)
        if not all(names) or not isinstance(number, int) or not isinstance(last, int):
            return None
        digest = hashlib.sha256("\0".join(map(str, names)).encode()).hexdigest()
        return cls(key=digest[:_DIGITS], number=number, last=last)

    @property
    def goes_on(self) -> bool:
        """Whether Airflow tries the task again when it fails."""
        return self.number <= self.last


class Journal:
    """The journal of the present try, and what those before it have left. Threads of dbt may write it at once.

    :param tries: of the task; None: nothing is kept, and there is no earlier try.
    :param log: the task's logger: a journal that cannot be kept is a warning.
    """

    def __init__(self, tries: Tries | None, log: Any) -> None:
        self.ends: dict[str, NodeEvent] = {}
        """The last event of each node that has ended in this try."""
        self.done: dict[str, Done] = {}
        """The nodes that need not run again, by unique id: of earlier tries and of this one."""
        self._tries = tries
        self._log = log
        self._lock = RLock()
        self._file: int | None = None
        self._elsewhere = _Elsewhere(_store_of(tries.key), log) if tries is not None else None
        self._is_behind = False

    @property
    def number(self) -> int:
        """Number of the present try; 1 where Airflow does not run the task."""
        return self._tries.number if self._tries else 1

    def begin(self) -> None:
        """Open the journal, and read what earlier tries have done."""
        if self._tries is None:
            return
        if self._tries.number > 1:
            self.done = {**self._of_elsewhere(), **self._of_files()}
        else:  # a run may have been deleted, and another one of its name made
            shutil.rmtree(self._folder, ignore_errors=True)
            if self._tries.goes_on and self._elsewhere is not None:
                self._elsewhere.clear()
        try:
            make_private(self._folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._file = os.open(self._folder / f"{self._tries.number:04}.jsonl", flags, 0o600)
        except OSError as error:
            self._log.warning("The journal of this task cannot be written: %s", error)
        _sweep(self._folder.parent)
        self._append({"last": self._tries.last})

    def start_anew(self, nodes: Iterable[str]) -> None:
        """Take these nodes for not done, whatever earlier tries have said.

        :param nodes: unique ids.
        """
        with self._lock:
            for each in nodes:
                if self.done.pop(each, None) is not None:
                    self._append({"id": each, "status": ""})
                    self._is_behind = True

    def note(self, event: NodeEvent) -> None:
        """Write down what dbt says of a node.

        :param event: of dbt's output.
        """
        with self._lock:
            line = {"id": event.unique_id, "status": event.status, "event": event.name, "at": time.time()}
            self._append({**line, "seconds": event.seconds, "text": event.text})
            if not event.is_end:
                return
            self.ends[event.unique_id] = event
            self._take(event.unique_id, event.status)
        self.keep_up()

    def settle(self, rows: Iterable[NodeRow]) -> None:
        """Write down what dbt's artifacts say of the nodes of this try: more than its events, which a log level hides.

        :param rows: one for each node of which they say something.
        """
        with self._lock:
            for row in rows:
                self._append({"id": row.node, **{k: v for k, v in msgspec.to_builtins(row).items() if k != "node"}})
                self._take(row.node, row.status)

    def keep_up(self) -> None:
        """Keep what is done where a worker on another host finds it, unless that was done a moment ago."""
        with self._lock:
            if self._elsewhere is not None and self._elsewhere.may_be_written:
                self._keep_done()

    def close(self, *, is_over: bool) -> None:
        """End the journal.

        :param is_over: whether the next try is to know nothing of it: the task has succeeded, or has to run everything.
        """
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
            if self._tries is None or self._elsewhere is None:
                return
            if is_over or not self._tries.goes_on:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._elsewhere.remove()
            else:
                self._keep_done()

    @property
    def _folder(self) -> Path:
        assert self._tries is not None  # noqa: S101 - asked by all callers
        return caches.cache_dir() / _FOLDER / self._tries.key

    def _take(self, node: str, status: str) -> None:
        if status in DONE_STATUSES:
            if node not in self.done:
                self.done[node] = Done(status, self.number)
                self._is_behind = True
        elif self.done.pop(node, None) is not None:  # dbt has said otherwise at its end
            self._is_behind = True

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            os.write(self._file, json.dumps(line).encode() + b"\n")  # in one call: a kill leaves no half of it
        except OSError as error:
            self._log.warning("The journal of this task cannot be written: %s", error)
            os.close(self._file)
            self._file = None

    def _keep_done(self) -> None:
        if self._tries is None or self._elsewhere is None or not self._tries.goes_on or not self._is_behind:
            return
        self._is_behind = False
        self._elsewhere.write(_packed(_Kept(last=self._tries.last, done=self.done)))

    def _of_elsewhere(self) -> dict[str, Done]:
        assert self._tries is not None  # noqa: S101 - asked by the caller
        assert self._elsewhere is not None  # noqa: S101 - there is one for all tries
        kept = self._elsewhere.read()
        return kept.done if kept is not None and kept.last == self._tries.last else {}

    def _of_files(self) -> dict[str, Done]:
        """What the files of this host say is done."""
        assert self._tries is not None  # noqa: S101 - asked by the caller
        done: dict[str, Done] = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            last = None
            for line in _lines(path):
                last = line.get("last", last)
                if last != self._tries.last or "id" not in line:
                    continue
                node, status = str(line["id"]), str(line.get("status"))
                if status in DONE_STATUSES:
                    done.setdefault(node, Done(status, int(path.stem)))
                elif not line.get("event"):  # what dbt said at its end
                    done.pop(node, None)
        return done


class _Kept(msgspec.Struct, frozen=True):
    """What a task has done, as it is kept elsewhere.

    :param last: number of the last try that Airflow makes by itself.
    :param done: by unique id.
    """

    last: int
    done: dict[str, Done]


class _Store(Protocol):
    """A place that workers on all hosts reach."""

    def read(self) -> str: ...

    def write(self, text: str) -> None: ...

    def remove(self) -> None: ...


class _Elsewhere:
    """What a task has done, in a store. What goes wrong there is one warning: dbt does its work all the same.

    :param store: the store.
    :param log: the task's logger.
    """

    def __init__(self, store: _Store, log: Any) -> None:
        self._store = store
        self._log = log
        self._may_write_at = time.monotonic() + _BETWEEN_WRITES  # a short task writes nothing
        self._may_be_there = False
        self._has_warned = False

    @property
    def may_be_written(self) -> bool:
        return time.monotonic() >= self._may_write_at

    def read(self) -> _Kept | None:
        try:
            text = self._store.read()
            self._may_be_there = bool(text)
            return _unpacked(text) if text else None
        except Exception as error:  # noqa: BLE001 - whatever a store raises; also a text that somebody has changed
            self._warn("read", error)
            return None

    def write(self, text: str) -> None:
        self._may_be_there = True
        began = time.monotonic()
        self._try("written", lambda: self._store.write(text))
        ended = time.monotonic()
        self._may_write_at = ended + max(_BETWEEN_WRITES, _REST_AFTER_WRITE * (ended - began))

    def clear(self) -> None:
        """Remove what others may have left; to look costs less than to remove what is not there."""
        self.read()
        self.remove()

    def remove(self) -> None:
        if self._may_be_there:
            self._try("removed", self._store.remove)
            self._may_be_there = False

    def _try(self, done: str, change: Callable[[], None]) -> None:
        try:
            change()
        except Exception as error:  # noqa: BLE001 - as above
            self._warn(done, error)

    def _warn(self, done: str, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._log.warning(
                "What this task has done cannot be %s in %s: %s. A retry on another host runs all nodes.",
                done,
                self._store,
                error,
            )


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
        return (self.folder.read(self.name, seconds=_REMOTE_SECONDS, limit=_REMOTE_LIMIT) or b"").decode()

    def write(self, text: str) -> None:
        self.folder.write(self.name, text.encode(), seconds=_REMOTE_SECONDS, sweeps=False)

    def remove(self) -> None:
        self.folder.remove(self.name, seconds=_REMOTE_SECONDS)


def _store_of(key: str) -> _Store:
    folder = caches.remote_journals()
    return _InVariable(f"{_PREFIX}{key}") if folder is None else _InObjectStorage(folder, f"{key}.jsonl")


def _packed(kept: _Kept) -> str:
    text = msgspec.json.encode(kept)
    if len(text) <= _LONGEST_PLAIN_TEXT:
        return text.decode()
    return base64.b64encode(zlib.compress(text)).decode()


def _unpacked(text: str) -> _Kept:
    """What was kept. :raises ValueError: for a text that is none of ours."""
    try:
        plain = text.encode() if text.startswith("{") else zlib.decompress(base64.b64decode(text, validate=True))
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"it is not what was written ({error})") from error
    return msgspec.json.decode(plain, type=_Kept)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = path.read_text(encoding="utf-8")
    except OSError:
        return
    for text in content.splitlines():
        with suppress(ValueError):  # the disk may have been full
            yield json.loads(text)


def _sweep(folder: Path) -> None:
    """Remove the journals of tasks that never came to their end."""
    oldest = time.time() - _MOST_DAYS * 86_400
    with suppress(OSError):
        for each in folder.iterdir():
            with suppress(OSError):
                if each.stat().st_mtime < oldest:
                    shutil.rmtree(each)
