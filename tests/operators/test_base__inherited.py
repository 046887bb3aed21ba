"""dbt and its plugins see the environment that Airflow was given, in a process of their own and in the worker's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import InvocationMode
from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.project.load_request import LoadRequest
from pytest_cosmos_venv import FakeVenv
from tests.kit import operator_arguments

SET_BY_AIRFLOW = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "airflow-db-not-allowed:///",
    "AIRFLOW__CORE__SQL_ALCHEMY_CONN": "airflow-db-not-allowed:///",
    "_AIRFLOW_PARSING_CONTEXT_TASK_ID": "run",
}


@pytest.fixture(autouse=True)
def _in_a_task_of_airflow_3(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SET_BY_AIRFLOW.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIVEN", "by the deployment")


def run(project: Path, **arguments: Any) -> None:
    DbtRunLocalOperator(**operator_arguments(project, task_id="run", install_deps=False) | arguments).execute({})


def left_of(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in (*SET_BY_AIRFLOW, "GIVEN") if name in environment}


def test_a_process_of_dbt_inherits_nothing_that_airflow_has_set_for_its_own(
    dbt_project: Path, cosmos_fake_venv: FakeVenv
) -> None:
    run(dbt_project, dbt_executable_path=str(cosmos_fake_venv.dbt), invocation_mode=InvocationMode.SUBPROCESS)

    (call,) = cosmos_fake_venv.calls
    assert left_of(call.env) == {"GIVEN": "by the deployment"}


def test_no_folder_of_the_users_code_is_on_the_path_of_a_process_of_dbt(
    dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task, warm or not, and ``dbt ls`` of a parse: dbt imports each module ``dbt_*`` that it finds there."""
    dags, plugins, own = (str(tmp_path / name) for name in ("dags", "plugins", "own"))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", dags)
    monkeypatch.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", plugins)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([dags, own, f"{plugins}/"]))
    operator = DbtRunLocalOperator(**operator_arguments(dbt_project, task_id="run"))
    request = LoadRequest(
        project=ProjectConfig(dbt_project),
        render=RenderConfig(),
        execution=ExecutionConfig(),
        profile=None,
        operator_args={},
    )
    given = DbtRunLocalOperator(**operator_arguments(dbt_project, task_id="run") | {"env": {"PYTHONPATH": dags}})

    assert operator.get_env({})["PYTHONPATH"] == own
    assert request.environment["PYTHONPATH"] == own
    assert given.get_env({})["PYTHONPATH"] == dags

    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_DAGS_FOLDER_EXCLUSION_FROM_DBT", "False")
    assert operator.get_env({})["PYTHONPATH"] == replace(request).environment["PYTHONPATH"]
    assert operator.get_env({})["PYTHONPATH"] == os.environ["PYTHONPATH"]


def test_a_dbt_in_the_worker_sees_nothing_of_it_and_the_worker_has_it_afterwards(
    dbt_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    def invoke(_: object) -> SimpleNamespace:
        seen.update(os.environ)
        return SimpleNamespace(success=True, exception=None, result=None)

    dbt = ModuleType("dbt.cli.main")
    vars(dbt)["dbtRunner"] = lambda **_: SimpleNamespace(invoke=invoke)
    for name, module in {"dbt": ModuleType("dbt"), "dbt.cli": ModuleType("dbt.cli"), "dbt.cli.main": dbt}.items():
        monkeypatch.setitem(sys.modules, name, module)

    run(dbt_project, invocation_mode=InvocationMode.DBT_RUNNER)

    assert left_of(seen) == {"GIVEN": "by the deployment"}
    assert SET_BY_AIRFLOW.items() <= os.environ.items()
