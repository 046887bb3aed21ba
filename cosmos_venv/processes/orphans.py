"""The processes that a guard leaves behind when it is killed: those of its session, found and ended.

A guard leads a session of its own, so each process below it is of that session unless it has made a session of its own.
While a process of a session lives, the kernel gives the PID of its leader to no new process. So when a process with
that PID has another start time, nothing of the session is left.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cosmos_venv.files.kernel_lock import lease_path

# Killed processes are gone after some milliseconds. One that waits for a disk may need longer: nobody waits for that.
_LONGEST_END = 2.0
_LOOK_AGAIN = 0.005
_DEAD = (b"Z", b"X")


@dataclass(frozen=True, kw_only=True)
class Session:
    """The session that a guard or a keeper leads.

    :param leader: PID of the guard.
    :param started: when it started, in ticks since the machine started; None off Linux, or when it was gone.
    """

    leader: int
    started: int | None

    @classmethod
    def of(cls, leader: int) -> Session:
        """Return the session of a process that leads one.

        :param leader: PID of that process.
        """
        process = _Process.of(leader)
        return cls(leader=leader, started=None if process is None else process.started)

    def end(self, *, output: int | None = None) -> None:
        """Kill what is left of the command, and wait until it is gone, at most two seconds.

        Call it only in the parent of the leader, or in a process that has just lost its connection to the leader: there
        the PID is still the leader's.

        :param output: a pipe from which this process reads. Other processes that have it open are killed too.
        """
        deadline = time.monotonic() + _LONGEST_END
        while self.kill(output=output) and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN)

    def kill(self, *, output: int | None = None) -> bool:
        """Kill what is left of the command once, without waiting: safe in a signal handler.

        :param output: as for ``end``.
        :returns: whether anything was left.
        """
        # Listed anew at each call: what is killed may start another process before it dies.
        processes = _processes()
        if not processes:  # off Linux, where a session cannot be listed
            with suppress(OSError):
                os.killpg(self.leader, signal.SIGKILL)
            return False
        found = set()
        leader = processes.get(self.leader)
        if leader is None or leader.started == self.started:
            found = {pid for pid, process in processes.items() if process.session == self.leader}
        if output is not None:
            pipe = os.fstat(output)
            # A process that this one has forked may have inherited the pipe.
            others = processes.keys() - found - _with_all_below({os.getpid()}, processes)
            found |= {pid for pid in others if _has_open(pid, pipe)}
        # A zombie keeps its number until its parent has collected it; nothing of it can be killed any more.
        living = [pid for pid in _with_all_below(found, processes) if not processes[pid].is_dead]
        for pid in living:
            with suppress(ProcessLookupError, PermissionError):  # it has just ended, or has become another user's
                os.kill(pid, signal.SIGKILL)
        return bool(living)


class _Process(NamedTuple):
    """One process, as Linux shows it in ``/proc/<pid>/stat``."""

    parent: int
    session: int
    started: int
    is_dead: bool

    @classmethod
    def of(cls, pid: int) -> _Process | None:
        """Return a process; None when this process can see no process with this number.

        :param pid: of the process.
        """
        try:
            # "pid (name) state ppid pgrp session …": the name may hold blanks and brackets.
            state, *numbers = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return cls(int(numbers[0]), int(numbers[2]), int(numbers[18]), state in _DEAD)
        except (OSError, ValueError, IndexError):
            return None


def _processes() -> dict[int, _Process]:
    """All processes that this process may see; on other systems than Linux, no process."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - a path for each of some hundred entries costs more than the look
    except OSError:
        return {}
    found = {int(name): _Process.of(int(name)) for name in names if name.isdigit()}
    return {pid: process for pid, process in found.items() if process is not None}


def _with_all_below(ancestors: set[int], processes: Mapping[int, _Process]) -> set[int]:
    """These processes and every descendant of them."""
    found = set(ancestors)
    while more := {pid for pid, process in processes.items() if process.parent in found} - found:
        found |= more
    return found


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Return whether a process has a file or pipe open; False off Linux, and where this process may not look."""
    with suppress(OSError):  # it has ended, or is another user's
        for opened in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(opened.stat(), file):
                    return True
    return False


def users_of(build: Path) -> list[int]:
    """Return the PIDs that have the build's lease open, so far as this process may see them (Linux; empty elsewhere).

    :param build: the directory.
    """
    with suppress(OSError):
        lease = lease_path(build).stat()
        return sorted(pid for pid in _processes() if pid != os.getpid() and _has_open(pid, lease))
    return []
