"""One test item becomes N processes, by forking.

Copies of one test part when its fixtures are set up, for the body alone; the process that runs the tests sets up and
tears down. Racers of a race across workers that has to run here part before that: each sets up and tears down fixtures
of its own, as in a worker. Either way the process that runs the tests waits for its copies, tells them of each other's
end, and reports one test.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pytest_cosmos_venv.errors import AlreadyTaken
from pytest_cosmos_venv.racers import INDEX
from pytest_cosmos_venv.racers.keeper import Keeper
from pytest_cosmos_venv.racers.meeting import BarrierNotMet, Ending, Meeting
from pytest_cosmos_venv.racers.names import racer_id
from pytest_cosmos_venv.racers.output import Output

if TYPE_CHECKING:
    from pytest_cosmos_venv.racers.racer import Racer


_TAKEN_BY_A_RACER = (
    "Another racer may have taken it, since the racers of this test share its fixtures, tmp_path among them. Let one "
    "make it for all, in cosmos_racer.once(…); or put cosmos_racer.index into its name; or let each have fixtures of "
    "its own, with cosmos_race(…, across_workers=True)."
)


@dataclass
class Copies:
    """The copies of one test, as processes.

    :param item: the test, with the fixtures set up that all copies share.
    :param timeout: seconds that they may take.
    :param fixtures: names of all fixtures of the test, where each copy sets up those that are missing; else None.
    """

    item: pytest.Function
    racer: Racer
    meeting: Meeting
    timeout: float
    fixtures: list[str] | None
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
            copy = _Copy(self.item, self.racer, self.meeting, index, self.timeout)
            ending = copy.run() if self.fixtures is None else copy.run_with_own(self.fixtures)
            self.meeting.end(index, ending)

    def _add_sections(self) -> None:
        for index in range(self.meeting.racers):
            for name, text in self.output.of(index):
                self.item.add_report_section("call", f"{name} racer {index}", text)

    def _ending(self, index: int) -> Ending:
        return self.meeting.ending(index) or Ending(outcome="died", how="was never heard of")


@dataclass
class _Copy:
    """One copy, in a process of its own that ends with it: nothing that is changed here is put back."""

    item: pytest.Function
    racer: Racer
    meeting: Meeting
    index: int
    timeout: float
    _failed_reports: list[pytest.TestReport] = field(default_factory=list)
    _shares_fixtures: bool = True

    def __post_init__(self) -> None:
        # What reports as the test goes on, as subtests do, would speak with a terminal or a controller of the parent.
        vars(self.item.config.hook)["pytest_runtest_logreport"] = self._take_report

    def run(self) -> Ending:
        """The body; returns how it ended."""
        self.racer._start(self.index)
        return self._ending_of(self._body)

    def run_with_own(self, fixtures: list[str]) -> Ending:
        """Fixtures, body and the end of the fixtures, as the test that this racer is in a worker."""
        self._shares_fixtures = False
        self._become_that_test()
        self.item.fixturenames = fixtures
        ending = self._ending_of(self.item.setup, phase="in its setup")
        self.racer._start(self.index)
        if ending.outcome == "passed":
            ending = self._ending_of(self._body)
        if ending.outcome != "passed":
            self.meeting.end(self.index, ending)  # nobody shall wait for it while fixtures are torn down
        torn_down = self._ending_of(self._tear_down, phase="in its teardown")
        return torn_down if ending.outcome == "passed" else ending

    def _body(self) -> None:
        self.meeting.wait_at_start(self.index, timeout=self.timeout)
        self.item.ihook.pytest_pyfunc_call(pyfuncitem=self.item)
        if self._failed_reports:
            texts = [report.longreprtext for report in self._failed_reports]
            pytest.fail("\n\n".join([f"contains {len(texts)} failed subtests", *texts]), pytrace=False)

    def _tear_down(self) -> None:
        # What the hook of this name calls. Plugins behind that hook have set up nothing here.
        self.item.session._setupstate.teardown_exact(self.item.parent)  # type: ignore[arg-type]

    def _become_that_test(self) -> None:
        """Its name, its parameter and its folder for temporary files."""
        item, racers = self.item, self.meeting.racers
        parameters: dict[str, Any] = item.callspec.params
        former = racer_id(parameters[INDEX], racers)
        own = racer_id(self.index, racers)
        item.name = item.name.replace(former, own)
        for name in ("_id", "_nodeid"):  # of pytest from 9.2 on, and before
            given = getattr(item, name, None)
            if given is not None:
                text = str(given).replace(former, own)
                setattr(item, name, text if isinstance(given, str) else type(given).parse(text))
        os.environ["PYTEST_CURRENT_TEST"] = os.environ.get("PYTEST_CURRENT_TEST", "").replace(former, own)
        parameters[INDEX] = self.index
        factory: pytest.TempPathFactory | None = getattr(item.config, "_tmp_path_factory", None)
        if factory is not None:
            factory._basetemp = factory.mktemp(own)

    def _take_report(self, *, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed_reports.append(report)

    def _ending_of(self, work: Callable[[], None], *, phase: str = "") -> Ending:
        called = pytest.CallInfo.from_call(work, "call")
        if called.excinfo is None:
            return Ending(outcome="passed", how="passed")
        error, where = called.excinfo.value, f" {phase}".rstrip()
        for outcome, how, kind in (
            ("skipped", "was skipped", pytest.skip.Exception),
            ("xfailed", "failed as expected", pytest.xfail.Exception),
            ("exit", "asked pytest to exit", pytest.exit.Exception),
        ):
            if isinstance(error, kind):
                return Ending(outcome=outcome, how=how + where, text=str(error))
        text = str(self.item.repr_failure(called.excinfo))
        if self._shares_fixtures and isinstance(error, AlreadyTaken):
            text = f"{text}\n{_TAKEN_BY_A_RACER}"
        is_consequence = isinstance(error, BarrierNotMet)
        return Ending(outcome="failed", how="failed" + where, text=text, is_consequence=is_consequence)


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


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of threads, and pytest-xdist has one. The child never waits for a lock of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
