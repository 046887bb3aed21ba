"""The suite's pytest process is shut off from the project that starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pytest_cosmos_venv
from pytest_cosmos_venv.suite import SUITE, SuiteExit, SuiteRun, run_suite


def suite_run(root: Path, *options: str) -> SuiteRun:
    return SuiteRun(options=options, implementation="cosmos_venv", set_aside=["pytest.ini", "conftest.py"], root=root)


def test_the_suites_own_options_come_after_the_users(tmp_path: Path) -> None:
    command = suite_run(tmp_path, "-n", "2", "-c", "mine.ini").command

    assert command.index("mine.ini") < command.index(str(SUITE / "pytest.ini"))
    assert command.index("-n") < command.index("--noconftest")
    assert f"--rootdir={SUITE}" in command
    assert "--cosmos-implementation=cosmos_venv" in command
    assert "--cosmos-set-aside=pytest.ini, conftest.py" in command


def test_the_suite_is_handed_over_as_the_files_beside_the_plugin(tmp_path: Path) -> None:
    command = suite_run(tmp_path).command

    suite = Path(pytest_cosmos_venv.__file__).parent / "conformance"
    checks = (suite / "checks").rglob("test_*.py")
    files = [word for word in command if word.startswith(f"{suite}/") and word.endswith(".py")]
    assert files[0] == str(suite / "checks" / "test_smoke.py")
    assert set(files) == {str(file) for file in checks if file.parent.name != "served"}
    assert str(suite / "checks" / "machines" / "test_remote.py") in files


def test_the_run_with_servers_has_files_of_its_own_and_the_smoke_check(tmp_path: Path) -> None:
    run = SuiteRun(options=[], implementation=None, set_aside=[], root=tmp_path, has_servers=True)

    checks = SUITE / "checks"
    files = [word for word in run.command if word.endswith(".py")]
    assert files == [str(checks / "test_smoke.py"), *map(str, sorted((checks / "served").glob("test_*.py")))]
    assert len(files) > 1


def test_variables_of_the_project_and_of_airflow_stay_outside(tmp_path: Path) -> None:
    outer = {
        "PATH": "/bin",
        "PYTHONPATH": "/mine",
        "PYTEST_ADDOPTS": "-k nothing",
        "PYTEST_PLUGINS": "mine",
        "AIRFLOW_HOME": "/production",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production",
        "AIRFLOW_CONN_WAREHOUSE": "postgresql://production",
        "DBT_PROFILES_DIR": "/production",
        "PIP_INDEX_URL": "https://user:password@index",
        "UV_OFFLINE": "1",
        "PYTHONOPTIMIZE": "1",
    }

    environment = suite_run(tmp_path).environment(outer)

    own = {"AIRFLOW_HOME", "TMPDIR", "PIP_CACHE_DIR", "UV_CACHE_DIR"}
    assert {name: environment[name] for name in environment if name not in own} == {
        "PATH": "/bin",
        "PYTHONPATH": "/mine",
        "DO_NOT_TRACK": "1",
        # No plugin is loaded but those that the suite names.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_PLUGINS": "pytest_cosmos_venv.plugin,xdist.plugin",
    }
    assert {Path(environment[name]).parent for name in own} == {tmp_path}


def test_a_signal_that_comes_while_the_suite_is_being_started_ends_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "python"
    stuck.write_text("#!/bin/sh\nexec sleep 600\n", encoding="utf-8")
    stuck.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []

    class Terminated(subprocess.Popen[bytes]):
        """A process in whose start SIGTERM comes, before anybody holds it."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(sys, "executable", str(stuck))
    monkeypatch.setattr(subprocess, "Popen", Terminated)
    before = signal.getsignal(signal.SIGTERM)

    try:
        assert run_suite([], implementation=None, set_aside=[]) == SuiteExit.INCOMPLETE
        assert started[0].returncode == -signal.SIGINT
    finally:
        started[0].kill()
        started[0].wait()
    assert signal.getsignal(signal.SIGTERM) is before
