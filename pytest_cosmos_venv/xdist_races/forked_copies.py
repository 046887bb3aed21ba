"""One test item as several processes, by forking; the keeper of these processes; and the files for their output.

Copies of one test part when its fixtures are set up, for the body alone; the process that runs the tests sets up and
tears down. Racers of a race across workers that has to run here part before that: each sets up and tears down fixtures
of its own, as in a worker. Either way the process that runs the tests waits for its copies, tells them of each other's
end, and reports one test.

The keeper is a process between the copies and the tests' own. It forks the copies, writes down how they end, and leaves
nothing of what they started behind. It is their subreaper, so that whatever a racer leaves behind becomes its child, in
whatever session that is.

A racer's standard streams and its log go into files of its own, which outlive its death.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import UnsupportedOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import AlreadyTaken
from pytest_cosmos_venv.processes.descendants import adopt_orphans, die_with_parent, end_descendants
from pytest_cosmos_venv.shared_folders import RUN_FOLDER
from pytest_cosmos_venv.xdist_races import INDEX
from pytest_cosmos_venv.xdist_races.barrier import LOOK_AGAIN, BarrierNotMet, Barriers, Ending
from pytest_cosmos_venv.xdist_races.marker import racer_id

if TYPE_CHECKING:
    from pytest_cosmos_venv.xdist_races.racer import Racer


_BROKEN = 70  # EX_SOFTWARE: it is not the test that failed
_STREAMS = (("stdout", 1), ("stderr", 2))
_NAMES = ("stdout", "stderr", "log")
_LOG_FORMAT = "%(levelname)-8s %(name)s:%(filename)s:%(lineno)d %(message)s"
_TAKEN_BY_A_RACER = (
    "Another racer may have taken it, since the racers of this test share its fixtures, tmp_path among them. Let one "
    "make it for all, in cosmos_racer.once(…); or put cosmos_racer.index into its name; or let each have fixtures of "
    "its own, with cosmos_race(…, across_workers=True)."
)


class Keeper:
    """One race, from the fork of its racers to the death of their last descendant; in a process of its own.

    :param barriers: the barriers of the race; the ends of racers are written down there.
    :param body: what the racer of an index does; it writes down how that ended.
    :param timeout: seconds that they may take.
    :param bell: a descriptor in which there is something to read when the race shall be over.
    """

    def __init__(self, barriers: Barriers, body: Callable[[int], None], *, timeout: float, bell: int) -> None:
        self._barriers = barriers
        self._body = body
        self._timeout = timeout
        self._bell = bell
        self._children: dict[int, int] = {}  # index -> PID

    def run(self, parent: int) -> NoReturn:
        """Run the whole race, to the end of this process.

        :param parent: PID of the process that runs the tests; when it has died the race is over.
        """

        def work() -> None:
            # What the terminal sends to the tests, as for Ctrl-C, is not for this process.
            os.setpgid(0, 0)
            adopt_orphans()
            try:
                for index in range(self._barriers.racers):
                    self._start(index)
                self._wait(parent)
            finally:
                self._end_all()

        _run_and_exit(work)

    def _start(self, index: int) -> None:
        keeper, pid = os.getpid(), os.fork()
        if pid == 0:
            _run_and_exit(lambda: self._race(index, keeper))
        # In both processes: whichever runs first, the group is there before it is signalled.
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
                    self._barriers.end(index, _death(found.si_code, found.si_status))
            if real_time.monotonic() > end:
                for index in running:
                    self._barriers.end(index, self._too_long())
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
    """Do the work of a forked process, and never run what is behind, which is pytest's."""
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


@dataclass(frozen=True)
class Output:
    """The output files of all racers of one race.

    :param folder: the folder in which they lie; made when something is written.
    :param captured: False lets the racers write where the tests' process does, as ``pytest -s`` asks for.
    """

    folder: Path
    captured: bool

    def flush(self) -> None:
        """Empty the buffers before forking: what is still in them would be written by every child again."""
        for name, _ in _STREAMS:
            getattr(sys, name).flush()

    @contextmanager
    def redirected(self, index: int) -> Iterator[None]:
        """Lead the streams and the log of the racer's own process into its files, for good: the process ends with the
        block.

        :param index: the index of the racer, from 0.
        """
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if not self.captured:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {name: self._file(index, name).open("w+b", buffering=0) for name in _NAMES}
        for name, descriptor in _STREAMS:
            for number in {descriptor, _number(getattr(sys, name))} - {None}:
                os.dup2(files[name].fileno(), int(number or descriptor))
        handler = logging.StreamHandler(open(files["log"].fileno(), "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        handler.setFormatter(logging.Formatter(_LOG_FORMAT))
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            for name, _ in _STREAMS:
                files[name].write(_in_memory(getattr(sys, name)))

    def of(self, index: int) -> Iterator[tuple[str, str]]:
        """The output of a racer, as pairs such as ``("stdout", "…")``.

        :param index: the index of the racer, from 0.
        """
        for name in _NAMES:
            with suppress(FileNotFoundError):
                text = self._file(index, name).read_text(encoding="utf-8", errors="replace")
                if text:
                    yield name, text

    def _file(self, index: int, name: str) -> Path:
        return self.folder / f"{index}.{name}"


def _number(stream: Any) -> int | None:
    """The file that pytest captures a stream in; None where that is memory."""
    try:
        stream.flush()
        return int(stream.fileno())
    except (AttributeError, UnsupportedOperation, ValueError):
        return None


def _in_memory(stream: Any) -> bytes:
    stream.flush()
    return str(stream.getvalue()).encode() if _number(stream) is None and hasattr(stream, "getvalue") else b""


@dataclass
class Copies:
    """The copies of one test, as processes.

    :param item: the test, with the fixtures set up that all copies share.
    :param racer: what the fixture has given; each copy makes it its own.
    :param barriers: the barriers of the race.
    :param timeout: seconds that the copies may take.
    :param fixtures: names of all fixtures of the test, where each copy sets up those that are missing; else None.
    :ivar output: what the copies write, in files below the folder of the race.
    """

    item: pytest.Function
    racer: Racer
    barriers: Barriers
    timeout: float
    fixtures: list[str] | None
    output: Output = field(init=False)

    def __post_init__(self) -> None:
        self.output = Output(self.barriers.folder / "output", captured=self.item.config.getoption("capture") != "no")

    def run(self) -> list[Ending]:
        """Run the copies; returns how each racer ended. No process is left, also when this raises."""
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
            for index in range(self.barriers.racers):
                for name, text in self.output.of(index):
                    self.item.add_report_section("call", f"{name} racer {index}", text)
        unknown = Ending(outcome="died", how="was never heard of")
        return [self.barriers.ending(index) or unknown for index in range(self.barriers.racers)]

    def _start_keeper(self, bell: int) -> int:
        parent, pid = os.getpid(), _fork()
        if pid == 0:
            Keeper(self.barriers, self._race, timeout=self.timeout, bell=bell).run(parent)
        return pid

    def _race(self, index: int) -> None:
        with self.output.redirected(index):
            copy = _Copy(self.item, self.racer, self.barriers, index, self.timeout)
            ending = copy.run() if self.fixtures is None else copy.run_with_own(self.fixtures)
            self.barriers.end(index, ending)


@dataclass
class _Copy:
    """One copy, in a process of its own that ends with it: nothing that is changed here is put back."""

    item: pytest.Function
    racer: Racer
    barriers: Barriers
    index: int
    timeout: float
    _failed_reports: list[pytest.TestReport] = field(default_factory=list)
    _shares_fixtures: bool = True

    def __post_init__(self) -> None:
        # What reports as the test goes on, as subtests do, would speak with a terminal or a controller of the parent.
        vars(self.item.config.hook)["pytest_runtest_logreport"] = self._take_report

    def run(self) -> Ending:
        """Run the body; returns how it ended."""
        self.racer._start(self.index)
        return self._ending_of(self._body)

    def run_with_own(self, fixtures: list[str]) -> Ending:
        """Set up fixtures, run the body and tear the fixtures down, as the test that this racer is in a worker.

        :param fixtures: names of all fixtures of the test.
        :returns: how it ended.
        """
        self._shares_fixtures = False
        self._become_that_test()
        self.item.fixturenames = fixtures
        ending = self._ending_of(self.item.setup, phase="in its setup")
        self.racer._start(self.index)
        if ending.outcome == "passed":
            ending = self._ending_of(self._body)
        if ending.outcome != "passed":
            self.barriers.end(self.index, ending)  # no other racer shall wait while fixtures are torn down
        torn_down = self._ending_of(self._tear_down, phase="in its teardown")
        return torn_down if ending.outcome == "passed" else ending

    def _body(self) -> None:
        self.barriers.wait_at_start(self.index, timeout=self.timeout)
        self.item.ihook.pytest_pyfunc_call(pyfuncitem=self.item)
        if self._failed_reports:
            texts = [report.longreprtext for report in self._failed_reports]
            pytest.fail("\n\n".join([f"contains {len(texts)} failed subtests", *texts]), pytrace=False)

    def _tear_down(self) -> None:
        # What the hook of this name calls. Plugins behind that hook have set up nothing here.
        self.item.session._setupstate.teardown_exact(self.item.parent)  # type: ignore[arg-type]

    def _become_that_test(self) -> None:
        """Take the name, the parameter and the folder for temporary files that the racer's test would have."""
        item, racers = self.item, self.barriers.racers
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
            base = factory.getbasetemp()
            item.config.stash[RUN_FOLDER] = base.parent if hasattr(item.config, "workerinput") else base
            # Its tmp_path then lies in a folder of its own, as in a worker.
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


def conclude(barriers: Barriers, endings: list[Ending]) -> None:
    """Let the one test that is reported end as its copies did.

    One that failed makes it fail, else one that passed makes it pass.

    :param barriers: the barriers of the race, which name the racers.
    :param endings: how each racer ended, by index.
    """
    numbered = list(enumerate(endings))
    by_outcome = {ending.outcome: ending for ending in endings}
    failed = [(index, ending) for index, ending in numbered if ending.outcome in {"failed", "died"}]
    if "exit" in by_outcome:
        pytest.exit(by_outcome["exit"].text)
    if failed:
        # Causes first: the others only say that they waited for those.
        failed.sort(key=lambda one: one[1].is_consequence)
        texts = [f"{barriers.who(index)} {ending.how}.\n{ending.text}".rstrip() for index, ending in failed]
        # The first line is all that the summary at the end of the run shows.
        head = f"{barriers.who(failed[0][0])} {failed[0][1].how}; {len(failed)} of {len(endings)} racers failed."
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
