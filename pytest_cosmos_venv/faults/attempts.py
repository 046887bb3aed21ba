"""The tries of the tasks of a DAG run, in which the faults of the test strike."""

from __future__ import annotations

import functools
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from pytest_cosmos_venv.airflow.outcomes import TaskKey
from pytest_cosmos_venv.airflow.task_log import TaskLog
from pytest_cosmos_venv.airflow.versions import this_airflow
from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt
from pytest_cosmos_venv.fake_dbt.record import FAULTS_FILE
from pytest_cosmos_venv.fake_dbt.whole_writes import write_whole
from pytest_cosmos_venv.faults.full_disk import full_disk
from pytest_cosmos_venv.faults.ledger import Ledger, Try
from pytest_cosmos_venv.faults.lost_worker import RunInChild, run_in_child, tries_carried_by
from pytest_cosmos_venv.faults.outages import SkippedTime

_DONE_BY_DBT = {
    "worker_killed": "kill worker",
    "dbt_killed": "kill dbt",
    "dbt_hangs": "hang",
    "disk_full": "fill disk",
}
"""Kind of fault -> the order to the fake dbt."""


@dataclass
class _Progress:
    """Where one fault has happened so far.

    :param passed: the number of dbt nodes that have ended in tries in which the fault could happen and did not.
    :param task: the task in which the fault happened first; the fault happens again in this task only.
    :param node: the number, within its try, of the node after which the fault happened.
    """

    passed: int = 0
    task: TaskKey | None = None
    node: int = 1


@dataclass(frozen=True, kw_only=True)
class _Current:
    """The try that runs now.

    :param record: its record.
    :param log: its log.
    :param live: the numbers of the faults that may strike in it.
    """

    record: Try
    log: TaskLog
    live: tuple[int, ...]


@dataclass
class Attempts:
    """The implementation of ``running.Attempts``: a run of a DAG calls it, and the faults of the test happen in it.

    :param ledger: the record of the test, with its faults.
    :param fakes: returns the fake dbts that the test has.
    :param skipped: the time that the test does not wait for.
    :param writable: folders that stay writable on a full disk.
    """

    ledger: Ledger
    fakes: Callable[[], Sequence[ScriptedDbt]]
    skipped: SkippedTime
    writable: Callable[[], Sequence[Path]]
    _progress: dict[int, _Progress] = field(default_factory=dict)
    _delays: dict[str, float] = field(default_factory=dict)
    _current: _Current | None = None

    @contextmanager
    def around(self, dag: Any) -> Iterator[None]:
        """Within the block, run tries in child processes where a fault needs one.

        :param dag: the DAG that runs within the block.
        """
        self._delays = {task.task_id: _seconds(task) for task in dag.tasks}
        with tries_carried_by(self._carrier):
            yield

    @contextmanager
    def trying(self, key: TaskKey, number: int, log: TaskLog) -> Iterator[None]:
        """Let faults strike within the block, which is one try of a task.

        :param key: the task.
        :param number: the number of the try, from 1.
        :param log: the log of the try.
        """
        if number > 1:
            self.skipped.seconds += self._delays.get(key.task_id, 0.0)
        live = tuple(index for index in range(len(self.ledger.faults)) if self._may_strike(index, key))
        record = self.ledger.begin_try(key, number)
        self._current = _Current(record=record, log=log, live=live)
        fakes = list(self.fakes())
        self._give_orders(fakes, record, live, worker=None)
        try:
            with self._points_within_execution():
                yield
        finally:
            self._current = None
            for fake in fakes:
                (fake.folder / FAULTS_FILE).unlink(missing_ok=True)
            self._take_stock(record, live)

    def _may_strike(self, index: int, key: TaskKey) -> bool:
        fault, progress = self.ledger.faults[index], self._progress.setdefault(index, _Progress())
        struck = sum(1 for each in self.ledger.happened() if each.fault is fault)
        return (
            (fault.times is None or struck < fault.times)
            and fault.in_task in (None, key.task_id)
            and progress.task in (None, key)
        )

    def _give_orders(self, fakes: Sequence[ScriptedDbt], record: Try, live: Sequence[int], worker: int | None) -> None:
        """Tell all fake dbts what is to happen in their calls during a try."""
        orders = [order for index in live if (order := self._order(index, record)) is not None]
        if not orders:
            return
        text = json.dumps({"folder": str(record.folder), "worker": worker, "orders": orders})
        for fake in fakes:
            fake.folder.mkdir(parents=True, exist_ok=True)
            write_whole(fake.folder / FAULTS_FILE, text)

    def _order(self, index: int, record: Try) -> dict[str, Any] | None:
        fault, progress = self.ledger.faults[index], self._progress[index]
        if fault.after is None or fault.kind not in _DONE_BY_DBT:
            return None
        node = fault.after
        if isinstance(node, int):
            node = progress.node if progress.task is not None else node - progress.passed
        return {
            "fault": index,
            "do": _DONE_BY_DBT[fault.kind],
            "node": node,
            "seconds": fault.seconds,
            "disk": str(record.folder / "disk"),
        }

    def _take_stock(self, record: Try, live: Sequence[int]) -> None:
        """Note, after a try, what has happened in it."""
        struck = {event["fault"]: event for event in record.events()}
        for index in live:
            progress = self._progress[index]
            if index in struck:
                progress.task, progress.node = record.key, struck[index]["node"]
            else:
                progress.passed += record.ended_nodes

    @contextmanager
    def _points_within_execution(self) -> Iterator[None]:
        """Let faults happen before the task executes, and after it, before Airflow stores the result."""
        module, name = this_airflow().execution()
        execute = getattr(module, name)

        @functools.wraps(execute)
        def run(*arguments: Any, **options: Any) -> Any:
            self._strike_at("start")
            returned = execute(*arguments, **options)
            self._strike_at("end")
            return returned

        with mock.patch.object(module, name, run):
            yield

    def _strike_at(self, place: str) -> None:
        current = self._current
        if current is None:
            return
        for index in current.live:
            fault = self.ledger.faults[index]
            if fault.at != place or (current.record.folder / f"struck-{index}").exists():
                continue
            (current.record.folder / f"struck-{index}").touch()
            current.record.tell(index, place)
            if fault.kind == "worker_killed":
                os.kill(os.getpid(), signal.SIGKILL)

    def _carrier(self) -> RunInChild | None:
        """Return the function that runs the try in a child process; None where no fault needs one."""
        current = self._current
        if current is None:
            return None
        faults = [(index, self.ledger.faults[index]) for index in current.live]
        if not any(fault.needs_child for _, fault in faults):
            return None

        def run(work: Callable[[], Any]) -> Any:
            return run_in_child(
                work,
                folder=current.record.folder,
                log=current.log,
                surroundings=self._in_child(current),
            )

        return run

    @contextmanager
    def _in_child(self, current: _Current) -> Iterator[None]:
        self._give_orders(list(self.fakes()), current.record, current.live, worker=os.getpid())
        with self._disk_of(current):
            yield

    def _disk_of(self, current: _Current) -> AbstractContextManager[None]:
        full = [index for index in current.live if self.ledger.faults[index].kind == "disk_full"]
        if not full:
            return nullcontext()
        disk = current.record.folder / "disk"
        disk.mkdir()
        at_once = [index for index in full if self.ledger.faults[index].at == "start"]
        for index in at_once:
            (current.record.folder / f"struck-{index}").touch()
            current.record.tell(index, "start")
        keep = [self.ledger.folder, *(fake.folder for fake in self.fakes() if fake.folder.is_dir()), *self.writable()]
        return full_disk(
            [Path(tempfile.gettempdir()).resolve()], keep=_outermost(keep), disk=disk, is_full=bool(at_once)
        )


def _seconds(task: Any) -> float:
    values: Mapping[str, Any] = getattr(task, "partial_kwargs", None) or vars(task)
    delay = values.get("retry_delay") or getattr(task, "retry_delay", 0.0)
    return delay.total_seconds() if isinstance(delay, timedelta) else float(delay or 0.0)


def _outermost(folders: Sequence[Path]) -> list[Path]:
    """Return the folders without those that lie inside another folder of the list."""
    found: list[Path] = []
    for folder in sorted({each.resolve() for each in folders}):
        if not any(folder.is_relative_to(each) for each in found):
            found.append(folder)
    return found
