"""PIDs of real processes in every state that a lock file can name. The processes are ended and reaped with the test."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.processes.process_table import SimulatedPids

_TIMEOUT = 10.0
_AN_HOUR = 3600.0  # far more than any tolerance between the time of a file and the start of a process
_NOBODY = 65534


@dataclass(frozen=True)
class _Keeper:
    """A process that does nothing but belong to a process group."""

    pid: int
    _leash: int

    @classmethod
    def in_group(cls, group: int) -> _Keeper:
        end, leash = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, end, 0)]
        try:
            pid = os.posix_spawnp("cat", ["cat"], os.environ, file_actions=actions, setpgroup=group)
        except OSError:
            os.close(leash)
            raise
        finally:
            os.close(end)
        return cls(pid, leash)

    def close(self) -> None:
        os.close(self._leash)  # cat reads the end of its input and ends
        os.waitpid(self.pid, 0)


class Pids(SimulatedPids):
    """Makes processes and gives their PIDs. Each call makes another process."""

    def __init__(self) -> None:
        super().__init__(self.live)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._keepers: list[_Keeper] = []

    def live(self) -> int:
        """The PID of a process that runs until the test ends or ``kill`` is called."""
        process = self._start(["cat"])
        _wait_until_started(process.pid)
        return process.pid

    def dead(self) -> int:
        """The PID of a process that has ended and was reaped. No other process gets the number before the test has
        ended.
        """
        leader = os.posix_spawnp("true", ["true"], os.environ, setpgroup=0)
        # The kernel does not reuse a PID while a process group of this number has a member. The zombie leader is still
        # a member, so the keeper can join the group. The keeper then holds the number after the leader was reaped.
        self._keepers.append(_Keeper.in_group(leader))
        os.waitpid(leader, 0)
        return leader

    def zombie(self) -> int:
        """The PID of a process that has ended and was not waited for."""
        process = self._start(["true"])
        _wait_until_zombie(process.pid)
        return process.pid

    def reused(self, lock_file: Path | str) -> int:
        """The PID of a live process that is younger than the lock that names it: the number has gone to another
        process.

        :param lock_file: file that gets this PID as its content, and a time an hour before the process began.
        """
        pid = self.live()
        lock_file = Path(lock_file)
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock_file.write_text(str(pid), encoding="ascii")
        written_at = real_time.now() - _AN_HOUR
        os.utime(lock_file, (written_at, written_at))
        return pid

    def foreign(self) -> int:
        """The PID of a live process that belongs to another user.

        As root it is a new process of user 65534 (nobody), else PID 1. The test is skipped where PID 1 belongs to the
        test's own user.
        """
        if os.geteuid() == 0:
            return self._start_as_nobody().pid
        if psutil.Process(1).uids().real == os.getuid():
            pytest.skip("no process of another user can be made or is known: not root, and PID 1 is this user's")
        return 1

    def kill(self, pid: int) -> None:
        """End one of these processes by SIGKILL, and reap it: then no process has this PID.

        :param pid: the PID, as another method of this object has given it.
        :raises ToolkitMisuse: the PID is of no such process.
        """
        process = self._processes.pop(pid, None)
        if process is None:
            raise ToolkitMisuse(
                f"cosmos_lock.pids.kill({pid}): that is none of the running processes of cosmos_lock.pids."
            )
        self._table.pop(pid, None)  # else the signal would not reach it
        _end(process)

    def close(self) -> None:
        """End all of these processes."""
        super().close()
        for process in self._processes.values():
            _end(process)
        self._processes.clear()
        for keeper in self._keepers:
            keeper.close()
        self._keepers.clear()

    def _start(self, command: list[str], user: int | None = None) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # held open: `cat` reads the end of its input when the test's process dies
            stdout=subprocess.DEVNULL,
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        self._processes[process.pid] = process
        return process

    def _start_as_nobody(self) -> subprocess.Popen[bytes]:
        try:
            return self._start(["cat"], user=_NOBODY)
        except OSError as error:  # a user namespace may know of no other user
            pytest.skip(f"no process of another user can be started here: {error}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()  # without a timeout, which would be counted by a clock that the test may have frozen
    if process.stdin is not None:
        process.stdin.close()


def _wait_until_started(pid: int) -> None:
    # The kernel closes the pipe of Popen before it sets the command line: psutil found an empty one.
    if not real_time.wait_until(lambda: psutil.Process(pid).cmdline() != [], _TIMEOUT, every=0.001):
        raise ToolkitMisuse(f"cosmos_lock.pids.live(): process {pid} had not started after {_TIMEOUT:g} s.")


def _wait_until_zombie(pid: int) -> None:
    if not real_time.wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, _TIMEOUT, every=0.001):
        raise ToolkitMisuse(f"cosmos_lock.pids.zombie(): process {pid} had not ended after {_TIMEOUT:g} s.")
