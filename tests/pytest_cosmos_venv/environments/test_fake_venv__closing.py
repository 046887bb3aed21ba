"""Fake environments that are made within a block are closed at its end, however it ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosProject, FakeVenv
from pytest_cosmos_venv.environments.fake_venv import fake_venvs


@pytest.fixture
def project(cosmos_project: CosmosProject) -> Path:
    made = cosmos_project("shop")
    made.model("orders", "select 1 as id")
    return made.path


def test_a_call_that_still_runs_ends_with_a_block_that_raises(project: Path, tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []

    with pytest.raises(ZeroDivisionError), fake_venvs() as make:
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
