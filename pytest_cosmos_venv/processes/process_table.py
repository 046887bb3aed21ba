"""Simulated processes for psutil and ``os.kill``: access to them is denied, or they vanish at a chosen call.

Functions and the class ``Process`` of psutil's platform module are replaced. psutil's public classes and functions stay
as they are, so code that has imported them earlier sees the simulated processes too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import pytest


@dataclass
class Simulation:
    """The simulated behaviour of one process.

    :param pid: the PID of the process.
    :param is_denied: whether access is denied for every query and every signal.
    :param looks: number of looks that find the process before it is gone; None: the process stays.
    """

    pid: int
    is_denied: bool = False
    looks: int | None = None

    def look(self) -> None:
        """Count one question about this process.

        :raises psutil.NoSuchProcess: the process is gone by now.
        """
        if self.looks is None:
            return
        if self.looks <= 0:
            raise psutil.NoSuchProcess(self.pid)
        self.looks -= 1

    def is_found(self) -> bool:
        """Whether one more look finds it."""
        try:
            self.look()
        except psutil.NoSuchProcess:
            return False
        return True


class SimulatedPids:
    """PIDs of processes that are simulated in this process, for psutil and ``os.kill``.

    psutil and ``os.kill`` are patched when the first PID is made. No signal reaches a simulated process.

    :param make: starts a process, and returns its PID.
    """

    def __init__(self, make: Callable[[], int]) -> None:
        self._make = make
        self._table: dict[int, Simulation] = {}
        self._patch = pytest.MonkeyPatch()

    def denied(self) -> int:
        """The PID of a process about which the system tells nothing: every question ends with ``AccessDenied``."""
        return self._add(is_denied=True)

    def vanishing(self, *, looks: int = 1) -> int:
        """The PID of a process that is gone after so many looks.

        One look is ``psutil.Process(pid)``, ``pid_exists`` or ``os.kill(pid, 0)``, and each question to the
        ``Process``. With 1 the ``Process`` can be made and its first question ends with ``NoSuchProcess``.

        :param looks: number of looks that find it, 0 or more.
        """
        return self._add(looks=looks)

    def zero(self) -> int:
        """PID 0, which a half-written lock file may name.

        ``os.kill`` sends to the caller's process group for PID 0; until ``close`` it sends nothing.
        """
        self._put_in_place()
        return 0

    def close(self) -> None:
        """Simulate nothing any more."""
        self._patch.undo()
        self._table.clear()

    def _add(self, **facts: Any) -> int:
        self._put_in_place()
        pid = self._make()
        self._table[pid] = Simulation(pid, **facts)
        return pid

    def _put_in_place(self) -> None:
        if not self._table:
            self._patch.undo()
            _replace(self._patch, self._table)


class _SimulatedPlatformProcess:
    """The simulated counterpart of ``Process`` in psutil's platform module, which psutil's public ``Process`` queries.

    :param simulation: the simulated behaviour.
    :param real: the real platform object, for queries that are not denied.
    """

    def __init__(self, simulation: Simulation, real: Any) -> None:
        self.pid = simulation.pid
        self._name: str | None = None
        self._ppid: int | None = None
        self._simulation = simulation
        self._real = real
        self._is_new = True
        self.oneshot_enter, self.oneshot_exit = real.oneshot_enter, real.oneshot_exit
        simulation.look()

    def create_time(self, **options: Any) -> float:
        if not self._is_new:
            self._ask()
        self._is_new = False  # psutil.Process(pid) itself queries the creation time: together they are one look
        return float(self._real.create_time(**options))

    def _ask(self) -> None:
        self._simulation.look()
        if self._simulation.is_denied:
            raise psutil.AccessDenied(self.pid)

    def __getattr__(self, question: str) -> Callable[..., Any]:
        answer = getattr(self._real, question)

        def asked(*arguments: Any, **options: Any) -> Any:
            self._ask()
            return answer(*arguments, **options)

        return asked


def _replace(patch: pytest.MonkeyPatch, table: dict[int, Simulation]) -> None:
    platform = psutil._psplatform  # type: ignore[attr-defined]
    real_process, real_exists, real_pids, real_kill = platform.Process, platform.pid_exists, platform.pids, os.kill

    class Process(real_process):  # type: ignore[misc, valid-type] # psutil asks this class what it can do
        def __new__(cls, pid: int) -> Any:
            real = real_process(pid)
            return _SimulatedPlatformProcess(table[pid], real) if pid in table else real

    def pid_exists(pid: int) -> bool:
        return table[pid].is_found() if pid in table else bool(real_exists(pid))

    def pids() -> list[int]:
        return [pid for pid in real_pids() if pid not in table or table[pid].looks != 0]

    def kill(pid: int, number: int) -> None:
        if pid not in table and pid != 0:
            return real_kill(pid, number)
        if pid == 0:
            return None
        if not table[pid].is_found():
            raise ProcessLookupError(3, "No such process")
        if table[pid].is_denied:
            raise PermissionError(1, "Operation not permitted")
        return None

    patch.setattr(platform, "Process", Process)
    patch.setattr(platform, "pid_exists", pid_exists)
    patch.setattr(platform, "pids", pids)
    patch.setattr(os, "kill", kill)
