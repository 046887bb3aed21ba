"""How does one test item become N processes? By forking when its fixtures are set up, for the test's body alone.

Fixtures are set up and torn down once, in the process that runs the tests. It waits for its copies, tells them of each
other's end, and reports one test.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_cosmos_venv.racers.meeting import BarrierNotMet, Ending, Meeting
from pytest_cosmos_venv.racers.output import Output
from pytest_cosmos_venv.racers.waiting import now, pause

if TYPE_CHECKING:
    from pytest_cosmos_venv.racers.racer import Racer

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, <linux/prctl.h>
_BROKEN = 70  # EX_SOFTWARE: it is not the test that failed


@dataclass
class Copies:
    """The copies of one test, as processes.

    :param item: the test, with its fixtures set up.
    :param timeout: seconds that they may take.
    """

    item: pytest.Function
    racer: Racer
    meeting: Meeting
    timeout: float
    output: Output = field(init=False)
    _children: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.output = Output(self.meeting.folder / "output", captured=self.item.config.getoption("capture") != "no")

    def run(self) -> list[Ending]:
        """How each racer ended. No process is left, also when this raises."""
        die_with_parent = _prepare_to_die_with_parent()
        try:
            self.output.flush()
            for index in range(self.meeting.racers):
                self._start(index, die_with_parent)
            self._wait()
        finally:
            self._end_all()
            for index in range(self.meeting.racers):
                for name, text in self.output.of(index):
                    self.item.add_report_section("call", f"{name} racer {index}", text)
        return [self._ending(index) for index in range(self.meeting.racers)]

    def _start(self, index: int, die_with_parent: Callable[[], None]) -> None:
        pid = _fork()
        if pid == 0:
            self._be(index, die_with_parent)
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)
        self._children[index] = pid

    def _be(self, index: int, die_with_parent: Callable[[], None]) -> NoReturn:
        code = _BROKEN
        try:
            # What a racer starts and leaves behind is found by its group when the race is over.
            os.setpgid(0, 0)
            die_with_parent()
            with self.output.redirected(index):
                self.racer.start(index)
                self.meeting.end(index, _run_body(self.item, self.meeting, index, self.timeout))
            code = 0
        except BaseException:  # noqa: BLE001 - the code behind is pytest's, which this process must never run
            traceback.print_exc()
        finally:
            os._exit(code)

    def _wait(self) -> None:
        end = now() + self.timeout
        running = dict(self._children)
        while running:
            for index, pid in list(running.items()):
                # Its zombie stays until the race is over: a number that is in use cannot become another group's.
                found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is not None:
                    del running[index]
                    self.meeting.end(index, _death(found.si_code, found.si_status))
            if now() > end:
                for index in running:
                    self.meeting.end(index, self._too_long())
                return
            pause()

    def _too_long(self) -> Ending:
        return Ending(
            outcome="died",
            how=f"was killed because it had not ended after {self.timeout:g} s (cosmos_race(…, timeout=…) allows more)",
        )

    def _end_all(self) -> None:
        for pid in self._children.values():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for pid in self._children.values():
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _ending(self, index: int) -> Ending:
        return self.meeting.ending(index) or Ending(outcome="died", how="was never heard of")


def conclude(meeting: Meeting, endings: list[Ending]) -> None:
    """Let the one test that is reported end as its copies did: one that failed makes it fail."""
    numbered = list(enumerate(endings))
    by_outcome = {ending.outcome: ending for ending in endings}
    failed = [(index, ending) for index, ending in numbered if ending.outcome in {"failed", "died"}]
    if "exit" in by_outcome:
        pytest.exit(by_outcome["exit"].text)
    if failed:
        # Causes first: the others only say that they waited for those.
        failed.sort(key=lambda one: one[1].is_consequence)
        texts = [f"{meeting.who(index)} {ending.how}.\n{ending.text}".rstrip() for index, ending in failed]
        # The first line is all that the summary at the end of the run shows.
        head = f"{meeting.who(failed[0][0])} {failed[0][1].how}; {len(failed)} of {len(endings)} racers failed."
        pytest.fail(f"{head}\n\n" + "\n\n".join(texts), pytrace=False)
    if "xfailed" in by_outcome:
        pytest.xfail(by_outcome["xfailed"].text)
    if "skipped" in by_outcome:
        pytest.skip(by_outcome["skipped"].text)


def _run_body(item: pytest.Function, meeting: Meeting, index: int, timeout: float) -> Ending:
    def body() -> None:
        meeting.wait_at_start(index, timeout=timeout)
        item.ihook.pytest_pyfunc_call(pyfuncitem=item)

    called = pytest.CallInfo.from_call(body, "call")
    if called.excinfo is None:
        return Ending(outcome="passed", how="passed")
    error = called.excinfo.value
    for outcome, how, kind in (
        ("skipped", "was skipped", pytest.skip.Exception),
        ("xfailed", "failed as expected", pytest.xfail.Exception),
        ("exit", "asked pytest to exit", pytest.exit.Exception),
    ):
        if isinstance(error, kind):
            return Ending(outcome=outcome, how=how, text=str(error))
    text = str(item.repr_failure(called.excinfo))
    return Ending(outcome="failed", how="failed", text=text, is_consequence=isinstance(error, BarrierNotMet))


def _death(code: int, status: int) -> Ending:
    if code in {os.CLD_KILLED, os.CLD_DUMPED}:
        return Ending(outcome="died", how=f"was killed by {signal.Signals(status).name}")
    return Ending(outcome="died", how=f"ended its process with exit code {status}")


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of threads, and pytest-xdist has one. The child never waits for a lock of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _prepare_to_die_with_parent() -> Callable[[], None]:
    """What a child calls so that it does not outlive this process. Linux only; elsewhere barriers look for it."""
    parent = os.getpid()
    if sys.platform != "linux":
        return lambda: None
    import ctypes

    prctl = ctypes.CDLL(None).prctl

    def die_with_parent() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(_BROKEN)

    return die_with_parent
