"""Fake environments that are made within a block are closed at its end, however it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from pytest_cosmos_venv import (
    DbtProjects,
    FakeVenv,
    Implementation,
    ToolkitMisuse,
    Wheelhouse,
    seed_scenarios,
    watcher_scenarios,
)
from pytest_cosmos_venv.environments.fake_venv import fake_venvs

MAKERS = ("alone", "watcher", "seeds")


@pytest.fixture
def project(cosmos_dbt_project: DbtProjects) -> Path:
    made = cosmos_dbt_project("shop")
    made.model("orders", "select 1 as id")
    return made.path


@pytest.fixture(params=MAKERS)
def makers(
    request: pytest.FixtureRequest, tmp_path: Path, cosmos_implementation: Implementation
) -> AbstractContextManager[Callable[[Path, str | None], FakeVenv]]:
    """What makes fake environments within a block: alone, or for scenarios."""

    def no_wheelhouse() -> Wheelhouse:
        raise AssertionError("nothing is installed")

    @contextmanager
    def making() -> Iterator[Callable[[Path, str | None], FakeVenv]]:
        with ExitStack() as stack:
            if request.param == "alone":
                yield stack.enter_context(fake_venvs())
            elif request.param == "watcher":
                yield stack.enter_context(watcher_scenarios(cosmos_implementation, tmp_path)).fake_venv
            else:
                scenarios = seed_scenarios(cosmos_implementation, tmp_path, wheelhouse=no_wheelhouse)
                yield stack.enter_context(scenarios).environment.fake_venv

    return making()


def test_a_call_that_still_runs_ends_with_a_block_that_raises(
    makers: AbstractContextManager[Callable[[Path, str | None], FakeVenv]], project: Path, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    with pytest.raises(ZeroDivisionError), makers as make:
        _call_and_fail(make(tmp_path / "venv", None), project, started)

    try:
        started[0].wait(timeout=30)  # whoever has killed it has taken its exit code too
    finally:
        started[0].kill()


def _call_and_fail(venv: FakeVenv, project: Path, started: list[subprocess.Popen[bytes]]) -> None:
    venv.script("run", hold=True)
    started.append(subprocess.Popen([venv.dbt, "run"], cwd=project, stdout=subprocess.DEVNULL))
    venv.wait_for_call("run", held=True)
    raise ZeroDivisionError


def _call_in_vain(venv: FakeVenv, project: Path) -> None:
    venv.script("run", nodes={"nowhere": "error"})
    subprocess.run([venv.dbt, "run"], cwd=project, stdout=subprocess.DEVNULL, check=False)


def test_the_error_of_a_block_is_not_replaced_by_a_misuse_that_closing_tells(project: Path, tmp_path: Path) -> None:
    def failing(venv: FakeVenv) -> None:
        _call_in_vain(venv, project)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised, fake_venvs() as make:
        failing(make(tmp_path / "venv", None))

    if sys.version_info >= (3, 11):
        assert "dbt was scripted what cannot be" in "".join(raised.value.__notes__)


def test_a_misuse_is_told_at_the_end_of_a_block(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolkitMisuse, match="dbt was scripted what cannot be"), fake_venvs() as make:
        _call_in_vain(make(tmp_path / "venv", None), project)
