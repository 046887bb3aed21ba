"""A simulated process table for processes that no test can make. psutil and ``os.kill`` ask it; other PIDs are real
ones.

psutil's own classes and functions stay as they are, so code that has imported from psutil earlier sees the table too.
What is replaced lies below them, in the module that psutil keeps for this platform.
"""

from __future__ import annotations

import os
import time
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse, require, require_count

_BOOT_LONG_AGO = 3600.0
_Uids = namedtuple("_Uids", "real effective saved")


@dataclass
class SimulatedProcess:
    """One line of the table.

    :param pid: a number that no real process has.
    :param name: name of its program.
    :param status: the status in psutil's words: ``sleeping``, ``zombie``, ...
    :param started_at: seconds since the epoch; an hour ago unless it is said.
    :param is_denied: whether every question about it, and every signal, is denied.
    :param looks: number of looks that find it before it is gone; None: it stays.
    """

    pid: int
    name: str = "python"
    status: str = psutil.STATUS_SLEEPING
    started_at: float = field(default_factory=lambda: time.time() - _BOOT_LONG_AGO)
    is_denied: bool = False
    looks: int | None = None

    def look(self) -> None:
        """Count one question about this process.

        :raises psutil.NoSuchProcess: the process is gone by now.
        """
        if self.looks is None:
            return
        if self.looks <= 0:
            raise psutil.NoSuchProcess(self.pid, self.name)
        self.looks -= 1


class ProcessTable:
    """Adds processes to those that psutil and ``os.kill`` know. Each method gives the PID of another process.

    PIDs are numbers that no process has now. A signal to one of them goes nowhere; ``signals`` tells of it.

    :param patch: takes the table away when it is undone.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._table: dict[int, SimulatedProcess] = {}
        self.signals: list[tuple[int, int]] = []
        """PID and number of every signal that was sent to one of them; 0 is a mere question."""
        _put_in_place(patch, self._table, self.signals)

    def live(self, *, name: str = "python", started_at: float | None = None, status: str = "sleeping") -> int:
        """The PID of a process that is there.

        :param name: the name of its program.
        :param started_at: seconds since the epoch; None: an hour ago.
        :param status: the status in psutil's words.
        """
        if started_at is not None:
            require(started_at, "started_at", (int, float), "seconds since the epoch")
        return self._add(name=name, status=status, **({} if started_at is None else {"started_at": started_at}))

    def dead(self) -> int:
        """A PID of no process on this host; on another host it may be one."""
        return self._free_number()

    def zombie(self) -> int:
        """The PID of a process that has ended and was not waited for."""
        return self._add(status=psutil.STATUS_ZOMBIE)

    def denied(self) -> int:
        """The PID of a process about which the system tells nothing: every question ends with ``AccessDenied``."""
        return self._add(is_denied=True)

    def vanishing(self, *, looks: int = 1) -> int:
        """The PID of a process that is gone after so many looks.

        One look is ``psutil.Process(pid)``, ``pid_exists`` or ``os.kill(pid, 0)``, and each question to the
        ``Process``. With 1 the ``Process`` can be made and its first question ends with ``NoSuchProcess``.

        :param looks: number of looks that find it, 0 or more.
        """
        require_count(looks, "looks", least=0)
        return self._add(looks=looks)

    def zero(self) -> int:
        """PID 0, which a half-written lock file may name.

        In ``os.kill`` it stands for the asker's own group, and psutil finds no such process on Linux. This table says
        no more than the system does, but delivers no signal.
        """
        return 0

    def beyond_limit(self, *, digits: int | None = None) -> int:
        """A PID that this kernel never gives out.

        :param digits: length of the number; with 13 and more it does not fit any C type for PIDs. None: the limit and
            one.
        :raises ToolkitMisuse: a number of that length may be given out.
        """
        limit = _pid_limit()
        if digits is None:
            return limit + 1
        if digits < len(str(limit)) or int("9" * digits) <= limit:
            raise ToolkitMisuse(f"beyond_limit(digits={digits!r}): PIDs go up to {limit} here; give more digits.")
        return int("9" * digits)

    def end(self, pid: int) -> None:
        """Let a process be gone from now on.

        :param pid: the PID, as another method of this table has given it.
        :raises ToolkitMisuse: the PID is not of this table.
        """
        if pid not in self._table:
            raise ToolkitMisuse(f"cosmos_process_table.end({pid}): that is no process of this table.")
        self._table[pid].looks = 0

    def _add(self, **facts: Any) -> int:
        pid = self._free_number()
        self._table[pid] = SimulatedProcess(pid=pid, **facts)
        return pid

    def _free_number(self) -> int:
        # From the top: the kernel gives these numbers out last, so that hardly one becomes a process during the test.
        return next(pid for pid in _NUMBERS if not psutil.pid_exists(pid))


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

    def status(self) -> str:
        return str(self._answer(self._process.status))

    def name(self) -> str:
        return str(self._answer(self._process.name))

    def cmdline(self) -> list[str]:
        return [str(self._answer(self._process.name))]

    def exe(self) -> str:
        return str(self._answer(""))

    def ppid(self) -> int:
        return int(self._answer(1))

    def uids(self) -> _Uids:
        uid = os.getuid()
        uids: _Uids = self._answer(_Uids(uid, uid, uid))
        return uids

    def oneshot_enter(self) -> None:
        """Nothing is kept between questions."""

    def oneshot_exit(self) -> None:
        """Nothing is kept here either."""

    def _answer(self, value: Any) -> Any:
        self._process.look()
        if self._process.is_denied:
            raise psutil.AccessDenied(self.pid)
        return value

    def __getattr__(self, question: str) -> Callable[..., NoReturn]:
        def refuse(*_: object, **__: object) -> NoReturn:
            self._process.look()
            raise psutil.AccessDenied(self.pid, msg=f"cosmos_process_table knows no {question} of its processes")

        return refuse


def _put_in_place(
    patch: pytest.MonkeyPatch, table: dict[int, SimulatedProcess], signals: list[tuple[int, int]]
) -> None:
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
        signals.append((pid, int(number)))
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
