"""The record of what has happened in a test: faults that struck, and tries of tasks.

Several processes write the record, some of them just before they are killed. So it is a folder of files of JSON lines.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.airflow.outcomes import TaskKey
from pytest_cosmos_venv.errors import RecordList
from pytest_cosmos_venv.fake_dbt.whole_writes import append_line, read_lines
from pytest_cosmos_venv.faults import Fault

EVENTS = "events.jsonl"


@dataclass(frozen=True, kw_only=True)
class HappenedFault:
    """A fault that has happened.

    :param fault: the fault as the mark has it.
    :param place: the place where it struck: a node's unique id, ``start``, ``end``, ``connection 1``.
    :param task_id: the id of the task in whose try it struck; None: no task ran.
    :param map_index: the index of the mapped task; -1 where it is not mapped.
    :param try_number: the number of the try, from 1; 0 where no task ran.
    :param time: the moment, in UTC.
    """

    fault: Fault
    place: str
    task_id: str | None
    map_index: int
    try_number: int
    time: datetime

    @property
    def what(self) -> str:
        """The name of the kind of fault, such as ``worker_killed``."""
        return self.fault.kind

    def __str__(self) -> str:
        where = "" if self.task_id is None else f" in try {self.try_number} of {self.task_id}"
        return f"{self.what} at {self.place}{where}"


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try of a task, with the folder in which the processes of that try write.

    :param key: the task.
    :param number: the number of the try, from 1.
    :param folder: the folder.
    """

    key: TaskKey
    number: int
    folder: Path

    @property
    def ended_nodes(self) -> int:
        """The number of dbt nodes that have ended in it."""
        return sum(1 for _ in self.folder.glob("node-*"))

    def events(self) -> list[dict[str, Any]]:
        """Return the faults that have struck in it, as they were written."""
        return read_lines(self.folder / EVENTS)

    def tell(self, fault: int, place: str) -> None:
        """Write that a fault strikes.

        :param fault: the number of the fault among those of the test.
        :param place: the place where it strikes.
        """
        append_line(self.folder / EVENTS, {"fault": fault, "time": real_time.now(), "place": place, "node": 1})


@dataclass
class Ledger:
    """The record of one test.

    :param folder: an empty folder.
    :param faults: the faults of the test.
    """

    folder: Path
    faults: list[Fault]
    tries: list[Try] = field(default_factory=list)
    """The tries of tasks so far, in their order."""
    _others: list[HappenedFault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin_try(self, key: TaskKey, number: int) -> Try:
        """Return a new try.

        :param key: the task.
        :param number: the number of the try, from 1.
        """
        folder = self.folder / f"try-{len(self.tries) + 1}"
        folder.mkdir()
        self.tries.append(Try(key=key, number=number, folder=folder))
        return self.tries[-1]

    def tell(self, fault: Fault, place: str) -> None:
        """Record a fault that happens outside the processes of tasks: in the warehouse.

        :param fault: the fault.
        :param place: the place where it strikes.
        """
        with self._lock:
            now = self.tries[-1] if self.tries else None
            self._others.append(_happened(fault, place, now, real_time.now()))

    def happened(self) -> list[HappenedFault]:
        """Return the faults that have struck so far, in the order of their moments."""
        in_tries = [
            _happened(self.faults[event["fault"]], event["place"], each, event["time"])
            for each in self.tries
            for event in each.events()
        ]
        with self._lock:
            found = sorted([*in_tries, *self._others], key=lambda each: each.time)
        return RecordList(found, of="happened", none="no fault has happened")


def _happened(fault: Fault, place: str, during: Try | None, seconds: float) -> HappenedFault:
    return HappenedFault(
        fault=fault,
        place=place,
        task_id=during.key.task_id if during else None,
        map_index=during.key.map_index if during else -1,
        try_number=during.number if during else 0,
        time=datetime.fromtimestamp(seconds, timezone.utc),
    )
