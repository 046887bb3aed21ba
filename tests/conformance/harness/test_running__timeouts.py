"""Tests of the time that the suite gives a task, and of the wait before it says that one rests."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.harness import running as task_runs
from conformance.harness.runs import RESTS, what_it_comes_to

BUSY = "while True: pass"
IDLE = "import signal; signal.pause()"


def config(*, asked: str | None = None, requirement: str | None = None, **more: Any) -> Any:
    """The configuration of a run that knows where the seconds of the smoke check are kept.

    :param asked: for a timeout.
    :param requirement: those that the run is for; None: all.
    """
    at_the_end: list[Callable[[], object]] = []
    made: Any = SimpleNamespace(
        getoption=lambda name, *_: requirement if name == "cosmos_requirement" else asked,
        stash=pytest.Stash(),
        add_cleanup=at_the_end.append,
        at_the_end=at_the_end,
        **more,
    )
    task_runs.keep_task_seconds(made)
    return made


def tell(of_run: Any, took: float) -> None:
    """The smoke check's task has taken so many seconds."""
    report: Any = SimpleNamespace(when="call", user_properties=[(task_runs.TASK_SECONDS, took)])
    task_runs.TaskTimer(of_run).pytest_runtest_logreport(report)


@pytest.fixture(autouse=True)
def _temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def manager() -> Any:
    return SimpleNamespace(get_plugin=lambda _: None)


@pytest.mark.parametrize(
    ("asked", "took", "timeout", "smoke", "slack"),
    [
        pytest.param(None, None, 60.0, 180.0, 2.0, id="nothing-is-known"),
        pytest.param(None, 1.5, 60.0, 180.0, 2.0, id="a-fast-machine"),
        pytest.param(None, 20.0, 800.0, 180.0, 10.0, id="a-slow-machine"),
        pytest.param("30", 20.0, 30.0, 30.0, 10.0, id="asked-for"),
    ],
)
def test_time_is_given_as_the_machine_needs_it(
    manager: Any, asked: str | None, took: float | None, timeout: float, smoke: float, slack: float
) -> None:
    of_run = config(asked=asked, pluginmanager=manager)
    if took is not None:
        tell(of_run, took)

    assert (task_runs.task_timeout(of_run), task_runs.smoke_timeout(of_run), task_runs.slack(of_run)) == (
        timeout,
        smoke,
        slack,
    )


def test_all_workers_of_a_run_know_what_one_has_found_out_and_another_run_does_not(manager: Any) -> None:
    run = config(pluginmanager=manager)
    of_workers: list[dict[str, Any]] = [{}, {}]
    for workerinput in of_workers:
        task_runs.tell_worker(run, workerinput)
    first, second = (config(pluginmanager=manager, workerinput=each) for each in of_workers)

    tell(first, 20.0)

    assert [task_runs.slack(each) for each in (run, first, second, config())] == [10.0, 10.0, 10.0, 2.0]


def test_the_run_removes_the_folder_of_the_seconds_and_no_worker_does(manager: Any, tmp_path: Path) -> None:
    run = config(pluginmanager=manager)
    workerinput: dict[str, Any] = {}
    task_runs.tell_worker(run, workerinput)
    worker = config(pluginmanager=manager, workerinput=workerinput)
    tell(worker, 20.0)

    for clean_up in worker.at_the_end:
        clean_up()
    assert task_runs.slack(run) == 10.0
    for clean_up in run.at_the_end:
        clean_up()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [pytest.param(BUSY, "it is at work, for 1 s by now", id="busy"), pytest.param(IDLE, RESTS, id="idle")],
)
def test_a_task_that_is_at_work_until_the_deadline_does_not_rest(code: str, expected: str) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as process:
        harness: Any = SimpleNamespace(timeout=1.0 if code == BUSY else 60.0)
        running: Any = SimpleNamespace(pids=[process.pid], running=(0,))
        try:
            said = what_it_comes_to(harness, running, SimpleNamespace(builds=[]))  # type: ignore[arg-type] # is asked
        finally:
            process.kill()

    assert said == expected


@pytest.mark.parametrize(
    ("requirement", "said"),
    [(None, "...\nOne task took 10.3 s: 0 checks will take about half a minute.\n"), ("LOCK-*", "...")],
    ids=["whole-run", "some-requirements"],
)
def test_how_long_a_whole_run_will_take_is_told_on_a_line_of_its_own_also_among_the_dots_of_workers(
    requirement: str | None, said: str
) -> None:
    told: list[str] = ["..."]
    terminal = SimpleNamespace(
        currentfspath=None,
        ensure_newline=lambda: None,
        write=told.append,
        write_line=lambda text: told.append(f"{text}\n"),
    )
    manager = SimpleNamespace(get_plugin=lambda _: terminal)

    tell(config(requirement=requirement, pluginmanager=manager), 10.3)

    assert "".join(told) == said
