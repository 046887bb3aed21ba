"""The fixture ``cosmos_racer``, the mark ``cosmos_race``, and the hooks that let its copies run at once."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_cosmos_venv.racers.racer import Racer
    from pytest_cosmos_venv.racers.xdist_types import Worker

MARK = "cosmos_race"
"""Also the property of a test's report under which it is told why it was not run across workers."""
INDEX = "_cosmos_racer_index"
"""The fixture whose parameter is the racer's number, where racers are tests of their own."""


@pytest.fixture
def cosmos_racer(
    request: pytest.FixtureRequest,
    _cosmos_racer_index: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Racer]:
    """One of the copies of a test marked ``cosmos_race(racers=N)``, which run at once, each in a process of its own.

    ``.index`` and ``.racers``; ``.barrier("start")`` waits until all have come there; ``.shared`` is one folder for
    all, ``.once("model", make)`` what the first of them made; ``with .span("install"):`` and ``.event("ready")`` write
    a timeline, ``.timeline()`` is what all have written.
    """
    from pytest_cosmos_venv.errors import ToolkitMisuse
    from pytest_cosmos_venv.racers import forms

    if request.node.get_closest_marker(MARK) is None:
        raise ToolkitMisuse(
            f"{request.node.name} asks for cosmos_racer and is no race: mark it @pytest.mark.cosmos_race(racers=2)."
        )
    with forms.entering(request.node, lambda: tmp_path_factory.mktemp("cosmos-race")) as racer:
        yield racer


@pytest.fixture
def _cosmos_racer_index(request: pytest.FixtureRequest) -> int | None:
    """The racer's number where racers are tests of their own; a parameter, so that it stands in their ids."""
    index: int | None = getattr(request, "param", None)
    return index


def pytest_configure(config: pytest.Config) -> None:
    """What ``pytest --markers`` tells."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(*, racers, across_workers=False, timeout=300): run so many copies of the test at once, each in a "
        "process of its own; with across_workers each in another worker of pytest-xdist. The test takes the fixture "
        "cosmos_racer.",
    )


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Across workers, racers are tests of their own, whatever this run has: ids stay the same."""
    if INDEX not in metafunc.fixturenames:
        return
    from pytest_cosmos_venv.errors import ToolkitMisuse
    from pytest_cosmos_venv.racers.mark import read_mark
    from pytest_cosmos_venv.racers.names import racer_id

    mark = metafunc.definition.get_closest_marker(MARK)
    try:
        race = read_mark(mark) if mark else None
    except ToolkitMisuse:
        return  # told by the one test it is about, not by the whole file
    if race and race.across_workers:
        ids = [racer_id(index, race.racers) for index in range(race.racers)]
        metafunc.parametrize(INDEX, range(race.racers), ids=ids, indirect=True, scope="function")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """What is selected is known only now, and pytest-xdist has not been told yet."""
    if any(item.get_closest_marker(MARK) for item in session.items):
        from pytest_cosmos_venv.racers import forms

        forms.settle(session)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """A racer whose race is not going to be is left out, as the tests after the last one are."""
    if item.get_closest_marker(MARK) is None:
        return None
    from pytest_cosmos_venv.racers import forms

    return None if forms.may_begin(item) else True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Bad use is a sentence, before any fixture is set up."""
    if item.get_closest_marker(MARK) is not None:
        from pytest_cosmos_venv.racers.mark import check_race

        check_race(item)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """The moment at which copies part, or wait for each other."""
    if pyfuncitem.get_closest_marker(MARK) is None:
        return None
    from pytest_cosmos_venv.racers import forms

    return forms.call(pyfuncitem)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The others learn of a racer's end; a failure shows who did what when."""
    report = yield
    if item.get_closest_marker(MARK) is not None:
        from pytest_cosmos_venv.racers import forms

        forms.complete(item, report)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which races did not run across workers, and why."""
    called = [report for reports in terminalreporter.stats.values() for report in reports if _has_note(report)]
    if not called:
        return
    from pytest_cosmos_venv.racers import forms

    terminalreporter.write_sep("=", "races in processes of their own, not across workers")
    for why, tests in forms.notes(called).items():
        terminalreporter.write_line(f"{why}\n    " + "\n    ".join(tests))


def _has_note(report: Any) -> bool:
    properties = getattr(report, "user_properties", ())
    return getattr(report, "when", None) == "call" and any(name == MARK for name, _ in properties)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Worker) -> None:
    """Tell a worker of pytest-xdist that races are handed out here, and where racers meet."""
    from pytest_cosmos_venv.racers import workers

    workers.offer(node)


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> Generator[None, Any, Any]:
    """Whichever was chosen hands out all that is no race."""
    scheduler = yield
    from pytest_cosmos_venv.racers import workers

    return workers.switch(config, scheduler)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Worker, error: object | None) -> None:
    """Who races with this worker must not wait for it."""
    from pytest_cosmos_venv.racers import workers

    workers.down(node, error)
