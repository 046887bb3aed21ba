"""Where the copies of a marked test run: in the workers of pytest-xdist, or in processes forked from pytest's process.

Each copy is a test. Where there are not enough workers, one of these tests runs all copies in forked processes, and the
other tests are deselected.

The fork happens before function-scoped fixtures are set up: each copy sets up and tears down its own fixtures, as in a
worker. The process that runs the tests waits for its copies and reports one test. A supervisor stands between that
process and the copies and ends every process that the copies have started. The standard streams and the log of a copy
go into a file of this copy, which remains when the copy is killed.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.marked_races.mark import (
    INDEX,
    MARK,
    copy_id,
    find_races,
    race_name,
    race_of,
)
from pytest_cosmos_venv.marked_races.workers import offered, run_races
from pytest_cosmos_venv.races.contender import Contender, flush
from pytest_cosmos_venv.races.meeting import BarrierNotMet, Ending, Meeting, contender_name
from pytest_cosmos_venv.races.prepared import SupervisorLink
from pytest_cosmos_venv.races.spans import ACTOR_VARIABLE
from pytest_cosmos_venv.races.supervisor import Supervisor
from pytest_cosmos_venv.races.timeline import Timeline
from pytest_cosmos_venv.shared_folders import RUN_FOLDER

_LOG_FORMAT = "%(levelname)-8s %(name)s:%(filename)s:%(lineno)d %(message)s"
_BEFORE_FORKS = "_cosmos_airflow_for_runs"
"""The fixture that prepares Airflow before the fork; each forked copy would spend seconds on it."""

_ACROSS = pytest.StashKey[Meeting]()
_FORKED = pytest.StashKey[Meeting]()
_HAS_RACED = pytest.StashKey[bool]()
_FIXTURES = pytest.StashKey[list[str]]()


def settle(session: pytest.Session) -> None:
    """Run the races for which there are enough workers; keep one test of every other race, which runs all copies.

    :param session: the session, with all that was collected.
    """
    races = _races_of(session)
    root, workers = offered(session.config)
    found = {race.name: race for race in find_races([item.nodeid for item in session.items], workers=workers)}
    dropped: set[pytest.Item] = set()
    for name, copies in races.items():
        first, *others = copies.values()
        if name not in found:
            if workers:
                _note(first, _why_not(race_of(first).contenders, set(copies), workers))
            dropped.update(others)
    if found:
        run_races(session, list(found.values()), root, _give_meeting)
    for race in found.values():
        for position in race.positions:
            session.items[position].stash[_HAS_RACED] = True
    if dropped:
        session.items[:] = [item for item in session.items if item not in dropped]
        session.config.hook.pytest_deselected(items=list(dropped))


def _races_of(session: pytest.Session) -> dict[str, dict[int, pytest.Item]]:
    """The races that are to be run: name of the race -> index of the copy -> copy."""
    races: dict[str, dict[int, pytest.Item]] = defaultdict(dict)
    option = session.config.option
    if option.collectonly or (session.testsfailed and not option.continue_on_collection_errors):
        return races
    for item in session.items:
        index = _index_of(item)
        if index is not None:
            races[race_name(item.nodeid)].setdefault(index, item)
    return races


def _give_meeting(item: pytest.Item, meeting: Meeting) -> float:
    item.stash[_ACROSS] = meeting
    return race_of(item).timeout


def has_raced(item: pytest.Item) -> bool:
    """Return whether a copy has raced across workers. pytest-xdist hands out such a copy again; it is then skipped.

    :param item: any test.
    """
    return item.stash.get(_HAS_RACED, False)


def tear_down_before(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Tear down fixtures that the next test does not need: the test before the copy has kept them for the copy.

    :param item: a copy that is skipped because it has raced.
    :param nextitem: the next test; None: there is none.
    """
    # The teardown hooks are not called: plugins expect that the test of such a hook has been set up.
    call = pytest.CallInfo.from_call(lambda: item.session._setupstate.teardown_exact(nextitem), when="teardown")
    if call.excinfo is not None:
        item.ihook.pytest_runtest_logreport(report=pytest.TestReport.from_item_and_call(item, call))


def leave_fixtures_to_copies(item: pytest.Function) -> None:
    """Let forked copies set up their own function-scoped fixtures, as in a worker; wider fixtures are shared.

    :param item: a marked test, before its fixtures are set up.
    """
    names = item.stash.setdefault(_FIXTURES, item.fixturenames)
    is_across = _ACROSS in item.stash
    item.fixturenames = names if is_across else [name for name in names if _is_shared(item, name)]


def _is_shared(item: pytest.Function, name: str) -> bool:
    """Whether all copies share a fixture."""
    found = item._fixtureinfo.name2fixturedefs.get(name)
    return name == _BEFORE_FORKS or (found is not None and len(found) > 0 and found[-1].scope != "function")


@contextmanager
def entering(item: pytest.Item) -> Iterator[Contender]:
    """Yield the contender of this process, for one run of a test.

    :param item: a marked test, or a copy of one.
    """
    across = item.stash.get(_ACROSS, None)
    meeting = item.stash[_FORKED] if across is None else across
    index = cast("int", _index_of(item))
    worker = None if across is None else str(item.config.workerinput["workerid"])  # type: ignore[attr-defined] # xdist's
    contender = Contender(index, meeting.count, meeting.shared, meeting=meeting)
    meeting.introduce(index, worker=worker)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ACTOR_VARIABLE, contender.name)
        yield contender


def call(item: pytest.Function) -> bool | None:
    """Start the race before the body of the test runs; return True when forked copies ran the body, else None.

    Forked copies call this function too; then it returns None, and pytest runs the body.

    :param item: a marked test.
    """
    race, across = race_of(item), item.stash.get(_ACROSS, None)
    if across is not None:
        index = cast("int", _index_of(item))
        across.wait_for_all("start", index, what="the start of the race", timeout=race.timeout)
        return None
    if item.fixturenames is item.stash[_FIXTURES]:  # a copy has set up all of them
        return None
    factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined] # of pytest's tmpdir
    meeting = item.stash[_FORKED] = Meeting(folder=factory.mktemp("cosmos-race"), count=race.contenders)
    conclude(meeting, run_copies(item, meeting, item.stash[_FIXTURES], timeout=race.timeout))
    return True


def complete(item: pytest.Item, report: pytest.TestReport) -> None:
    """Take note that a phase of a test is over.

    :param item: a marked test.
    :param report: the report of the phase; it gets sections of the race when the test failed.
    """
    index, across = cast("int", _index_of(item)), item.stash.get(_ACROSS, None)
    meeting = item.stash.get(_FORKED, None) if across is None else across
    if meeting is not None and report.when == "call" and report.failed:
        others = [other for other in range(meeting.count) if other != index and meeting.ending(other) is None]
        if others:
            report.sections.append(("Contenders that had not ended", "\n".join(map(meeting.who, others))))
        timeline = Timeline.read(meeting.events)
        if timeline:
            report.sections.append(("Timeline of the race", str(timeline)))
    if across is not None and (report.when == "call" or not report.passed):
        where = " in its setup" if report.when == "setup" else ""
        verb = "was skipped" if report.skipped else report.outcome
        across.end(index, Ending(outcome=report.outcome, how=verb + where))
        # Plugins run a failed test again in the same worker. The copies of other workers do not race again, so the
        # repeated test runs all copies itself.
        del item.stash[_ACROSS]


def notes(reports: list[Any]) -> Mapping[str, list[str]]:
    """Return reason -> ids of the tests that did not race across the workers of this run.

    :param reports: the reports of all tests of the run.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for report in reports:
        for name, value in getattr(report, "user_properties", ()):
            if name == MARK:
                found[value].append(report.nodeid)
    return found


def _note(item: pytest.Item, why: str) -> None:
    item.user_properties.append((MARK, why))


def _index_of(item: pytest.Item) -> int | None:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(INDEX)


def _why_not(size: int, present: set[int], workers: int) -> str:
    if workers < size:
        return f"{size} contenders need {size} workers of pytest-xdist, this run has {workers}"
    missing = [copy_id(index, size) for index in range(size) if index not in present]
    return f"not selected: {', '.join(missing)}" if missing else "tests with equal ids were collected"


def run_copies(item: pytest.Function, meeting: Meeting, fixtures: list[str], *, timeout: float) -> list[Ending]:
    """Run the copies of a test and return the end of each copy. No process is left, even when this function raises.

    :param item: the test, whose shared fixtures are set up.
    :param meeting: where the copies meet.
    :param fixtures: names of all fixtures of the test; each copy sets up the fixtures that are missing.
    :param timeout: seconds that the copies may take.
    """
    is_captured = item.config.getoption("capture") != "no"
    outputs = [meeting.folder / "output" / contender_name(index) for index in range(meeting.count)]
    flush()  # otherwise every child would write the content of the buffers again

    def body(index: int, _ready: int, _start: int) -> None:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if is_captured:
            _lead_output_into(outputs[index])
        meeting.end(index, _Copy(item, meeting, index, timeout).run(fixtures))
        flush()

    own, other = Pipe()
    pid = _fork()
    if pid == 0:
        try:
            own.close()
            os.setsid()  # signals of the terminal, such as SIGINT for Ctrl-C, must not reach this process
            Supervisor(other, meeting, body).run()
        except BaseException:  # noqa: BLE001 - nothing may get back into the process that runs the tests
            traceback.print_exc()
        finally:
            os._exit(0)
    other.close()
    link = SupervisorLink(own, meeting.count)
    end = real_time.monotonic() + timeout
    try:
        while link.running and real_time.monotonic() < end:
            link.listen(0.05)
        how = f"was killed because it had not ended after {timeout:g} s (cosmos_race(…, timeout=…) allows more)"
        for index in link.running:
            meeting.end(index, Ending(outcome="died", how=how))
        link.finish(grace=0.0)
    finally:
        link.close()
        os.waitpid(pid, 0)
        for file in outputs:
            text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
            if text:
                item.add_report_section("call", f"output {file.name}", text)
    return [meeting.ending(index) or Ending(outcome="died", how="was never heard of") for index in range(meeting.count)]


def _lead_output_into(file: Path) -> None:
    """Lead the streams and the log of this process into a file, for good: the process ends with its copy."""
    file.parent.mkdir(exist_ok=True)
    stream = file.open("w", buffering=1, encoding="utf-8", errors="replace")
    for descriptor in (1, 2):
        os.dup2(stream.fileno(), descriptor)
    sys.stdout = sys.stderr = stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(_LOG_FORMAT))
    logging.getLogger().addHandler(handler)


@dataclass
class _Copy:
    """One copy of the test, in its own process. The process ends with the copy, so changes are not undone."""

    item: pytest.Function
    meeting: Meeting
    index: int
    timeout: float

    def run(self, fixtures: list[str]) -> Ending:
        """Set up fixtures, run the body and tear the fixtures down, as a worker does for this copy.

        :param fixtures: names of all fixtures of the test.
        :returns: how the copy ended.
        """
        self._become_that_test()
        self.item.fixturenames = fixtures
        ending = self._ending_of(self.item.setup, phase="in its setup")
        if ending.outcome == "passed":
            ending = self._ending_of(self._body)
        if ending.outcome != "passed":
            self.meeting.end(self.index, ending)  # before the teardown, so that other copies do not wait for it
        torn_down = self._ending_of(self._tear_down, phase="in its teardown")
        return torn_down if ending.outcome == "passed" else ending

    def _body(self) -> None:
        self.meeting.wait_for_all("start", self.index, what="the start of the race", timeout=self.timeout)
        self.item.ihook.pytest_pyfunc_call(pyfuncitem=self.item)

    def _tear_down(self) -> None:
        # The body of pytest's own pytest_runtest_teardown. Hooks of other plugins are not called: they set up nothing.
        self.item.session._setupstate.teardown_exact(self.item.parent)  # type: ignore[arg-type]

    def _become_that_test(self) -> None:
        """Take over the name, the parameter and the temporary folder that this copy has in a worker."""
        item, count = self.item, self.meeting.count
        parameters: dict[str, Any] = item.callspec.params
        former = copy_id(parameters[INDEX], count)
        own = copy_id(self.index, count)
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
            # The tmp_path of the copy then lies in a folder that no other copy uses, as in a worker.
            factory._basetemp = factory.mktemp(own)

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
        is_consequence = isinstance(error, BarrierNotMet)
        return Ending(outcome="failed", how="failed" + where, text=text, is_consequence=is_consequence)


def conclude(meeting: Meeting, endings: list[Ending]) -> None:
    """Give the one test that is reported the outcome of its copies.

    The test fails when a copy failed; otherwise it passes when a copy passed.

    :param meeting: where the copies have met, which names them.
    :param endings: how each copy ended, by index.
    """
    numbered = list(enumerate(endings))
    by_outcome = {ending.outcome: ending for ending in endings}
    failed = [(index, ending) for index, ending in numbered if ending.outcome in {"failed", "died"}]
    if "exit" in by_outcome:
        pytest.exit(by_outcome["exit"].text)
    if failed:
        # Causes first: the other failures only say that a copy waited for a failed copy.
        failed.sort(key=lambda one: one[1].is_consequence)
        texts = [f"{meeting.who(index)} {ending.how}.\n{ending.text}".rstrip() for index, ending in failed]
        # The first line is all that the summary at the end of the run shows.
        head = f"{meeting.who(failed[0][0])} {failed[0][1].how}; {len(failed)} of {len(endings)} contenders failed."
        pytest.fail(f"{head}\n\n" + "\n\n".join(texts), pytrace=False)
    if "passed" in by_outcome:
        return
    if "xfailed" in by_outcome:
        pytest.xfail(by_outcome["xfailed"].text)
    if "skipped" in by_outcome:
        pytest.skip(by_outcome["skipped"].text)


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads, and pytest-xdist has a thread. The child never takes its locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
