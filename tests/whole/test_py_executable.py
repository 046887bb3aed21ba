"""``operator_args={"py_executable": ...}``: parsing and tasks use the environment of that Python."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProjectConfig, RenderConfig
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from pytest_cosmos_venv import RECORD_VARIABLE, Wheelhouse, read_dbt_calls
from tests.kit import harbor_profile


def test_parsing_and_tasks_run_dbt_in_the_environment_of_the_python_that_is_named(
    tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse, other_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RECORD_VARIABLE, str(tmp_path / "calls"))
    dag = DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(dbt_project),
        profile_config=harbor_profile(dbt_project),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=tmp_path / "envs"),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS),
        operator_args={
            "py_requirements": ["dbt-core==1.10.0", "dbt-duckdb"],
            "pip_install_options": fake_dbt_wheels.pip_install_options,
            "py_executable": other_python,
        },
    )
    task = dag.get_task("staging_run")
    assert isinstance(task, DbtRunVirtualenvOperator)

    task.execute({})

    listing, running = read_dbt_calls(tmp_path / "calls")
    assert (listing.arguments[0], running.arguments[0]) == ("ls", "run")
    assert listing.prefix == running.prefix
    assert (running.prefix / "bin" / "python").resolve() == Path(Interpreter.of(other_python).executable)
