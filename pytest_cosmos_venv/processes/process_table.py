"""Simulated processes that no test can make. psutil and ``os.kill`` know them; other PIDs are of real processes.

psutil's own classes and functions stay as they are, so code that has imported from psutil earlier sees them too.
What is replaced lies below them, in the module that psutil keeps for this platform.
"""

from __future__ import annotations

import os
import time
from collections import namedtuple
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

_BOOT_LONG_AGO = 3600.0
_Uids = namedtuple("_Uids", "real effective saved")
_ANSWERS: dict[str, Any] = {
    "status": psutil.STATUS_SLEEPING,
    "name": "python",
    "cmdline": ["python"],
    "exe": "",
    "ppid": 1,
    "uids": _Uids(*[os.getuid()] * 3),
}
"""What each simulated process answers that is not denied."""


@dataclass
class SimulatedProcess:
    """A process that is not there.

    :param pid: a number that no real process has.
    :param is_denied: whether every question about it, and every signal, is denied.
    :param looks: number of looks that find it before it is gone; None: it stays.
    """

    pid: int
    is_denied: bool = False
    looks: int | None = None
    started_at: float = field(default_factory=lambda: time.time() - _BOOT_LONG_AGO)

    def look(self) -> None:
        """Count one question about this process.

        :raises psutil.NoSuchProcess: the process is gone by now.
        """
        if self.looks is None:
            return
        if self.looks <= 0:
            raise psutil.NoSuchProcess(self.pid)
        self.looks -= 1


class SimulatedPids:
    """PIDs of simulated processes, which psutil and ``os.kill`` know from the first one on. No signal is delivered."""

    def __init__(self) -> None:
        self._table: dict[int, SimulatedProcess] = {}
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
        """PID 0, which a half-written lock file may name: in ``os.kill`` it stands for the asker's own group, which
        gets no signal meanwhile.
        """
        self._put_in_place()
        return 0

    def close(self) -> None:
        """Let the simulated processes be gone."""
        self._patch.undo()
        self._table.clear()

    def _add(self, **facts: Any) -> int:
        self._put_in_place()
        # From the top: the kernel gives these numbers out last, so that hardly one becomes a process during the test.
        pid = next(pid for pid in _NUMBERS if not psutil.pid_exists(pid))
        self._table[pid] = SimulatedProcess(pid=pid, **facts)
        return pid

    def _put_in_place(self) -> None:
        if not self._table:
            self._patch.undo()
            _replace(self._patch, self._table)


class _SimulatedPlatformProcess:
    """A simulated process that psutil's ``Process`` asks, in place of the class of this name in its platform module.

    :param process: the line of the table that answers.
    """

    def __init__(self, process: SimulatedProcess) -> None:
        self.pid = process.pid
        self._name: str | None = None
        self._ppid: int | None = None
        self._process = process
        self._is_new = True
        process.look()

    def create_time(self, **_: object) -> float:
        if self._is_new:  # psutil's own question while it makes its Process: the same look
            self._is_new = False
            return self._process.started_at
        return float(self._answer(self._process.started_at))

    def oneshot_enter(self) -> None:
        """Nothing is kept between questions."""

    def oneshot_exit(self) -> None:
        """Nothing is kept here either."""

    def _answer(self, value: Any) -> Any:
        self._process.look()
        if self._process.is_denied:
            raise psutil.AccessDenied(self.pid)
        return value

    def __getattr__(self, question: str) -> Callable[..., Any]:
        if question in _ANSWERS:
            return lambda **_: self._answer(copy(_ANSWERS[question]))  # a test may change its answer

        def refuse(*_: object, **__: object) -> NoReturn:
            self._process.look()
            raise psutil.AccessDenied(self.pid, msg=f"a simulated process has no {question}")

        return refuse


def _replace(patch: pytest.MonkeyPatch, table: dict[int, SimulatedProcess]) -> None:
    platform = psutil._psplatform  # type: ignore[attr-defined]
    real_process, real_exists, real_pids, real_kill = platform.Process, platform.pid_exists, platform.pids, os.kill

    class Process(real_process):  # type: ignore[misc, valid-type] # psutil asks this class what it can do
        def __new__(cls, pid: int) -> Any:
            return _SimulatedPlatformProcess(table[pid]) if pid in table else real_process(pid)

    def pid_exists(pid: int) -> bool:
        if pid not in table:
            return bool(real_exists(pid))
        return _is_found(table[pid])

    def pids() -> list[int]:
        return [*real_pids(), *(pid for pid, process in table.items() if process.looks != 0)]

    def kill(pid: int, number: int) -> None:
        if pid not in table and pid != 0:
            return real_kill(pid, number)
        if pid == 0:
            return None
        if not _is_found(table[pid]):
            raise ProcessLookupError(3, "No such process")
        if table[pid].is_denied:
            raise PermissionError(1, "Operation not permitted")
        return None

    patch.setattr(platform, "Process", Process)
    patch.setattr(platform, "pid_exists", pid_exists)
    patch.setattr(platform, "pids", pids)
    patch.setattr(os, "kill", kill)


def _is_found(process: SimulatedProcess) -> bool:
    try:
        process.look()
    except psutil.NoSuchProcess:
        return False
    return True


def _pid_limit() -> int:
    try:
        return int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    except OSError:  # no Linux: macOS gives out no more than this
        return 99999


# One for all tests of this process: psutil's process_iter keeps what it has found, and would know it again.
_NUMBERS = count(_pid_limit() - 1, -1)
