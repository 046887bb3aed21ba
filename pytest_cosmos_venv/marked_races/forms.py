"""Where the copies of a marked test run: in the workers of pytest-xdist, or in processes forked from one.

Each copy is a test of its own. Where there are not enough workers one of these tests runs all copies, in processes that
are forked from it, and the others are deselected.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import pytest

from pytest_cosmos_venv.marked_races.mark import (
    INDEX,
    MARK,
    copy_id,
    find_races,
    race_name,
    race_of,
)
from pytest_cosmos_venv.marked_races.workers import offered, run_races
from pytest_cosmos_venv.races.contender import Contender
from pytest_cosmos_venv.races.meeting import Ending, Meeting
from pytest_cosmos_venv.races.spans import ACTOR_VARIABLE
from pytest_cosmos_venv.races.timeline import Timeline

_BEFORE_FORKS = "_cosmos_airflow_for_runs"
"""The fixture that makes ready what each forked copy would make for itself, at the cost of seconds."""

_ACROSS = pytest.StashKey[Meeting]()
_FORKED = pytest.StashKey[Meeting]()
_HAS_RACED = pytest.StashKey[bool]()
_FIXTURES = pytest.StashKey[list[str]]()


def settle(session: pytest.Session) -> None:
    """Run the races that this run has enough workers for; of each other race keep one test, which runs all copies.

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
    """Name -> index -> copy of all races that are to be run."""
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
    """Return whether a copy has raced across workers, so that it is passed over when its turn comes.

    :param item: any test.
    """
    return item.stash.get(_HAS_RACED, False)


def tear_down_before(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Tear down what the next test does not need. The test before a copy has left fixtures of the file for the copy.

    :param item: a copy that is passed over.
    :param nextitem: the next test; None: there is none.
    """
    # Not by the hooks of a teardown: plugins expect the test of such a hook to have been set up.
    call = pytest.CallInfo.from_call(lambda: item.session._setupstate.teardown_exact(nextitem), when="teardown")
    if call.excinfo is not None:
        item.ihook.pytest_runtest_logreport(report=pytest.TestReport.from_item_and_call(item, call))


def leave_fixtures_to_copies(item: pytest.Function) -> None:
    """Have forked copies set up their own fixtures, as they would in a worker; those of a wider scope are shared.

    :param item: a marked test, before its fixtures are set up.
    """
    names = item.stash.setdefault(_FIXTURES, item.fixturenames)
    is_across = _ACROSS in item.stash
    item.fixturenames = names if is_across else [name for name in names if _is_shared(item, name)]


def _is_shared(item: pytest.Function, name: str) -> bool:
    """Whether all copies have one such fixture."""
    found = item._fixtureinfo.name2fixturedefs.get(name)
    return name == _BEFORE_FORKS or (found is not None and len(found) > 0 and found[-1].scope != "function")


@contextmanager
def entering(item: pytest.Item) -> Iterator[Contender]:
    """Yield the contender that this process is for one run of a test.

    :param item: a marked test, or a copy of one.
    """
    across = item.stash.get(_ACROSS, None)
    meeting = item.stash[_FORKED] if across is None else across
    index = cast("int", _index_of(item))
    worker = None if across is None else str(item.config.workerinput["workerid"])  # type: ignore[attr-defined] # xdist's
    contender = Contender(index, meeting.count, meeting.shared, meeting=meeting)
    meeting.introduce(index, worker=worker)
    before = os.environ.get(ACTOR_VARIABLE)
    os.environ[ACTOR_VARIABLE] = contender.name
    yield contender
    os.environ.pop(ACTOR_VARIABLE)
    if before is not None:
        os.environ[ACTOR_VARIABLE] = before


def call(item: pytest.Function) -> bool | None:
    """Start the race before the body of the test is run; True when the body was run by copies, else None.

    It does so only the first time, for copies come by here too.

    :param item: a marked test.
    """
    race, across = race_of(item), item.stash.get(_ACROSS, None)
    if across is not None:
        index = cast("int", _index_of(item))
        across.wait_for_all("start", index, what="the start of the race", timeout=race.timeout)
        return None
    if item.fixturenames is item.stash[_FIXTURES]:  # a copy has set up all of them
        return None
    from pytest_cosmos_venv.marked_races.copies import conclude, run_copies

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
        # Plugins run a failed test again, in the same worker; its siblings have gone on, and it runs all copies.
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
