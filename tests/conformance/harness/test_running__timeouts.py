"""Tests of the time that the suite gives a task."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.harness import running as task_runs


def config(*, asked: str | None = None, requirement: str | None = None, **more: Any) -> Any:
    """The configuration of a run.

    :param asked: for a timeout.
    :param requirement: those that the run is for; None: all.
    """
    return SimpleNamespace(
        getoption=lambda name, *_: requirement if name == "cosmos_requirement" else asked, stash=pytest.Stash(), **more
    )


def tell(of_run: Any, took: float) -> None:
    """The smoke check's task has taken so many seconds."""
    report: Any = SimpleNamespace(when="call", user_properties=[(task_runs.TASK_SECONDS, took)])
    task_runs.TaskTimer(of_run, 2).pytest_runtest_logreport(report)


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

    assert (task_runs.task_timeout(of_run), task_runs.smoke_timeout(of_run), task_runs.slack()) == (
        timeout,
        smoke,
        slack,
    )


@pytest.mark.parametrize(
    ("requirement", "said"),
    [(None, "...\nOne task took 10.3 s: 2 requirements will take about half a minute.\n"), ("LOCK-*", "...")],
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
