"""The two forms of a race: copies in processes of their own, which are one test, and racers across workers.

Racers across workers are tests of their own. A race that was asked to run across workers and cannot becomes the first
form, with a note.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_cosmos_venv.xdist_races import BEFORE_FORKS, INDEX, MARK
from pytest_cosmos_venv.xdist_races.barrier import Barriers, Ending, is_announced, read_release
from pytest_cosmos_venv.xdist_races.marker import find_races, race_folder, race_name, race_of, racer_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_cosmos_venv.xdist_races.racer import Racer

OFFER = "cosmos_races"
"""Key in the input of a worker where the other side hands out races: ``{"folder": …, "workers": …}``."""

_ACROSS = pytest.StashKey[Barriers]()
_FIXTURES = pytest.StashKey[list[str]]()
_IN_CALL = pytest.StashKey[bool]()
_RACER = pytest.StashKey["Racer"]()
_START = pytest.StashKey["Callable[[], bool | None]"]()
_HAS_RACED = pytest.StashKey[bool]()


def settle(session: pytest.Session) -> None:
    """Decide for every race across workers among the collected tests; of one that cannot be, keep one test.

    That test runs all copies, so the others would repeat it.

    :param session: the session, with all that was collected.
    """
    races: dict[str, dict[int, pytest.Item]] = defaultdict(dict)
    for item in session.items:
        index = _index_of(item)
        if index is not None:
            races[race_name(item.nodeid)].setdefault(index, item)
    if not races or session.config.option.collectonly:
        return
    offer: dict[str, Any] = getattr(session.config, "workerinput", {}).get(OFFER) or {"workers": 0, "folder": ""}
    ids = [item.nodeid for item in session.items]
    possible = {race.name for race in find_races(ids, workers=offer["workers"])}
    dropped: list[pytest.Item] = []
    for name, racers in races.items():
        size = race_of(next(iter(racers.values()))).racers
        if name in possible:
            barriers = Barriers(folder=race_folder(Path(offer["folder"]), name), racers=size)
            for item in racers.values():
                item.stash[_ACROSS] = barriers
        else:
            first, *others = racers.values()
            _note(first, _why_not(size, set(racers), offer))
            dropped += others
    if dropped:
        gone = set(dropped)
        session.items[:] = [item for item in session.items if item not in gone]
        session.config.hook.pytest_deselected(items=dropped)


def may_begin(item: pytest.Item) -> bool:
    """Whether a test is to be run. Only a racer of a race that was never released is not: the run is ending.

    :param item: any test.
    """
    barriers = item.stash.get(_ACROSS, None)
    if barriers is None:
        return True
    if not is_announced(barriers.folder):
        # Another plugin has given the test a new id, or hands out tests itself.
        _run_alone(item, "whatever hands out the tests of this run does not know it as a race")
        return True
    word = read_release(barriers.folder)
    if word is not None and word.alone is not None:
        _run_alone(item, word.why)
        return word.alone == _index_of(item)
    return word is not None


def leave_fixtures_to_racers(item: pytest.Function) -> None:
    """Leave fixtures to the racers, before those of a race across workers are set up.

    Where its racers run in processes forked from this one, each sets up its own fixtures there, as it would in a
    worker. Those of a wider scope than the test are shared.

    :param item: a racing test.
    """
    names = item.stash.setdefault(_FIXTURES, item.fixturenames)
    item.fixturenames = [name for name in names if _is_shared(item, name)] if _has_own_fixtures(item) else names


@contextmanager
def in_call(item: pytest.Item) -> Iterator[None]:
    """Mark the block as the test's body: what is reported meanwhile, as by subtests, is not its end.

    :param item: a racing test.
    """
    item.stash[_IN_CALL] = True
    try:
        yield
    finally:
        item.stash[_IN_CALL] = False


@contextmanager
def entering(item: pytest.Function, new_folder: Callable[[], Path]) -> Iterator[Racer]:
    """The racer for one run of a test.

    :param item: a racing test.
    :param new_folder: makes an empty folder for a run in processes of their own.
    """
    from pytest_cosmos_venv.xdist_races.racer import Racer

    race = race_of(item)
    barriers = item.stash.get(_ACROSS, None)
    if barriers is None:
        if item.stash.get(_HAS_RACED, False):
            _note(item, "it was run again, and by then the others had ended")
        barriers = Barriers(folder=new_folder(), racers=race.racers)
        racer = Racer(barriers)
        item.stash[_START] = lambda: _run_copies(item, racer, barriers, race.timeout)
    else:
        racer = Racer(barriers, worker=str(item.config.workerinput["workerid"]))  # type: ignore[attr-defined] # pytest-xdist's
        item.stash[_START] = lambda: _start(item, racer, barriers, race.timeout)
    item.stash[_RACER] = racer
    with _environment_restored():
        yield racer
    del item.stash[_RACER]


def call(item: pytest.Item) -> bool | None:
    """Start the race before the body of the test is run; True when the body was run by copies, else None.

    It does so only the first time, for copies come by here too.

    :param item: any test.
    """
    start = item.stash.get(_START, None)
    if start is None:
        return None
    del item.stash[_START]
    return start()


def complete(item: pytest.Item, report: pytest.TestReport) -> None:
    """Take note that a phase of a test is over.

    :param item: any test.
    :param report: the report of the phase; it gets the racers' own sections when the test failed.
    """
    if item.stash.get(_IN_CALL, False):
        return
    racer = item.stash.get(_RACER, None)
    if racer is not None and report.when == "call" and report.failed:
        report.sections += racer._report_sections()
    barriers = item.stash.get(_ACROSS, None)
    if barriers is not None and (report.when == "call" or not report.passed):
        where = " in its setup" if report.when == "setup" else ""
        verb = "was skipped" if report.skipped else report.outcome
        barriers.end(cast("int", _index_of(item)), Ending(outcome=report.outcome, how=verb + where))
        # Plugins run a failed test again, in the same worker; its siblings have gone on.
        del item.stash[_ACROSS]
        item.stash[_HAS_RACED] = True


def notes(reports: Iterable[Any]) -> Mapping[str, list[str]]:
    """Reason -> ids of the tests that were asked to race across workers and raced in processes of their own.

    :param reports: the reports of all tests of the run.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for report in reports:
        for name, value in getattr(report, "user_properties", ()):
            if name == MARK:
                found[value].append(report.nodeid)
    return found


def _run_alone(item: pytest.Item, why: str) -> None:
    del item.stash[_ACROSS]
    _note(item, why)


def _note(item: pytest.Item, why: str) -> None:
    item.user_properties[:] = [(name, value) for name, value in item.user_properties if name != MARK]
    item.user_properties.append((MARK, why))


def _start(item: pytest.Item, racer: Racer, barriers: Barriers, timeout: float) -> None:
    index = cast("int", _index_of(item))
    racer._start(index)
    barriers.wait_at_start(index, timeout=timeout)


def _run_copies(item: pytest.Function, racer: Racer, barriers: Barriers, timeout: float) -> bool:
    from pytest_cosmos_venv.xdist_races.forked_copies import Copies, conclude

    fixtures = item.stash[_FIXTURES] if _has_own_fixtures(item) else None
    conclude(barriers, Copies(item, racer, barriers, timeout, fixtures).run())
    return True


def _has_own_fixtures(item: pytest.Item) -> bool:
    """Whether it is a race across workers that runs in processes forked from this one."""
    return race_of(item).across_workers and item.stash.get(_ACROSS, None) is None


def _is_shared(item: pytest.Function, name: str) -> bool:
    """Whether all racers have one such fixture."""
    if name in {"cosmos_racer", BEFORE_FORKS, INDEX}:
        return True
    found = item._fixtureinfo.name2fixturedefs.get(name)
    return found is not None and len(found) > 0 and found[-1].scope != "function"


@contextmanager
def _environment_restored() -> Iterator[None]:
    import os

    from pytest_cosmos_venv.races.event_log import ACTOR_VARIABLE

    before = os.environ.get(ACTOR_VARIABLE)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(ACTOR_VARIABLE, None)
        else:
            os.environ[ACTOR_VARIABLE] = before


def _index_of(item: pytest.Item) -> int | None:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(INDEX)


def _why_not(size: int, present: set[int], offer: Mapping[str, Any]) -> str:
    workers = offer["workers"]
    if workers < size:
        return (
            f"{size} racers need {size} workers of pytest-xdist that share the tests, this run has {workers or 'none'}"
        )
    missing = [racer_id(index, size) for index in range(size) if index not in present]
    if not missing:
        return "tests with equal ids were collected"
    return f"{', '.join(missing)} of it {'was' if len(missing) == 1 else 'were'} not selected"
