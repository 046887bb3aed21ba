"""How long the suite gives a task, and how long it waits before it says that one rests."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from conformance import pace
from conformance.waiting import RESTS, what_it_comes_to

BUSY = "while True: pass"
IDLE = "import signal; signal.pause()"


def config(*, asked: str | None = None, took: float = 0.0) -> Any:
    """A run's.

    :param asked: for a deadline.
    :param took: the smoke check's task, in seconds.
    """
    return SimpleNamespace(getoption=lambda _: asked, cache=SimpleNamespace(get=lambda *_: took))


@pytest.mark.parametrize(
    ("given", "deadline", "smoke", "slack"),
    [
        pytest.param({}, 60.0, 180.0, 2.0, id="nothing-is-known"),
        pytest.param({"took": 1.5}, 60.0, 180.0, 2.0, id="a-fast-machine"),
        pytest.param({"took": 20.0}, 800.0, 180.0, 10.0, id="a-slow-machine"),
        pytest.param({"asked": "30", "took": 20.0}, 30.0, 30.0, 10.0, id="asked-for"),
    ],
)
def test_time_is_given_as_the_machine_needs_it(
    given: dict[str, Any], deadline: float, smoke: float, slack: float
) -> None:
    of_run = config(**given)

    assert (pace.deadline(of_run), pace.deadline_of_smoke(of_run), pace.slack(of_run)) == (deadline, smoke, slack)


@pytest.mark.parametrize(
    ("code", "expected"),
    [pytest.param(BUSY, "it is at work, for 1 s by now", id="busy"), pytest.param(IDLE, RESTS, id="idle")],
)
def test_a_task_that_is_at_work_until_the_deadline_does_not_rest(code: str, expected: str) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as process:
        bench: Any = SimpleNamespace(deadline=1.0 if code == BUSY else 60.0)
        running: Any = SimpleNamespace(pids=[process.pid], running=(0,))
        try:
            said = what_it_comes_to(bench, running, SimpleNamespace(builds=[]))  # type: ignore[arg-type] # is asked
        finally:
            process.kill()

    assert said == expected


def test_how_long_it_will_take_is_told_on_a_line_of_its_own_also_among_the_dots_of_workers() -> None:
    told: list[str] = ["..."]
    terminal = SimpleNamespace(
        currentfspath=None,
        ensure_newline=lambda: None,
        write=told.append,
        write_line=lambda text: told.append(f"{text}\n"),
    )
    manager = SimpleNamespace(get_plugin=lambda _: terminal)
    of_run: Any = SimpleNamespace(
        pluginmanager=manager, getoption=lambda *_: None, cache=SimpleNamespace(set=lambda *_: None)
    )
    report: Any = SimpleNamespace(when="call", user_properties=[(pace.TASK_SECONDS, 10.3)])

    pace.Pace(of_run).pytest_runtest_logreport(report)

    assert "".join(told).startswith("...\nOne task took 10.3 s")
