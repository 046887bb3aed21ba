"""The processes that a guard leaves behind when it is killed: those of its session, found and ended.

A guard leads a session of its own, so each process below it is of that session unless it has made another one. The
kernel gives a number that names a session to no new process while a process of that session lives. So where a process
with the leader's number started at another time, nothing of the session is left.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from cosmos_venv.files.untrusted import value_of

# Killed processes are gone after some milliseconds, but for one that waits for a disk: nobody waits for that.
_LONGEST_END = 2.0
_LOOK_AGAIN = 0.005
_DEAD = (b"Z", b"X")
_ACCESS_MODE_WRITES = 0o3


@dataclass(frozen=True, kw_only=True)
class Session:
    """The session that a guard or a keeper leads, as a file can name it.

    :param leader: PID of the guard.
    :param started: when it started, in ticks since the machine started; None off Linux, or when it was gone.
    :param boot_id: of the machine.
    :param pid_namespace: in which the PID counts.
    """

    leader: int
    started: int | None
    boot_id: str
    pid_namespace: str

    @classmethod
    def of(cls, leader: int) -> Session:
        """Return the session of a process that leads one.

        :param leader: PID of that process.
        """
        return cls(leader=leader, started=start_ticks(leader), **_machine())

    @classmethod
    def from_json(cls, line: bytes) -> Session | None:
        """Return the session that ``to_json`` wrote; None for half a line, as a kill may leave it.

        :param line: of the file.
        """
        found = value_of(line, cls)
        return None if found is None or found.started is None else found

    def to_json(self) -> str:
        """Return the session as one line for a file."""
        return json.dumps(asdict(self))

    def end(self, *, output: int | None = None, folders: Sequence[Path] = ()) -> None:
        """Kill what is left of the command, and wait until it is gone, at most two seconds.

        This process is the parent of the leader, or has just lost its connection to it: the number is the leader's.

        :param output: a pipe of this process, from which it reads. What still writes to it ends too.
        :param folders: the temporary folders of the command alone. What has one in its environment variables ends too.
        """
        _repeat(lambda: self.kill(output=output, folders=folders))

    def kill(self, *, output: int | None = None, folders: Sequence[Path] = ()) -> bool:
        """Kill what is left of the command once, without waiting: safe in a signal handler.

        :param output: as for ``end``.
        :param folders: as for ``end``.
        :returns: whether anything was left.
        """
        processes = _processes()
        # Listed anew at each call: what is killed may start another process before it dies.
        if not processes:  # off Linux, where a session cannot be listed
            with suppress(OSError):
                os.killpg(self.leader, signal.SIGKILL)
            return False
        found = self._members(processes) | _started_for(folders, processes)
        if output is not None:
            pipe = os.fstat(output)
            # What this process itself has forked may have got that end of the pipe.
            others = processes.keys() - found - _with_all_below({os.getpid()}, processes)
            found |= {pid for pid in others if _writes_to(pid, pipe)}
        return _kill(found, processes)

    def end_what_works_in(self, folder: Path) -> None:
        """End the session as ``end`` does, for a caller who finds it noted and does not know how long ago its leader
        died.

        By now another session may have the number. So it is ended only where a process of it shows the folder by its
        working directory or by its environment variables: no other folder ever has that name.

        :param folder: the temporary folder in whose lease the session was noted.
        """

        def kill() -> bool:
            processes = _processes()
            found = self._members(processes) if self._is_of_here() else set()
            if not any(_is_in(folder, pid) or _names(folder, pid) for pid in found):
                found = set()
            return _kill(found | _started_for([folder], processes), processes)

        _repeat(kill)

    def _is_of_here(self) -> bool:
        return self.started is not None and {"boot_id": self.boot_id, "pid_namespace": self.pid_namespace} == _machine()

    def _members(self, processes: Mapping[int, _Process]) -> set[int]:
        leader = processes.get(self.leader)
        if leader is not None and leader.started != self.started:
            return set()
        return {process.pid for process in processes.values() if process.session == self.leader}


@dataclass(frozen=True, kw_only=True)
class _Process:
    """One process, as Linux shows it in ``/proc/<pid>/stat``."""

    pid: int
    parent: int
    session: int
    started: int
    is_dead: bool

    @classmethod
    def of(cls, pid: int) -> _Process | None:
        """Return a process; None when there is none that this one may see.

        :param pid: of the process.
        """
        try:
            # "pid (name) state ppid pgrp session …": the name may hold blanks and brackets.
            state, *numbers = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return cls(
                pid=pid,
                parent=int(numbers[0]),
                session=int(numbers[2]),
                started=int(numbers[18]),
                is_dead=state in _DEAD,
            )
        except (OSError, ValueError, IndexError):
            return None

    def kill(self) -> None:
        """Send SIGKILL to the process, and never to another one that got its number."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):  # an old kernel, or one that forbids it
            self._kill_by(lambda: os.kill(self.pid, signal.SIGKILL))
            return
        try:
            self._kill_by(lambda: signal.pidfd_send_signal(descriptor, signal.SIGKILL))
        finally:
            os.close(descriptor)

    def _kill_by(self, send: Callable[[], None]) -> None:
        now = _Process.of(self.pid)
        if now is not None and now.started == self.started:
            with suppress(ProcessLookupError, PermissionError):  # it has just ended, or has become another user's
                send()


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in ticks since the machine started; None off Linux, or when there is none.

    :param pid: of the process.
    """
    process = _Process.of(pid)
    return None if process is None else process.started


def _processes() -> dict[int, _Process]:
    """All processes that this one may see; none off Linux."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - a path for each of some hundred entries costs more than the look
    except OSError:
        return {}
    found = (_Process.of(int(name)) for name in names if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def _repeat(kill: Callable[[], bool]) -> None:
    """Kill again until none is left: a process that is killed may start another before it dies."""
    deadline = time.monotonic() + _LONGEST_END
    while kill() and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN)


def _kill(found: set[int], processes: Mapping[int, _Process]) -> bool:
    """Kill these and all below them. Whether any of them lives."""
    # A zombie keeps its number until its parent has collected it; nothing of it can be killed any more.
    living = [process for pid in _with_all_below(found, processes) if not (process := processes[pid]).is_dead]
    for process in living:
        process.kill()
    return bool(living)


def _with_all_below(ancestors: set[int], processes: Mapping[int, _Process]) -> set[int]:
    """These processes and every descendant of them."""
    found = set(ancestors)
    while more := {each.pid for each in processes.values() if each.parent in found} - found:
        found |= more
    return found


def _started_for(folders: Sequence[Path], processes: Mapping[int, _Process]) -> set[int]:
    """Processes with environment variables that lead into one of the folders, but for this one and those below it."""
    if not folders:
        return set()
    others = processes.keys() - _with_all_below({os.getpid()}, processes)
    return {pid for pid in others for folder in folders if _names(folder, pid)}


def _writes_to(pid: int, pipe: os.stat_result) -> bool:
    return any(_is_writer(file, pipe) for file in _entries(Path(f"/proc/{pid}/fd")))


def _is_writer(file: Path, pipe: os.stat_result) -> bool:
    try:
        if not os.path.samestat(file.stat(), pipe):
            return False
        shown = (file.parent.with_name("fdinfo") / file.name).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False
    flags = next((line.split()[1] for line in shown.splitlines() if line.startswith("flags:")), "0")
    return int(flags, 8) & _ACCESS_MODE_WRITES != os.O_RDONLY


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError:
        return  # it has ended, or is another user's


def _is_in(folder: Path, pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def _names(folder: Path, pid: int) -> bool:
    """Whether an environment variable of the process names the folder; but for those of a shell that has been there."""
    text = os.fsencode(folder)
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(text in variable and not variable.startswith((b"PWD=", b"OLDPWD=")) for variable in variables)


@cache
def _machine() -> dict[str, str]:
    """The identity of this boot and PID namespace. Empty texts off Linux.

    A PID means the same process only where both are equal.
    """
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {"boot_id": boot_id, "pid_namespace": str(Path("/proc/self/ns/pid").readlink())}
    except OSError:
        return {"boot_id": "", "pid_namespace": ""}
