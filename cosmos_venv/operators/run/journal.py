"""The journal of a task that runs several nodes: what became of each node, by the try of the task.

Each event is written to a file at once, so that nothing is lost on this host when the worker is killed. Where Airflow
may try the task again, on any host, what is done is kept in one Airflow Variable too, written at most once a second and
removed when the task is over: Airflow deletes the XComs of a task when its next try begins.

A task that somebody has cleared runs everything: Airflow gives it another number of tries, by which the tries that
belong together are told.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv import compat
from cosmos_venv.dbt.log_lines import NodeEvent
from cosmos_venv.files.durable_files import make_private
from cosmos_venv.io import map_index
from cosmos_venv.managed import caches

DONE_STATUSES = frozenset({"success", "pass", "warn", "no-op", "reused"})
"""What dbt says of a node that need not run again."""

_FOLDER = "journals-v1"
_PREFIX = "cosmos_venv_journal__"
_DESCRIPTION = "cosmos-venv: the dbt nodes that a task has done, for its next try. It is removed when the task is over."
_BETWEEN_WRITES = 1.0
_MOST_DAYS = 30
_DIGITS = 32


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
    """The journal of the present try, and what those before it have left.

    :param tries: of the task; None: nothing is kept, and there is no earlier try.
    :param log: the task's logger: a journal that cannot be kept is a warning.
    """

    def __init__(self, tries: Tries | None, log: Any) -> None:
        self.ends: dict[str, NodeEvent] = {}
        """The last event of each node that has ended in this try."""
        self._tries = tries
        self._log = log
        self._file: int | None = None
        self._done: dict[str, str] = {}
        self._is_in_variable = False
        self._written_at: float | None = None
        self._is_behind = False

    def begin(self) -> dict[str, str]:
        """Open the journal.

        :returns: what earlier tries have done: unique id to status.
        """
        if self._tries is None:
            return {}
        self._done = {**self._of_variable(), **self._of_files()}
        try:
            make_private(self._folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._file = os.open(self._folder / f"{self._tries.number:04}.jsonl", flags, 0o600)
        except OSError as error:
            self._log.warning("The journal of this task cannot be written: %s", error)
        _sweep(self._folder.parent)
        self._append({"last": self._tries.last})
        return dict(self._done)

    def note(self, event: NodeEvent) -> None:
        """Write down what dbt says of a node.

        :param event: of dbt's output.
        """
        line = {"id": event.unique_id, "status": event.status, "event": event.name, "at": time.time()}
        self._append({**line, "seconds": event.seconds, "text": event.text})
        if not event.is_end:
            return
        self.ends[event.unique_id] = event
        if event.status in DONE_STATUSES:
            self._done[event.unique_id] = event.status
            self._is_behind = True
        if self._written_at is None or time.monotonic() - self._written_at >= _BETWEEN_WRITES:
            self._keep_done()

    def close(self, *, is_over: bool) -> None:
        """End the journal.

        :param is_over: whether nobody will ask for it: the task has succeeded.
        """
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._tries is None:
            return
        if is_over:
            shutil.rmtree(self._folder, ignore_errors=True)
        if is_over or not self._tries.goes_on:
            if self._is_in_variable:
                self._try_to(compat.forget_variable, self._variable)
        else:
            self._keep_done()

    @property
    def _folder(self) -> Path:
        assert self._tries is not None  # noqa: S101 - asked by all callers
        return caches.cache_dir() / _FOLDER / self._tries.key

    @property
    def _variable(self) -> str:
        assert self._tries is not None  # noqa: S101 - asked by all callers
        return f"{_PREFIX}{self._tries.key}"

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
        """Keep what is done where a worker on another host finds it."""
        if self._tries is None or not self._tries.goes_on or not self._is_behind:
            return
        self._written_at, self._is_behind = time.monotonic(), False
        text = json.dumps({"last": self._tries.last, "done": self._done})
        self._try_to(compat.set_variable, self._variable, text, _DESCRIPTION)
        self._is_in_variable = True

    def _try_to(self, change: Any, *arguments: str) -> None:
        try:
            change(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever Airflow's store raises; dbt has done its work
            self._log.warning("The Variable with what this task has done cannot be changed: %s", error)

    def _of_variable(self) -> dict[str, str]:
        """What a Variable says is done. There is one only after an earlier try."""
        assert self._tries is not None  # noqa: S101 - asked by the caller
        if self._tries.number < 2:
            return {}
        try:
            found = json.loads(compat.variable(self._variable) or "{}")
            self._is_in_variable = bool(found)
            return dict(found["done"]) if found.get("last") == self._tries.last else {}
        except Exception as error:  # noqa: BLE001 - as above; also a text that somebody has changed
            self._log.warning("What earlier tries have done cannot be read: %s", error)
            return {}

    def _of_files(self) -> dict[str, str]:
        """What the files of this host say is done."""
        assert self._tries is not None  # noqa: S101 - asked by the caller
        done = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            last = None
            for line in _lines(path):
                last = line.get("last", last)
                if last == self._tries.last and line.get("status") in DONE_STATUSES:
                    done[str(line["id"])] = str(line["status"])
        return done


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
