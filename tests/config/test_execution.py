"""Tests of the arguments that ExecutionConfig takes and refuses."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ExecutionConfig
from cosmos_venv.constants import ExecutionMode, InvocationMode, TestIndirectSelection
from cosmos_venv.exceptions import CosmosValueError


def test_execution_is_local_by_default_and_finds_dbt_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dbt = tmp_path / "dbt"
    dbt.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    config = ExecutionConfig()

    assert config.execution_mode is ExecutionMode.LOCAL
    assert config.test_indirect_selection is TestIndirectSelection.EAGER
    assert config.dbt_executable_path == str(dbt)


def test_the_execution_project_path_is_kept_as_project_path(tmp_path: Path) -> None:
    config = ExecutionConfig(dbt_project_path=str(tmp_path))

    assert config.project_path == tmp_path
    assert getattr(config, "dbt_project_path", "absent") is None


def test_virtualenv_mode_refuses_the_runner_inside_the_worker() -> None:
    with pytest.raises(CosmosValueError, match=r"DBT_RUNNER does not go with ExecutionMode\.VIRTUALENV"):
        ExecutionConfig(ExecutionMode.VIRTUALENV, InvocationMode.DBT_RUNNER)


def test_local_mode_leaves_it_to_the_worker_how_dbt_is_started_unless_told() -> None:
    assert ExecutionConfig().invocation_mode is None
    assert ExecutionConfig(invocation_mode=InvocationMode.DBT_RUNNER).invocation_mode is InvocationMode.DBT_RUNNER


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [(["dbt-bigquery"], ExecutionMode.VIRTUALENV), ([], ExecutionMode.LOCAL), (None, ExecutionMode.LOCAL)],
)
def test_models_are_compiled_in_an_environment_where_its_requirements_are_given(
    requirements: list[str] | None, expected: ExecutionMode
) -> None:
    config = ExecutionConfig(ExecutionMode.AIRFLOW_ASYNC, async_py_requirements=requirements)

    assert config.async_py_requirements == requirements
    assert config.dbt_mode({}) is expected


@pytest.mark.parametrize("mode", [ExecutionMode.LOCAL, ExecutionMode.WATCHER])
def test_requirements_of_async_tasks_are_refused_in_other_modes(mode: ExecutionMode) -> None:
    words = r"ExecutionConfig\.async_py_requirements=.* is for ExecutionMode\.AIRFLOW_ASYNC.*py_requirements"
    with pytest.raises(CosmosValueError, match=words):
        ExecutionConfig(mode, async_py_requirements=[])


def test_requirements_of_async_tasks_are_a_list() -> None:
    with pytest.raises(CosmosValueError, match=r"ExecutionConfig\.async_py_requirements='dbt' must be a list of texts"):
        ExecutionConfig(ExecutionMode.AIRFLOW_ASYNC, async_py_requirements="dbt")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [ExecutionMode.LOCAL, ExecutionMode.VIRTUALENV])
def test_arguments_of_a_producer_are_refused_where_there_is_none(mode: ExecutionMode) -> None:
    assert ExecutionConfig(ExecutionMode.WATCHER, setup_operator_args={"retries": 1}).setup_operator_args

    with pytest.raises(CosmosValueError, match=r"setup_operator_args=.* is for the producer .* Give .* operator_args"):
        ExecutionConfig(mode, setup_operator_args={"retries": 1})


@pytest.mark.parametrize(
    ("config", "operator_args", "expected"),
    [
        (ExecutionConfig(), {"py_requirements": ["dbt-duckdb"]}, ExecutionMode.LOCAL),
        (ExecutionConfig(ExecutionMode.WATCHER), {}, ExecutionMode.LOCAL),
        (ExecutionConfig(ExecutionMode.WATCHER), {"py_requirements": ["dbt-duckdb"]}, ExecutionMode.VIRTUALENV),
        (ExecutionConfig(ExecutionMode.WATCHER, virtualenv_dir="envs"), {}, ExecutionMode.VIRTUALENV),
        (ExecutionConfig(ExecutionMode.VIRTUALENV), {}, ExecutionMode.VIRTUALENV),
    ],
)
def test_dbt_of_a_watcher_stands_in_an_environment_where_one_is_described(
    config: ExecutionConfig, operator_args: dict[str, Any], expected: ExecutionMode
) -> None:
    assert config.dbt_mode(operator_args) is expected


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_virtualenv_dir_is_not_taken_for_the_working_directory(empty: str) -> None:
    with pytest.raises(CosmosValueError, match=rf"ExecutionConfig\.virtualenv_dir='{empty}' is empty.*leave it out"):
        ExecutionConfig(ExecutionMode.VIRTUALENV, virtualenv_dir=empty)


def test_a_virtualenv_dir_in_another_mode_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ExecutionConfig(virtualenv_dir="envs")

    assert "virtualenv_dir envs is ignored" in caplog.text
