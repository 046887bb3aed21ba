"""The most memory that a task and all that it started held at one moment, looked up every few milliseconds, on Linux.

What belongs to the task: children and their children, also those of a child that was there before; every process that
has inherited a variable which is set for the block, also one that has left its parents; every process in a session of
these; and every process from which a fake dbt reported, also a warm one that was there before.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse, require
from pytest_cosmos_venv.fake_dbt import RECORD_VARIABLE

INTERVAL = 0.005
_VARIABLE = "COSMOS_PEAK_MEMORY"
_PROC = Path("/proc")
_KIB = 1024
_RESET_PEAK = "5"
_FORKED_AND_NO_EXEC = 0x40  # of a process's flags


@dataclass
class PeakMemory:
    """The most memory that a block held, once it is left.

    Each process counts with the most it has held until then, as long as it lives; this process with what it has grown
    since the block began, and a fork that has not called exec with what it has grown since it was seen first. So a
    spike between two looks counts when its process is seen once more afterwards, a process that lives for less than 5
    ms may be missed, and processes whose own peaks lie apart are overstated. Memory that processes share (libraries)
    counts for each.

    :param bytes: the most that all of these held at one moment.
    :param processes: PID -> the most that it was seen to hold, in bytes, of everything that belonged to the block.
    """

    bytes: int = 0
    processes: dict[int, int] = field(default_factory=dict)

    def ratio_to(self, reference: PeakMemory) -> float:
        """The quotient of this and another block, run in the same test: figures of two machines compare badly.

        :param reference: what another block held.
        :raises ToolkitMisuse: when that one has held nothing.
        """
        require(reference, "reference", PeakMemory, "what another `with cosmos_peak_memory() as peak` gave")
        if reference.bytes == 0:
            raise ToolkitMisuse(
                "cosmos_peak_memory: the reference run held no memory, so there is no ratio to it: let it start a "
                "process, or do what the other run does with less data."
            )
        return self.bytes / reference.bytes

    def __str__(self) -> str:
        return f"{self.bytes / _KIB / _KIB:.1f} MiB in {len(self.processes)} processes"


@contextmanager
def measure_peak_memory() -> Iterator[PeakMemory]:
    """Measure memory within this block; the result is complete when it is left.

    Skips the test where there is no ``/proc``.
    """
    if sys.platform != "linux":
        pytest.skip("cosmos_peak_memory reads /proc, which only Linux has")
    peak = PeakMemory()
    mark = f"{os.getpid()}-{real_time.monotonic()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_VARIABLE, mark)
        sampler = _Sampler(peak, mark)
        sampler.start()
        try:
            yield peak
        finally:
            sampler.stop()


class _Sampler(threading.Thread):
    def __init__(self, peak: PeakMemory, mark: str) -> None:
        super().__init__(name="cosmos_peak_memory", daemon=True)
        self._peak = peak
        self._mark = f"{_VARIABLE}={mark}".encode()
        self._is_over = threading.Event()
        self._own_pid = os.getpid()
        self._own_session = os.getsid(0)
        self._strangers = set(_pids()) - {self._own_pid}
        self._ours: set[int] = set()
        self._copied: dict[int, int] = {}
        self._sessions: set[int] = set()
        record = os.environ.get(RECORD_VARIABLE)
        self._record = Path(record) if record else None
        self._began_at = real_time.now()
        _reset_own_peak()
        self._before = _status(self._own_pid).get("VmRSS", 0)

    def run(self) -> None:
        while not self._is_over.wait(INTERVAL):
            self._look()

    def stop(self) -> None:
        self._is_over.set()
        self.join()
        self._look()

    def _look(self) -> None:
        alive = _pids()
        self._strangers &= alive
        self._ours &= alive
        # Again at every look: between fork and exec a process has the environment of its parent.
        for pid in alive - self._strangers - self._ours - {self._own_pid}:
            if self._belongs(pid):
                self._take_in(pid)
        self._ours |= self._reporters() & alive
        held = {pid: self._held(pid) for pid in self._ours}
        held[self._own_pid] = max(_status(self._own_pid).get("VmHWM", 0) - self._before, 0)
        for pid, most in held.items():
            self._peak.processes[pid] = max(most, self._peak.processes.get(pid, 0))
        self._peak.bytes = max(self._peak.bytes, sum(held.values()))

    def _held(self, pid: int) -> int:
        """The most that it held itself: what a fork shares with its parent is not its own until exec."""
        # Asked before its memory is looked up, when it may be none any more. What was there before counts with all.
        is_copy = pid not in self._strangers and _is_copy(pid)
        most = _status(pid).get("VmHWM", 0)
        if not is_copy:
            return most
        if pid not in self._copied:
            self._copied[pid] = min(most, _size_of_original(pid) or most)
        return max(most - self._copied[pid], 0)

    def _belongs(self, pid: int) -> bool:
        # All ancestors: a server of this process may have been there before, and have started it now.
        if _session(pid) in self._sessions or not {self._own_pid, *self._ours}.isdisjoint(_ancestors(pid)):
            return True
        return self._mark in _read(pid, "environ").split(b"\0")

    def _take_in(self, pid: int) -> None:
        """Count a process for good: later its parents may be gone."""
        self._ours.add(pid)
        session = _session(pid)
        if session is not None and session != self._own_session:
            self._sessions.add(session)

    def _reporters(self) -> set[int]:
        if self._record is None:
            return set()
        from pytest_cosmos_venv.environments.scripted_dbt import read_dbt_calls

        return {call.pid for call in read_dbt_calls(self._record) if call.started_at >= self._began_at}


def _pids() -> set[int]:
    return {int(name) for name in os.listdir(_PROC) if name.isdigit()}  # noqa: PTH208 - 200 times a second


def _status(pid: int) -> dict[str, int]:
    """Sizes that the kernel tells of a process, in bytes; empty when it is gone or a zombie."""
    lines = _read(pid, "status").decode(errors="replace").splitlines()
    words = [line.split() for line in lines if line.startswith(("VmHWM", "VmRSS"))]
    return {name.rstrip(":"): int(size) * _KIB for name, size, _ in words}


def _ancestors(pid: int) -> Iterator[int]:
    while parent := _stat_field(pid, 1):
        yield parent
        pid = parent


def _is_copy(pid: int) -> bool:
    """Whether it was forked and has not called exec."""
    return bool((_stat_field(pid, 6) or 0) & _FORKED_AND_NO_EXEC)


def _size_of_original(pid: int) -> int | None:
    """Bytes held by the process that a copy was forked from; None when that is gone, so that another is its parent."""
    parent = _stat_field(pid, 1)
    if not parent or _program(parent) != _program(pid):
        return None
    return _status(parent).get("VmRSS")


def _program(pid: int) -> str | None:
    try:
        return str((_PROC / str(pid) / "exe").readlink())
    except OSError:
        return None


def _session(pid: int) -> int | None:
    return _stat_field(pid, 3)


def _stat_field(pid: int, number: int) -> int | None:
    """One of the fields after the program's name, which may hold blanks and brackets itself."""
    _, _, rest = _read(pid, "stat").rpartition(b")")
    fields = rest.split()
    return int(fields[number]) if len(fields) > number else None


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:  # it is gone, or another user's
        return b""


def _reset_own_peak() -> None:
    try:
        (_PROC / "self" / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:  # not allowed in some containers: then an earlier peak of this process may count
        return
