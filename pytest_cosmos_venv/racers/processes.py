"""How does one test item become N processes? By forking when its fixtures are set up, for the test's body alone.

Fixtures are set up and torn down once, in the process that runs the tests. It waits for its copies, tells them of each
other's end, and reports one test.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_cosmos_venv.racers.keeper import Keeper
from pytest_cosmos_venv.racers.meeting import BarrierNotMet, Ending, Meeting
from pytest_cosmos_venv.racers.output import Output

if TYPE_CHECKING:
    from pytest_cosmos_venv.racers.racer import Racer


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

    def __post_init__(self) -> None:
        self.output = Output(self.meeting.folder / "output", captured=self.item.config.getoption("capture") != "no")

    def run(self) -> list[Ending]:
        """How each racer ended. No process is left, also when this raises."""
        self.output.flush()
        bell, ring = os.pipe()
        keeper = self._start_keeper(bell)
        try:
            # A signal's handler may raise out of it, and a frozen clock has no part in it.
            os.waitid(os.P_PID, keeper, os.WEXITED | os.WNOWAIT)
        finally:
            os.write(ring, b".")
            os.waitpid(keeper, 0)
            os.close(bell)
            os.close(ring)
            self._add_sections()
        return [self._ending(index) for index in range(self.meeting.racers)]

    def _start_keeper(self, bell: int) -> int:
        parent, pid = os.getpid(), _fork()
        if pid == 0:
            Keeper(self.meeting, self._race, timeout=self.timeout, bell=bell).run(parent)
        return pid

    def _race(self, index: int) -> None:
        with self.output.redirected(index):
            self.racer._start(index)
            self.meeting.end(index, _run_body(self.item, self.meeting, index, self.timeout))

    def _add_sections(self) -> None:
        for index in range(self.meeting.racers):
            for name, text in self.output.of(index):
                self.item.add_report_section("call", f"{name} racer {index}", text)

    def _ending(self, index: int) -> Ending:
        return self.meeting.ending(index) or Ending(outcome="died", how="was never heard of")


def conclude(meeting: Meeting, endings: list[Ending]) -> None:
    """Let the one test that is reported end as its copies did: one that failed makes it fail, else one that passed
    makes it pass.
    """
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
    if "passed" in by_outcome:
        return
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


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of threads, and pytest-xdist has one. The child never waits for a lock of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
