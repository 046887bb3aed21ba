"""Fakes of dbt that misbehave, installed for real, and operators that run them."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.operators import local
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from pytest_cosmos_venv import FakeVenv
from pytest_cosmos_venv.environments.scripted_dbt import read_dbt_calls
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
from pytest_cosmos_venv.fake_dbt import RECORD_VARIABLE
from tests.dbt.warm.conftest import short_folder
from tests.kit import DbtCalls, MakeOperator, MakeTask, operator_arguments

__all__ = ["short_folder"]


MEETING_VARIABLE = "DBT_MEETING"

# The dbt-core of these versions does this instead of what dbt does.
MISBEHAVIOUR = {
    "9.1": """
        print("Compilation Error in model mart")
        print("  column yesterdya does not exist")
        raise SystemExit(2)
    """,
    # Ends when two of its kind run at the same time; fails when the other does not come.
    "9.4": f"""
        import os, pathlib, time
        meeting = pathlib.Path(os.environ["{MEETING_VARIABLE}"])
        (meeting / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while len(list(meeting.iterdir())) < 2:
            if time.monotonic() > deadline:
                raise SystemExit("waited alone")
            time.sleep(0.01)
    """,
    "9.6": "pass",
}
WITHOUT_A_COMMAND = "9.6"


@pytest.fixture(scope="session")
def misbehaving_wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """A wheelhouse of our own, with versions of dbt-core that misbehave beside one that does not."""
    wheelhouse = build_wheelhouse(tmp_path_factory.mktemp("misbehaving"))
    for version, source in MISBEHAVIOUR.items():
        body = textwrap.indent(textwrap.dedent(source), "    ")
        files = {
            "dbt/__init__.py": "",
            "dbt/cli/__init__.py": "",
            "dbt/cli/main.py": f"def cli():\n{body}\n",
            "dbt/adapters/__init__.py": "",
        }
        scripts = {} if version == WITHOUT_A_COMMAND else {"dbt": "dbt.cli.main:cli"}
        write_wheel(Wheel(name="dbt-core", version=version, files=files, console_scripts=scripts), wheelhouse.path)
    return wheelhouse


@pytest.fixture
def make_operator(
    misbehaving_wheelhouse: Wheelhouse, kept_directory: Path, dbt_project: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeOperator:
    """An operator that runs the fake dbt in a kept environment; every argument can be given anew."""
    for name, value in misbehaving_wheelhouse.environment.items():
        if name != RECORD_VARIABLE or name not in os.environ:  # a test with dbt_calls has its own
            monkeypatch.setenv(name, value)

    def make(**arguments: Any) -> DbtRunVirtualenvOperator:
        return DbtRunVirtualenvOperator(
            **operator_arguments(
                dbt_project,
                task_id="run",
                py_requirements=["dbt-core==1.10.0", "dbt-duckdb"],
                pip_install_options=misbehaving_wheelhouse.pip_install_options,
                virtualenv_dir=kept_directory,
            )
            | arguments
        )

    return make


@pytest.fixture
def make_here(cosmos_fake_venv: FakeVenv, dbt_project: Path) -> MakeTask:
    """A local operator on the small project, whose dbt is the fake."""

    def make(of: Any = "Run", **arguments: Any) -> Any:
        cls = getattr(local, f"Dbt{of}LocalOperator") if isinstance(of, str) else of
        return cls(**operator_arguments(dbt_project, dbt_executable_path=cosmos_fake_venv.dbt) | arguments)

    return make


@pytest.fixture
def dbt_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DbtCalls:
    """The calls of the fake dbt in this test."""
    monkeypatch.setenv(RECORD_VARIABLE, str(tmp_path / "calls"))
    return lambda: read_dbt_calls(tmp_path / "calls")
