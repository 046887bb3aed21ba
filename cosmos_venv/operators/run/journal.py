"""The journal of a task that runs several nodes: what became of each node, by the try of the task.

Each event is written to a file at once, so that nothing is lost on this host when the worker is killed. Where Airflow
may try the task again, on any host, what is done is kept in a shared record too, at most once a second. Both are
removed when the task is over.

A try begins with all that was known when it began, so the newest one alone says what is done. What is older may say
that a node is done which has to run again, such as a file on a host to which the task comes back.

A task that somebody has cleared runs everything: Airflow gives it another number of tries, by which the tries that
belong together are told. One that is cleared while it runs keeps its number, and goes on as after a retry. A DAG run
that was deleted and made again under its name has begun at another time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from threading import RLock
from typing import Any, Protocol

import msgspec

from cosmos_venv.compat import masked
from cosmos_venv.dbt.log_lines import DONE_STATUSES, NodeEvent
from cosmos_venv.files.durable_files import is_private, make_private, open_own
from cosmos_venv.files.untrusted import whole_lines
from cosmos_venv.io import map_index
from cosmos_venv.managed import caches
from cosmos_venv.operators.run.journal_lines import FAILED, SQL, TryRecord, begun_try, line_of, packed
from cosmos_venv.operators.run.shared_record import Done, Pace, Progress, SharedRecord, remove_abandoned

_FOLDER = "journals-v1"
_SHOWN = frozenset({"text", "message", SQL})
_WITH_SQL = frozenset({"model", "snapshot"})
_LONGEST_TEXT = 65_536  # characters, of SQL too: it becomes an XCom
_MOST_DAYS = 30
_DIGITS = 32


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

    :param key: a text that only they have: of DAG, run, its begin, task and index of a mapped task.
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
        number, last = getattr(ti, "try_number", None), getattr(ti, "max_tries", None)
        key = journal_key(context, getattr(ti, "task_id", None))
        if key is None or not isinstance(number, int) or not isinstance(last, int):
            return None
        return cls(key=key, number=number, last=last)

    @property
    def has_another_try(self) -> bool:
        """Whether Airflow tries the task again when it fails."""
        return self.number <= self.last


class Publish(Protocol):
    """Writes what the journal says where tasks on other hosts read it."""

    def __call__(self, text: str, *, is_end: bool) -> None:
        """Write it.

        :param text: of ``packed``.
        :param is_end: whether the try ends.
        :raises Exception: whatever the store raises.
        """


class Journal:
    """The journal of the present try, and what those before it have left. Threads of dbt may write it at once.

    :param tries: of the task; None: nothing is kept, and there is no earlier try.
    :param log: the task's logger: a journal that cannot be kept is a warning.
    :param publish: gets the records of all tries as a text, where other tasks watch this one; it is called at most
        once a second. Their journal stays when the task is over; that of other tasks is removed.
    """

    def __init__(self, tries: Tries | None, log: Any, publish: Publish | None = None) -> None:
        self.ends: dict[str, NodeEvent] = {}
        """The last event of each node that has ended in this try."""
        self.done: dict[str, Done] = {}
        """The nodes that need not run again, by unique id: of earlier tries and of this one."""
        self._tries = tries
        self._log = log
        self._lock = RLock()
        self._file: int | None = None
        self._shared = SharedRecord(tries.key, log) if tries is not None else None
        self._is_behind = False
        self._publish = publish
        self._pace = Pace()
        self._told: list[TryRecord] = []
        self._has_warned = False

    @property
    def number(self) -> int:
        """Number of the present try; 1 where Airflow does not run the task."""
        return self._tries.number if self._tries else 1

    def begin(self) -> None:
        """Open the journal, and read what earlier tries have done."""
        if self._tries is None:
            return
        if self._tries.number == 1:
            shutil.rmtree(self._folder, ignore_errors=True)
        else:
            self.done = self._done_before()
        try:
            self._open()
        except OSError as error:
            self._log.warning("The journal of this task cannot be written: %s", error)
        _sweep(self._folder.parent)
        first = {**msgspec.to_builtins(self._progress(self._tries)), "at": time.time()}
        if self._publish is not None and (begun := begun_try(first)) is not None:
            self._told = [*(each for each in read_tries(self._folder) if each.number < begun.number), begun]
        self._append(first)

    def start_anew(self, nodes: Iterable[str]) -> None:
        """Take these nodes for not done, whatever earlier tries have said.

        :param nodes: unique ids.
        """
        with self._lock:
            for each in nodes:
                if self.done.pop(each, None) is not None:
                    self._append({"id": each, "status": ""})
                    self._is_behind = True

    def note(self, event: NodeEvent, target: Path | None = None) -> None:
        """Write down what dbt says of a node.

        :param event: of dbt's output.
        :param target: dbt's target folder, for tasks that show the SQL of their node; None: it is not known.
        """
        with self._lock:
            line: dict[str, Any] = {
                "id": event.unique_id,
                "status": event.status,
                "event": event.name,
            }
            line |= {"is_end": event.is_end, "seconds": event.seconds, "text": event.text}
            if self._publish is not None and event.is_end and (sql := _compiled_sql(event, target)):
                line[SQL] = sql
            self._append(line)
            if not event.is_end:
                return
            before = self.ends.get(event.unique_id)
            if before is not None and not event.text:  # the last event of a node says that it has ended, and no more
                event = msgspec.structs.replace(event, text=before.text)
            self.ends[event.unique_id] = event
            self._take(event.unique_id, event.status)
        self.write_shared()

    def record_results(self, rows: Iterable[NodeRow]) -> None:
        """Write down what dbt's artifacts say of the nodes of this try: more than its events, which a log level hides.

        :param rows: one for each node of which they say something.
        """
        with self._lock:
            for row in rows:
                fields = {name: value for name, value in msgspec.to_builtins(row).items() if name != "node"}
                self._append({"id": row.node, "is_end": True, **fields})
                self._take(row.node, row.status)

    def write_shared(self) -> None:
        """Write what is done where a worker on another host finds it, unless that was done a moment ago."""
        with self._lock:
            if self._shared is not None and self._shared.may_be_written:
                self._write_what_is_new()
            if self._pace.is_due:
                self._tell_watchers()

    def close(self, *, is_over: bool, end: str = FAILED) -> None:
        """End the journal.

        :param is_over: whether no try follows that needs it: the task has succeeded, or the next try runs everything.
        :param end: of the try: ``success`` or ``failed``.
        """
        with self._lock:
            if self._publish is not None:
                self._append({"end": end})
                self._tell_watchers(is_end=True)
            if self._file is not None:
                os.close(self._file)
                self._file = None
            if self._tries is None or self._shared is None:
                return
            if is_over or not self._tries.has_another_try:
                if self._publish is None:
                    shutil.rmtree(self._folder, ignore_errors=True)
                self._shared.remove()
            else:
                self._write_what_is_new()

    @property
    def _folder(self) -> Path:
        assert self._tries is not None  # noqa: S101 - asked by all callers
        return folder_of(self._tries.key)

    def _open(self) -> None:
        assert self._tries is not None  # noqa: S101 - asked by the caller
        make_private(self._folder)
        if not is_private(self._folder):
            self._log.warning("The journal of this task is not kept in %s: others can write there.", self._folder)
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = open_own(self._folder / f"{self._tries.number:04}.jsonl", flags, 0o600)

    def _take(self, node: str, status: str) -> None:
        if status in DONE_STATUSES:
            if node not in self.done:
                self.done[node] = Done(status, self.number)
                self._is_behind = True
        elif self.done.pop(node, None) is not None:  # dbt has said otherwise at its end
            self._is_behind = True

    def _tell_watchers(self, *, is_end: bool = False) -> None:
        if self._publish is None or self._tries is None or not self._told:
            return
        text = packed(self._tries.key, self._told)
        with self._pace.writing(text):
            try:
                self._publish(text, is_end=is_end)
            except Exception as error:  # noqa: BLE001 - whatever Airflow's store raises; dbt does its work all the same
                if not self._has_warned:
                    self._log.warning("Tasks on other hosts do not see what dbt does: it cannot be told: %s", error)
                self._has_warned = True

    def _append(self, line: Mapping[str, Any]) -> None:
        line = {"at": time.time(), **line}
        line = {name: each[:_LONGEST_TEXT] if isinstance(each, str) else each for name, each in line.items()}
        if self._told:
            # The processes that show it know no secret of this task, which its own log would hide.
            line = {name: masked(each) if name in _SHOWN else each for name, each in line.items()}
            self._told[-1].take(line)
        if self._file is None:
            return
        try:
            # In one call: a kill leaves no half of it. Half of a character that dbt has said is none for the reader.
            os.write(self._file, json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n")
        except OSError as error:
            self._log.warning("The journal of this task cannot be written: %s", error)
            os.close(self._file)
            self._file = None

    def _progress(self, tries: Tries) -> Progress:
        return Progress(last=tries.last, number=tries.number, done=self.done)

    def _write_what_is_new(self) -> None:
        if self._tries is None or self._shared is None or not self._tries.has_another_try or not self._is_behind:
            return
        # A store that has failed once may take it the next time.
        self._is_behind = not self._shared.write(self._progress(self._tries))

    def _done_before(self) -> dict[str, Done]:
        """What is done by the newest try that has left something."""
        assert self._tries is not None  # noqa: S101 - asked by the caller
        assert self._shared is not None  # noqa: S101 - there is one for all tries
        # Of one try the file knows more than what is written once a second.
        known = [self._of_newest_file(), self._shared.read()]
        fitting = [each for each in known if each is not None and each.last == self._tries.last]
        return max(fitting, key=lambda each: each.number).done if fitting else {}

    def _of_newest_file(self) -> Progress | None:
        """What the newest file of this host says; None where there is none, or others could have written it."""
        for path in reversed(files_of(self._folder)):
            lines = _lines(path)
            with suppress(msgspec.ValidationError, StopIteration):  # a kill may have come before the first line
                begun = msgspec.convert(next(lines), Progress)
                return msgspec.structs.replace(begun, done=_done_after(begun, lines))
        return None


def _done_after(begun: Progress, lines: Iterable[Mapping[str, Any]]) -> dict[str, Done]:
    """What is done after the events of a try: what dbt says at its end replaces what it has said of a node before."""
    done = dict(begun.done)
    for line in lines:
        if "id" not in line:  # the same try has begun once more
            continue
        node, status = str(line["id"]), str(line.get("status"))
        if status in DONE_STATUSES:
            if line.get("is_end"):
                done.setdefault(node, Done(status, begun.number))
        elif not line.get("event") or line.get("is_end"):
            done.pop(node, None)
    return done


def folder_of(key: str) -> Path:
    """The folder of the files of one task's journal on this host.

    :param key: ``Tries.key``.
    """
    return caches.cache_dir() / _FOLDER / key


def files_of(folder: Path) -> list[Path]:
    """The files of a journal, one for each try, in order; none where others could have written them.

    :param folder: of ``folder_of``.
    """
    return sorted(folder.glob("*.jsonl")) if is_private(folder) else []


def read_tries(folder: Path) -> list[TryRecord]:
    """What the files of a journal say of each try.

    :param folder: of ``folder_of``.
    """
    found = []
    for path in files_of(folder):
        lines = _lines(path)
        if (begun := begun_try(next(lines, {}))) is not None:
            for line in lines:
                begun.take(line)
            found.append(begun)
    return found


def journal_key(context: Mapping[str, Any], task_id: str | None) -> str | None:
    """The key of the journal of a task, in the run of a context; None where Airflow does not run it.

    :param context: Airflow's context of the task, or of another one that is mapped with it.
    :param task_id: of the task.
    """
    ti = context.get("ti") or context.get("task_instance")
    names = [getattr(ti, "dag_id", None), getattr(ti, "run_id", None) or context.get("run_id")]
    names += [task_id, *map_index(context)]
    if not all(names):
        return None
    return hashlib.sha256("\0".join(map(str, [*names, _begin_of_run(context)])).encode()).hexdigest()[:_DIGITS]


def _compiled_sql(event: NodeEvent, target: Path | None) -> str:
    """The SQL that dbt has compiled for a model or a snapshot; empty where it cannot be found."""
    kind, _, rest = event.unique_id.partition(".")
    package = rest.partition(".")[0]
    node: Any = event.data.get("node_info")
    path = node.get("node_path") if isinstance(node, Mapping) else None
    if target is None or kind not in _WITH_SQL or not isinstance(path, str) or not path:
        return ""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        return ""
    with suppress(OSError, ValueError, NotImplementedError):  # a path that is none
        folder = target / "compiled" / package
        # dbt 2 says the path from the project on, dbt 1 from the folder of models on.
        for file in (folder / path, *folder.glob(f"*/{path}")):
            if file.is_file():
                return file.read_text(encoding="utf-8", errors="backslashreplace")[:_LONGEST_TEXT]
    return ""


def _begin_of_run(context: Mapping[str, Any]) -> str:
    begun = getattr(context.get("dag_run"), "start_date", None)
    return begun.astimezone(timezone.utc).isoformat() if isinstance(begun, datetime) else ""


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    lines, reached = whole_lines(path)
    while lines:
        yield from filter(None, map(line_of, lines))
        lines, reached = whole_lines(path, reached)


def _sweep(folder: Path) -> None:
    """Remove the journals of tasks that never came to their end, with their shared records.

    The first that cannot be removed ends it: the folder alone knows the name of the record.
    """
    if not is_private(folder):
        return
    oldest = time.time() - _MOST_DAYS * 86_400
    with suppress(Exception):  # of another task: nobody waits for it
        for each in folder.iterdir():
            if each.stat().st_mtime < oldest:
                remove_abandoned(each.name)
                shutil.rmtree(each)
