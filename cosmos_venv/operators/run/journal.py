"""The journal of a task that runs several nodes: the outcome of each node, for each try of the task.

It is append-only. Each event is written to a file at once, so that nothing is lost on this host when the worker is
killed. Copies, written at most once a second, tell other hosts: the next try of the task, and tasks that watch it. The
files and copies are removed when the task is over, except files and copies that watching tasks read.

Where ``[cosmos] remote_cache_dir`` and a key are set, one signed file in object storage is the copy for both readers.
It is signed, since whoever could write there without the key could make tasks green whose nodes are not built.
Otherwise, the copy for the next try is in Airflow's task state store (3.3 and later) or in a Variable: Airflow deletes
the XComs of a task when its next try begins. The copy for tasks that watch it is an XCom, since they cannot
read another task's state. An error with a copy is one warning, since dbt does its work all the same.

A task that somebody has cleared runs everything. Clearing changes Airflow's ``max_tries``, and only tries with the same
``max_tries`` belong together. A task that is cleared while it runs keeps the number, and goes on as after a retry. A
DAG run that was deleted and made again under its name has another start, which is part of the journal's key.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import msgspec

from cosmos_venv import compat
from cosmos_venv.dbt.log_lines import FAILED, NodeEvent, NodeOutcome
from cosmos_venv.files.own_files import is_private, make_private, open_own
from cosmos_venv.files.read_limits import SMALL
from cosmos_venv.io import map_index
from cosmos_venv.managed import caches
from cosmos_venv.operators.run.journal_record import (
    LONGEST_TEXT,
    Line,
    TryRecord,
    folder_of,
    newest,
    packed,
    record_in,
    unpacked,
)

XCOM = "dbt_journal"
"""Key of the XCom of a task that others watch."""

PushXCom = Callable[[str, Any], object]

_NAME = "cosmos_venv_journal__"
_DESCRIPTION = "cosmos-venv: the dbt nodes that a task has done, for its next try. It is removed when the task is over."
_BETWEEN_WRITES = 1.0
# A slow store must not hold up dbt: writing takes a sixth of the time at most.
_REST_AFTER_WRITE = 5.0
# Each write has all nodes. At one write a second, a large project would write nodes times seconds.
_CHARACTERS_PER_SECOND = 8_192
_REMOTE_SECONDS = 10.0
_WITH_SQL = frozenset({"model", "snapshot"})
_MOST_DAYS = 30
_DIGITS = 32
_INSTANT = 1e-5  # seconds between two lines at least: of two records of one try the later one counts


class Journal:
    """The journal of the present try, and the record of earlier tries. Several threads of dbt may write to it.

    :param key: a text that only the tries of one task in one run have.
    :param record: the present try, without outcomes.
    :param log: the task's logger: a journal that cannot be written is a warning.
    :param push_xcom: pushes an XCom of the task, where other tasks watch it. None: no task watches it, and the journal
        is removed when the task is over.
    :param state: the store that ``compat.task_state`` returns.
    :ivar record: of the present try.
    """

    def __init__(
        self, key: str, record: TryRecord, log: Any, push_xcom: PushXCom | None = None, state: Any = None
    ) -> None:
        self.record = record
        self._key = key
        self._log = log
        self._lock = RLock()
        self._file: int | None = None
        self._is_watched = push_xcom is not None
        self._stores = stores_of(key, push_xcom, state)
        self._folder = folder_of(key)
        self._news = self._written_news = 0  # how many lines of the journal matter to other hosts, and are told to them
        self._may_write_at = time.monotonic() + _BETWEEN_WRITES  # a short task writes nothing
        self._may_be_there = False
        self._warned_of: set[str] = set()

    def earlier(self) -> TryRecord | None:
        """The record of the newest earlier try that has left one; None: there is none, or the task was cleared."""
        if self.record.number == 1:
            return None
        # The file has more of a try than the copy, which is written once a second.
        found = newest(record_in(self._folder), self._copy())
        return found if found is not None and found.max_tries == self.record.max_tries else None

    def _copy(self) -> TryRecord | None:
        """The record that an earlier try has left for other hosts; None where there is none, or it cannot be read."""
        text = self._ask(self._stores[0], "read", self._stores[0].read)
        self._may_be_there = text != ""  # also where the store does not answer now
        return unpacked(self._key, text)

    def begin(self, kept: Mapping[str, NodeOutcome]) -> None:
        """Open the journal.

        :param kept: outcomes that this try takes over from earlier tries: nodes that need not run, by unique id.
        """
        begun = time.time()
        if self.record.number == 1:
            shutil.rmtree(self._folder, ignore_errors=True)
        try:
            self._open()
        except OSError as error:
            self._log.warning("The journal of this task cannot be written: %s", error)
        _sweep(self._folder.parent)
        self.record = msgspec.structs.replace(self.record, begun=begun, written=begun, outcomes=dict(kept))
        self._append(Line(begun=self.record))

    def note(self, event: NodeEvent, target: Path | None = None) -> None:
        """Write down an event of a node.

        :param event: of dbt's output.
        :param target: dbt's target folder, for tasks that show the SQL of their node; None: it is not known.
        """
        sql = _compiled_sql(event, target) if self._is_watched and event.is_end else ""
        outcome = NodeOutcome(event.status, seconds=event.seconds) if event.is_end else None
        self._append(Line(id=event.unique_id, outcome=outcome, text=_shown(event.text), sql=_shown(sql)))
        if event.is_end:
            self.write_copies()

    def record_results(self, outcomes: Mapping[str, NodeOutcome]) -> None:
        """Write down the outcomes in dbt's artifacts. They say more than dbt's events, which a log level may hide.

        :param outcomes: by unique id.
        """
        for node, each in outcomes.items():
            shown = msgspec.structs.replace(each, message=_shown(each.message))
            self._append(Line(id=node, outcome=shown))

    def write_copies(self) -> None:
        """Write the copies for other hosts when there is something new, and the last write is long enough ago."""
        with self._lock:
            if self._news != self._written_news and time.monotonic() >= self._may_write_at:
                self._write(is_for_next_try=not self.record.is_last)

    def _write(self, *, is_for_next_try: bool) -> None:
        """Write each copy that somebody may read."""
        stores = [each for each in self._stores if each.is_watched or is_for_next_try]
        if not stores:
            return
        text = packed(self._key, self.record)
        began = time.monotonic()
        self._written_news = self._news
        self._may_be_there = True
        for store in stores:
            self._ask(store, "written", partial(store.write, text))
        ended = time.monotonic()
        rest = max(_BETWEEN_WRITES, _REST_AFTER_WRITE * (ended - began), len(text) / _CHARACTERS_PER_SECOND)
        self._may_write_at = ended + rest

    def _ask(self, store: _Store, done: str, ask: Callable[[], Any]) -> Any:
        """Ask a store to do something; an error is one warning, since dbt does its work all the same."""
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            self._written_news = -1  # a write that has failed is tried again when the copies are due
            if store.name in self._warned_of:
                return None
            self._warned_of.add(store.name)
            consequence = "" if done == "removed" else " A retry on another host runs all nodes."
            if store.is_watched:
                consequence = " Tasks on other hosts do not see what dbt does."
            self._log.warning("What this task has done cannot be %s in %s: %s.%s", done, store.name, error, consequence)
            return None

    def close(self, *, is_over: bool, end: str = FAILED, why: str = "") -> None:
        """End the journal.

        :param is_over: whether no later try needs the journal: the task has succeeded, or the next try runs everything.
        :param end: of the try: ``success`` or ``failed``.
        :param why: the words of the failure, for tasks whose nodes dbt has not reported.
        """
        self._append(Line(end=end, why=why))
        with self._lock:
            self._close_file()
            is_needed = not (is_over or self.record.is_last)
            self._write(is_for_next_try=is_needed)
            store = self._stores[0]
            if self._may_be_there and not (is_needed or store.is_watched):
                self._ask(store, "removed", store.remove)
            if not (is_needed or self._is_watched):
                shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> None:
        make_private(self._folder)
        if not is_private(self._folder):
            self._log.warning("The journal of this task is not kept in %s: others can write there.", self._folder)
            return
        file = self._folder / f"{self.record.number:04}.jsonl"
        self._file = open_own(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, line: Line) -> None:
        with self._lock:
            line = msgspec.structs.replace(line, at=max(time.time(), self.record.written + _INSTANT))
            self.record.take(line)
            # The begin counts too: a copy in object storage still has the tries from before the task was cleared.
            self._news += line.outcome is not None or bool(line.end) or line.begun is not None
            if self._file is None:
                return
            try:
                os.write(self._file, msgspec.json.encode(line) + b"\n")  # in one call: a kill leaves no half of it
            except OSError as error:
                self._log.warning("The journal of this task cannot be written: %s", error)
                self._close_file()


@dataclass(frozen=True)
class _Store:
    """A place for one text that workers on all hosts reach.

    :param name: of the place, for the log.
    :param read: returns the text; empty: there is none.
    :param write: writes the text.
    :param remove: removes the text.
    :param is_watched: whether tasks on other hosts wait for it, so that it stays when the task is over.
    """

    name: str
    read: Callable[[], str]
    write: Callable[[str], object]
    remove: Callable[[], object]
    is_watched: bool = False


def _store_of(key: str, state: Any = None) -> _Store:
    """The place where the next try of a task finds its journal."""
    folder = caches.remote_journals()
    name = f"{_NAME}{key}"
    if folder is None:
        kind, get, remove = "Variable", compat.variable, compat.forget_variable
        write = partial(compat.set_variable, description=_DESCRIPTION)
        if state is not None:
            kind, get, write, remove = "task state", state.get, state.set, state.delete
        return _Store(f"the {kind} {name}", lambda: get(name) or "", partial(write, name), partial(remove, name))
    file = f"{key}.jsonl"

    def read() -> str:
        return (folder.read(file, seconds=_REMOTE_SECONDS, limit=SMALL) or b"").decode()

    return _Store(
        name=str(folder),
        read=read,
        write=lambda text: folder.write(file, text.encode(), seconds=_REMOTE_SECONDS),
        remove=lambda: folder.remove(file, seconds=_REMOTE_SECONDS),
    )


def stores_of(key: str, push_xcom: PushXCom | None, state: Any = None) -> list[_Store]:
    """The places of the copies of a journal. The copy for the next try is in the first.

    :param key: of the journal.
    :param push_xcom: pushes an XCom of the task, where other tasks watch it; None: no task watches it.
    :param state: of ``compat.task_state``.
    """
    store = _store_of(key, state)
    if push_xcom is None:
        return [store]
    if caches.remote_journals() is not None:
        return [replace(store, is_watched=True)]
    # Airflow deletes the XCom when a try begins, and with the run.
    write = partial(push_xcom, XCOM)
    return [store, _Store(f"the XCom {XCOM}", read=str, write=write, remove=lambda: None, is_watched=True)]


def published(key: str, *, task_id: str, **place: Any) -> TryRecord | None:
    """The record of the newest try that a watched task has published for other hosts.

    :param key: of its journal.
    :param task_id: of the task.
    :param **place: ``dag_id``, ``run_id`` and ``map_index`` of the task.
    :raises Exception: whatever the store raises when it cannot be read.
    """
    is_remote = caches.remote_journals() is not None
    return unpacked(key, _store_of(key).read() if is_remote else compat.xcom(XCOM, task_id=task_id, **place))


def present_try(context: Mapping[str, Any]) -> tuple[str, TryRecord]:
    """The key of the journal of a running task, and its try. Without Airflow: a random key, and a first and last try.

    :param context: Airflow's context of the task.
    """
    ti = context.get("ti") or context.get("task_instance")
    number, max_tries = getattr(ti, "try_number", None), getattr(ti, "max_tries", None)
    key = journal_key(context, getattr(ti, "task_id", None))
    if key is None or not isinstance(number, int) or not isinstance(max_tries, int):
        return uuid.uuid4().hex, TryRecord(number=1, max_tries=0)
    return key, TryRecord(number=number, max_tries=max_tries)


def journal_key(context: Mapping[str, Any], task_id: str | None) -> str | None:
    """The key of the journal of a task, in the run of a context; None where Airflow does not run the task.

    :param context: Airflow's context of the task, or of another task in the same mapped group.
    :param task_id: of the task.
    """
    ti = context.get("ti") or context.get("task_instance")
    names = [getattr(ti, "dag_id", None), getattr(ti, "run_id", None) or context.get("run_id")]
    names += [task_id, *map_index(context)]
    if not all(names):
        return None
    begun = getattr(context.get("dag_run"), "start_date", None)
    names.append(begun.astimezone(timezone.utc).isoformat() if isinstance(begun, datetime) else "")
    return hashlib.sha256("\0".join(map(str, names)).encode()).hexdigest()[:_DIGITS]


def _compiled_sql(event: NodeEvent, target: Path | None) -> str:
    """The SQL that dbt has compiled for a model or a snapshot; empty where it cannot be found."""
    kind, _, rest = event.unique_id.partition(".")
    package = rest.partition(".")[0]
    node: Any = event.data.get("node_info")
    path = node.get("node_path") if isinstance(node, Mapping) else None
    if target is None or kind not in _WITH_SQL or not isinstance(path, str) or not path:
        return ""
    with suppress(OSError, ValueError, NotImplementedError):  # the path is invalid
        folder = target / "compiled" / package
        # The path is relative to the project in dbt 2, and to the folder of models in dbt 1.
        for file in (folder / path, *folder.glob(f"*/{path}")):
            if file.is_file():
                return file.read_text(encoding="utf-8", errors="backslashreplace")[:LONGEST_TEXT]
    return ""


def _shown(text: str) -> str:
    """The text for other tasks, which cannot mask this task's secrets: without these, and without lone surrogates."""
    return compat.masked(text[:LONGEST_TEXT]).encode(errors="replace").decode()


def _sweep(folder: Path) -> None:
    """Remove the journals of tasks that never ended, with their copies.

    It stops at the first copy that cannot be removed: the folder must stay, since only its name leads to the copy.
    """
    if not is_private(folder):
        return
    oldest = time.time() - _MOST_DAYS * 86_400
    with suppress(Exception):  # these are journals of other tasks: no task waits for their removal
        for each in folder.iterdir():
            if each.stat().st_mtime < oldest:
                _store_of(each.name).remove()
                shutil.rmtree(each)
