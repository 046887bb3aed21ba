"""The processes that stand between a test and the contenders of its races.

A supervisor forks the contenders of one race, and tells of their ends. It leaves none of their descendants behind, even
when the test's process is killed. It is their subreaper: a process that a contender leaves behind becomes a child of
the supervisor, in whatever session that process is.

The server has imported what contenders need and done nothing else: it has no thread, which no fork survives. For each
race of functions it forks a supervisor. ``multiprocessing``'s fork server cannot do this. It fixes environment and
standard streams at its start, ignores a failing import, and cannot end what its children leave behind. A race
of copies of one test has a supervisor that is forked from the test's own process.
"""

from __future__ import annotations

import gc
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.processes.descendants import (
    adopt_orphans,
    descendants,
    die_with_parent,
    end_descendants,
    send,
    stop_tree,
)
from pytest_cosmos_venv.races.contender import ModuleAt, RaceOrder, compete
from pytest_cosmos_venv.races.meeting import Ending, Meeting

if TYPE_CHECKING:
    import psutil


# First words of messages, which are tuples: GO, SIGNAL and FINISH come from the test's process, the others go to it.
GO, SIGNAL, FINISH = "go", "signal", "finish"
FORKED, READY, BEGUN, ENDED, FINISHED = "forked", "ready", "begun", "ended", "finished"
_LOOK_AGAIN = 0.005
_NO_PIPE = -1
_COULD_NOT_BEGIN = 70
START_SERVER = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from pytest_cosmos_venv.races.supervisor import serve; serve(int(sys.argv[1]))"
)
Body = Callable[[int, int, int], object]
"""Runs a contender. Takes its index, a descriptor to close when it is ready, and a descriptor with EOF at the start."""


class Supervisor:
    """One race, from the fork of its contenders to the death of their last descendant.

    :param connection: the connection to the test's process.
    :param meeting: where the contenders meet; their deaths are written down there.
    :param body: what a contender does.
    :param services: patterns of processes that stay by design.
    """

    def __init__(self, connection: Connection, meeting: Meeting, body: Body, *, services: Sequence[str] = ()) -> None:
        self._connection = connection
        self._meeting = meeting
        self._body = body
        self._services = services
        self._running: dict[int, int] = {}  # PID -> index
        # Contenders wait for EOF on the pipe _start: closing its writer _hold wakes them all at once. In the other
        # direction _ready reaches EOF when each contender has closed _unready, because it is ready or dead.
        (self._start, self._hold), (self._ready, self._unready) = os.pipe(), os.pipe()
        # The handler of SIGCHLD does nothing; the wakeup pipe makes wait() return when the signal arrives.
        self._bell, self._ring = os.pipe()
        for descriptor in (self._bell, self._ring):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._ring, warn_on_full_buffer=False)

    def run(self) -> None:
        """Run the whole race; return when it is over and no descendant is left."""
        adopt_orphans()
        try:
            self._begin()
            grace = self._serve()
            self._connection.send((FINISHED, *self._tidy_up(grace=grace)))
        except (EOFError, ConnectionError):
            # The test's process is gone, so there is nobody to report to.
            end_descendants()

    def _begin(self) -> None:
        own_pid = os.getpid()
        for index in range(self._meeting.count):
            pid = os.fork()
            if pid == 0:
                self._become_contender(index, supervisor=own_pid)
            self._running[pid] = index
        for descriptor in (self._start, self._unready):
            os.close(descriptor)
        self._connection.send((FORKED, list(self._running)))

    def _become_contender(self, index: int, *, supervisor: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(_NO_PIPE)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()  # Ctrl-C in the terminal is for the test, which then ends its races
            die_with_parent()
            if os.getppid() != supervisor:  # the supervisor died before die_with_parent()
                os._exit(_COULD_NOT_BEGIN)
            self._connection.close()
            for descriptor in (self._hold, self._ready, self._bell, self._ring):
                os.close(descriptor)
            self._body(index, self._unready, self._start)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - nothing may get back into the process that was forked
            traceback.print_exc()
        finally:
            os._exit(_COULD_NOT_BEGIN)

    def _serve(self) -> float:
        """Serve the test's process until it wants the race to be finished; returns the seconds of grace."""
        is_ready = False
        while True:
            stirred = wait([self._connection, self._bell, *([] if is_ready else [self._ready])])
            if self._bell in stirred:
                os.read(self._bell, 4096)
                self._reap()
            if self._ready in stirred:
                is_ready = True
                self._connection.send((READY,))
            if self._connection in stirred:
                word, *rest = self._connection.recv()
                if word == FINISH:
                    return float(rest[0])
                if word == GO:
                    os.close(self._hold)
                    self._connection.send((BEGUN,))
                elif word == SIGNAL:
                    self._signal(*rest)

    def _reap(self) -> bool:
        """Reap ended children and report contenders among them; return whether any child process is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            index = self._running.pop(pid, None)
            if index is not None:
                code = os.waitstatus_to_exitcode(status)
                how = f"ended its process with exit code {code}"
                if code < 0:
                    how = f"was killed by {signal.Signals(-code).name}"
                self._meeting.end(index, Ending(outcome="died", how=how))
                self._connection.send((ENDED, index, code, real_time.now()))

    def _signal(self, index: int, number: int, tree: int) -> None:
        """Send the signal from here, where contenders are reaped: until then no other process can have the PID."""
        import psutil

        for pid in [pid for pid, running in self._running.items() if running == index]:
            if tree and number != signal.SIGCONT:
                # Stopped before its children are looked up: a running process may start new children meanwhile.
                stop_tree(psutil.Process(pid))
            for process in descendants(pid) if tree else []:
                send(process, number)
            os.kill(pid, number)

    def _tidy_up(self, *, grace: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """End all descendants that still run after the grace period, and return them in words.

        Services are not waited for.
        """
        end = real_time.monotonic() + grace
        while self._reap() and real_time.monotonic() < end:
            # Only with services: _remains() looks at all processes of the machine.
            if self._services and not self._remains()[0]:
                break
            real_time.sleep(_LOOK_AGAIN)
        remains = self._remains()
        end_descendants()
        return remains

    def _remains(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        others = [process for process in descendants(os.getpid()) if process.pid not in self._running]
        return sort_out(others, self._services)


def sort_out(processes: Sequence[psutil.Process], services: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split running processes into processes that were left behind and services, both in words.

    A child process of a service is a service only if a pattern matches it too.

    :param processes: the processes that still run.
    :param services: patterns as for file names (``*``, ``?``, ``[...]``), of a process's name or its command line.
    """
    import psutil

    left: list[str] = []
    stay: list[str] = []
    for process in processes:
        try:
            name, words = process.name(), process.cmdline()
        except psutil.NoSuchProcess:
            continue
        except psutil.Error:
            name, words = "", []
        command = " ".join(words)
        # A process may have changed its name. The message shows the name too, so that a pattern can match it.
        is_own_name = bool(name) and not (words and Path(words[0]).name.startswith(name))
        is_service = any(fnmatchcase(text, pattern) for pattern in services for text in (name, command))
        told = f"{name}: {command}" if command and is_own_name else command or name
        (stay if is_service else left).append(f"PID {process.pid}: {told}")
    return tuple(left), tuple(stay)


def require_patterns(services: Sequence[str], of: str) -> tuple[str, ...]:
    """Return the patterns of services, checked.

    :param services: the patterns, as for ``sort_out``.
    :param of: the option that holds the patterns, for the message.
    :raises ToolkitMisuse: the value is no list of patterns, or a pattern fits every process.
    """
    if not isinstance(services, (list, tuple)) or not all(isinstance(each, str) for each in services):
        raise ToolkitMisuse(f"{of}={services!r}: give a list of process names or command lines: ['dbt-server*'].")
    for each in services:
        if not each.strip("*? "):
            raise ToolkitMisuse(f"{of}: {each!r} fits every process, so that nothing would be left behind: name one.")
    return tuple(services)


def serve(descriptor: int) -> None:
    """Import once, then fork a supervisor for each connection that is handed over, until the test's process is gone.

    :param descriptor: the socket to the test's process, which sends the modules first and then a race each time.
    """
    connection = Connection(descriptor)
    try:
        connection.send(_prepare(connection.recv()))
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps supervisors; their connections show their end
        while True:
            order: RaceOrder = connection.recv()
            _fork_supervisor(connection, recv_handle(connection), order)
    except (EOFError, ConnectionError):
        # os._exit skips exit handlers of the imported modules: those of Airflow take two seconds.
        os._exit(0)


def _prepare(modules: Sequence[ModuleAt]) -> str | None:
    """Import the modules; return why this process cannot fork contenders, or None."""
    for module in modules:
        try:
            module.load()
        except BaseException as error:  # noqa: BLE001 - also what pytest raises to skip
            traceback.print_exc()
            return f"importing {module.name} failed with {type(error).__name__}: {error}"
    # A garbage collection among the imports would copy all their pages into each contender.
    gc.collect()
    gc.freeze()
    return _forbids_fork()


def _fork_supervisor(connection: Connection, handle: int, order: RaceOrder) -> None:
    if os.fork():
        os.close(handle)
        return
    try:
        connection.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

        def body(index: int, ready: int, start: int) -> NoReturn:
            compete(order, index, ready, start)

        Supervisor(Connection(handle), order.meeting, body, services=order.services).run()
    except BaseException:  # noqa: BLE001 - it is written into the log of the server
        traceback.print_exc()
    finally:
        os._exit(0)


def _forbids_fork() -> str | None:
    """Return why this process must not fork; None where it may.

    Threads do not survive a fork, and locks that they held stay locked.
    """
    threads = Path("/proc/self/task")
    if threads.is_dir() and len(list(threads.iterdir())) > 1:
        return "the imports have started a thread, which no fork survives"
    return None
