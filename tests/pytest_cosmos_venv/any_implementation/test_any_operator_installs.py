"""Real installations without network, by pip and by uv, through a real operator of whichever implementation is chosen.

The same file for all: it names none, and needs no configuration but ``--cosmos-implementation``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest

from pytest_cosmos_venv import CosmosAirflow, CosmosDbt, CosmosProject, Implementation
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.throwaway import throwaway_folder


class MakeOperator(Protocol):
    """Make a ``dbt run`` that installs from the wheelhouse into an environment of its own."""

    def __call__(self, **arguments: Any) -> Any: ...


@pytest.fixture(autouse=True)
def tools_of_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``python3`` and ``uv`` as a worker of this environment finds them."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("AIRFLOW__STANDARD__VENV_INSTALL_METHOD", "uv")


@pytest.fixture
def make_operator(
    cosmos_implementation: Implementation, cosmos_dbt: CosmosDbt, cosmos_project: CosmosProject
) -> MakeOperator:
    project = cosmos_project("harbor")
    project.model("piers", "select 1 as id")

    def make(**arguments: Any) -> Any:
        profile_config = cosmos_implementation.module("config").ProfileConfig(
            profile_name="harbor", target_name="dev", profiles_yml_filepath=project.profiles_yml
        )
        return cosmos_implementation.module("operators.virtualenv").DbtRunVirtualenvOperator(
            **{
                "task_id": "run_harbor",
                "project_dir": project.path,
                "profile_config": profile_config,
                "py_requirements": ["dbt-core", "dbt-duckdb"],
                "pip_install_options": cosmos_dbt.pip_install_options,
                **arguments,
            }
        )

    return make


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_kept_environment_is_installed_and_its_dbt_told_what_to_do(
    installer: str,
    make_operator: MakeOperator,
    cosmos_airflow: CosmosAirflow,
    cosmos_dbt: CosmosDbt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__STANDARD__VENV_INSTALL_METHOD", installer)

    task = cosmos_airflow.run(make_operator(virtualenv_dir=tmp_path / "kept", select=["piers"], vars={"day": "Monday"}))

    assert task.state == "success", task
    (call,) = cosmos_dbt.calls
    assert call.arguments[:5] == ("run", "--select", "piers", "--vars", "day: Monday\n")
    assert call.prefix.is_relative_to((tmp_path / "kept").resolve())
    assert (call.dbt_version, call.exit_code) == ("1.10.0", 0)
    assert (call.prefix / "bin" / "python").exists()


def test_a_temporary_environment_is_gone_afterwards(
    make_operator: MakeOperator, cosmos_airflow: CosmosAirflow, cosmos_dbt: CosmosDbt
) -> None:
    cosmos_dbt.add_dbt("1.9.0")

    task = cosmos_airflow.run(make_operator(py_requirements=["dbt-core<1.10", "dbt-snowflake"]))

    assert task.state == "success", task
    (call,) = cosmos_dbt.calls
    assert call.dbt_version == "1.9.0"
    assert not call.prefix.exists()


def test_an_environment_that_would_stand_elsewhere_is_refused_before_anything_runs(
    make_operator: MakeOperator, cosmos_airflow: CosmosAirflow, cosmos_dbt: CosmosDbt
) -> None:
    with throwaway_folder("cosmos-production-") as production:
        operator = make_operator(virtualenv_dir=production / "environments")

        with pytest.raises(ToolkitMisuse, match=r"Task 'run_harbor': virtualenv_dir=.* is no folder of this test run"):
            cosmos_airflow.run(operator)

        assert not list(production.rglob("pyvenv.cfg"))
    assert cosmos_dbt.calls == []


def test_a_package_that_cannot_be_built_fails_the_task_in_its_own_words(
    make_operator: MakeOperator, cosmos_airflow: CosmosAirflow, cosmos_dbt: CosmosDbt
) -> None:
    sdist = cosmos_dbt.add_sdist("dbt-harbor", fails_with="pg_config: command not found")

    task = cosmos_airflow.run(make_operator(py_requirements=["dbt-harbor"]))

    assert task.state == "failed", task
    assert [build.succeeded for build in sdist.builds] == [False]
    assert "pg_config: command not found" in task.log
    assert cosmos_dbt.calls == []


def test_an_index_is_asked_with_its_login_and_nobody_else(
    make_operator: MakeOperator,
    cosmos_airflow: CosmosAirflow,
    cosmos_dbt: CosmosDbt,
) -> None:
    cosmos_dbt.index.require_login("harbor", "s3cret")

    task = cosmos_airflow.run(make_operator(pip_install_options=cosmos_dbt.index.pip_install_options))

    assert task.state == "success", task
    fetched = [request for request in cosmos_dbt.index.requests if request.path.startswith("files/dbt_")]
    assert {request.path.partition("-")[0] for request in fetched} == {"files/dbt_core", "files/dbt_duckdb"}
    assert {(request.status, request.authorised) for request in fetched} == {(200, True)}
    assert [call.command for call in cosmos_dbt.calls] == ["run"]
