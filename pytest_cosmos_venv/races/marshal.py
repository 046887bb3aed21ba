"""Who looks after the processes of one race? A process of its own: it forks the contenders, tells of their ends, and
leaves no descendant of theirs behind, also when the test's process is killed.

It is their subreaper, so that whatever a contender leaves behind becomes its child, in whatever session that is.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, NoReturn

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.processes.descendants import descendants, end_descendants, send, stop_tree
from pytest_cosmos_venv.processes.kernel import adopt_orphans, die_with_parent
from pytest_cosmos_venv.races.contender import START_INTERPRETER, compete
from pytest_cosmos_venv.races.services import Remains, sort_out

if TYPE_CHECKING:
    from pytest_cosmos_venv.races.orders import RaceOrder

# What the test's process says, and what it is told; each a tuple that begins with one of these.
GO, SIGNAL, FINISH = "go", "signal", "finish"
FORKED, READY, ENDED, FINISHED = "forked", "ready", "ended", "finished"

_LOOK_AGAIN = 0.005
_NO_PIPE = -1
_COULD_NOT_BEGIN = 70


class Marshal:
    """One race, from the fork of its contenders to the death of their last descendant.

    :param connection: to the test's process.
    """

    def __init__(self, connection: Connection, order: RaceOrder) -> None:
        self._connection = connection
        self._order = order
        self._running: dict[int, int] = {}  # PID -> index
        # The start is held back by a pipe that nobody writes to: closing it wakes all contenders at once. In the same
        # way each contender says that it is ready, or dead.
        (self._start, self._hold), (self._ready, self._unready) = os.pipe(), os.pipe()
        # A signal handler that does nothing, and a pipe that tells the selector that it has been called.
        self._bell, self._ring = os.pipe()
        for descriptor in (self._bell, self._ring):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._ring, warn_on_full_buffer=False)

    def run(self) -> None:
        """Everything; returns when the race is over and all is tidied up."""
        adopt_orphans()
        try:
            self._begin()
            grace = self._serve()
            self._connection.send((FINISHED, self._tidy_up(grace=grace)))
        except (EOFError, ConnectionError):
            # The test's process is gone; nobody is left to be told.
            end_descendants()

    def _begin(self) -> None:
        pids = []
        own_pid = os.getpid()
        for index in range(len(self._order.names)):
            pid = os.fork()
            if pid == 0:
                self._become_contender(index, marshal=own_pid)
            self._running[pid] = index
            pids.append(pid)
        for descriptor in (self._start, self._unready):
            os.close(descriptor)
        self._connection.send((FORKED, pids))

    def _become_contender(self, index: int, *, marshal: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(_NO_PIPE)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            die_with_parent()
            if os.getppid() != marshal:  # it died before that was said
                os._exit(_COULD_NOT_BEGIN)
            self._connection.close()
            for descriptor in (self._hold, self._ready, self._bell, self._ring):
                os.close(descriptor)
            if self._order.fresh:
                self._start_interpreter(index)
            compete(self._order, index, self._unready, self._start)
        finally:
            os._exit(_COULD_NOT_BEGIN)

    def _start_interpreter(self, index: int) -> NoReturn:
        for descriptor in (self._unready, self._start):
            os.set_inheritable(descriptor, True)
        arguments = [str(self._order.file), *map(str, (index, self._unready, self._start)), *self._order.sys_path]
        command = [sys.executable, "-c", START_INTERPRETER, *arguments]
        os.execve(sys.executable, command, dict(self._order.variables))  # noqa: S606 - no shell is wanted

    def _serve(self) -> float:
        """Until the test's process wants the race to be finished; returns the seconds of grace."""
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
                self._obey(word, *rest)

    def _obey(self, word: str, *rest: int) -> None:
        if word == GO:
            os.close(self._hold)
        elif word == SIGNAL:
            self._signal(*rest)

    def _reap(self) -> bool:
        """Tell which contenders have ended; returns whether anything of any of them is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            index = self._running.pop(pid, None)
            if index is not None:
                self._connection.send((ENDED, index, os.waitstatus_to_exitcode(status), real_time.now()))

    def _signal(self, index: int, number: int, tree: int) -> None:
        """Here, not in the test's process: a PID that has not been reaped yet cannot have gone to another process."""
        import psutil

        for pid in [pid for pid, running in self._running.items() if running == index]:
            if tree and number != signal.SIGCONT:
                # Before its children are looked up: a dead process has none any more, a running one gets others.
                stop_tree(psutil.Process(pid))
            for process in descendants(pid) if tree else []:
                send(process, number)
            os.kill(pid, number)

    def _tidy_up(self, *, grace: float) -> Remains:
        """What is still running when the grace is over; it does not run any longer. Services are not waited for."""
        end = real_time.monotonic() + grace
        while self._reap() and real_time.monotonic() < end:
            # All processes of the machine are looked through for it, so only where it can make a difference.
            if self._order.services and not self._remains().left_behind:
                break
            real_time.sleep(_LOOK_AGAIN)
        remains = self._remains()
        end_descendants()
        return remains

    def _remains(self) -> Remains:
        others = [process for process in descendants(os.getpid()) if process.pid not in self._running]
        return sort_out(others, self._order.services)
