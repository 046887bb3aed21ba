"""Who looks after the copies of one test? A process between them and the tests' own: it forks them, writes down how
they end, and leaves nothing of what they started behind.

It is their subreaper, so that whatever a racer leaves behind becomes its child, in whatever session that is.
"""

from __future__ import annotations

import os
import select
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.processes.descendants import end_descendants
from pytest_cosmos_venv.processes.kernel import adopt_orphans, die_with_parent
from pytest_cosmos_venv.racers.meeting import LOOK_AGAIN, Ending, Meeting

_BROKEN = 70  # EX_SOFTWARE: it is not the test that failed


class Keeper:
    """One race, from the fork of its racers to the death of their last descendant; in a process of its own.

    :param body: what the racer of that index does; writes down how that ended.
    :param timeout: seconds that they may take.
    :param bell: a descriptor in which there is something to read when the race shall be over.
    """

    def __init__(self, meeting: Meeting, body: Callable[[int], None], *, timeout: float, bell: int) -> None:
        self._meeting = meeting
        self._body = body
        self._timeout = timeout
        self._bell = bell
        self._children: dict[int, int] = {}  # index -> PID

    def run(self, parent: int) -> NoReturn:
        """Everything, to the end of this process.

        :param parent: the process that runs the tests; when it has died the race is over.
        """

        def work() -> None:
            # What the terminal sends to the tests, as for Ctrl-C, is not for this process.
            os.setpgid(0, 0)
            adopt_orphans()
            try:
                for index in range(self._meeting.racers):
                    self._start(index)
                self._wait(parent)
            finally:
                self._end_all()

        _run_and_exit(work)

    def _start(self, index: int) -> None:
        keeper, pid = os.getpid(), os.fork()
        if pid == 0:
            _run_and_exit(lambda: self._race(index, keeper))
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)
        self._children[index] = pid

    def _race(self, index: int, keeper: int) -> None:
        os.setpgid(0, 0)
        die_with_parent()
        if os.getppid() == keeper:  # else it died before that was said
            self._body(index)

    def _wait(self, parent: int) -> None:
        end = real_time.monotonic() + self._timeout
        running = dict(self._children)
        while running and os.getppid() == parent and not select.select([self._bell], [], [], 0)[0]:
            for index, pid in list(running.items()):
                # Its zombie stays until the race is over: a number that is in use cannot become another group's.
                found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is not None:
                    del running[index]
                    self._meeting.end(index, _death(found.si_code, found.si_status))
            if real_time.monotonic() > end:
                for index in running:
                    self._meeting.end(index, self._too_long())
                return
            real_time.sleep(LOOK_AGAIN)

    def _too_long(self) -> Ending:
        how = f"was killed because it had not ended after {self._timeout:g} s (cosmos_race(…, timeout=…) allows more)"
        return Ending(outcome="died", how=how)

    def _end_all(self) -> None:
        for pid in self._children.values():
            # Where orphans cannot be adopted these are all that can be found.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        end_descendants()


def _run_and_exit(work: Callable[[], None]) -> NoReturn:
    """In a forked process: do that, and never run what is behind, which is pytest's."""
    code = _BROKEN
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(code)


def _death(code: int, status: int) -> Ending:
    if code in {os.CLD_KILLED, os.CLD_DUMPED}:
        return Ending(outcome="died", how=f"was killed by {signal.Signals(status).name}")
    return Ending(outcome="died", how=f"ended its process with exit code {status}")
