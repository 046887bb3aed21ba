"""A ``virtualenv_dir`` of the user's own is refused, before anything runs, while a test installs fakes of dbt."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow import DAG

from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProjectConfig, RenderConfig
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from pytest_cosmos_venv import Contender, CosmosAirflow, CosmosDbt, CosmosRace, RaceFailure
from pytest_cosmos_venv.environments.virtualenv_dirs import PLACES_VARIABLE
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt import RECORD_VARIABLE
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.kit import harbor_profile, operator_arguments, written_manifest

pytest_plugins = ["pytester"]

REFUSAL = (
    r"virtualenv_dir='{}' is no folder of this test run, and the test installs fakes of dbt.*"
    r"cosmos_airflow\.load\(file\).*tmp_path"
)


@pytest.fixture
def production() -> Iterator[Path]:
    """The directory that a DAG names for its environments, on the user's machine and not of this run."""
    with throwaway_folder("cosmos-production-") as folder:
        yield folder / "environments"


def make_dag(project: Path, directory: Path | str, load: LoadMode = LoadMode.DBT_MANIFEST) -> DbtDag:
    return DbtDag(
        dag_id="shop",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(project, manifest_path=written_manifest(project)),
        profile_config=harbor_profile(project),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=directory),
        render_config=RenderConfig(load_method=load),
        operator_args={"py_requirements": ["dbt-core", "dbt-duckdb"]},
    )


def make_operator(project: Path, directory: Path | str, **arguments: Any) -> DbtRunVirtualenvOperator:
    kept = {"py_requirements": ["dbt-core", "dbt-duckdb"], "virtualenv_dir": directory}
    return DbtRunVirtualenvOperator(**operator_arguments(project, task_id="daily", **kept, **arguments))


def execute(contender: Contender, project: Path, directory: Path) -> None:
    make_operator(project, directory).execute({})


def refusal(directory: Path | str) -> str:
    return REFUSAL.format(re.escape(str(directory)))


def test_a_dag_that_asks_dbt_ls_is_refused_when_it_is_parsed(
    cosmos_dbt: CosmosDbt, dbt_project: Path, production: Path
) -> None:
    with pytest.raises(ToolkitMisuse, match=refusal(production)):
        make_dag(dbt_project, production, LoadMode.DBT_LS)

    assert not production.exists()
    assert cosmos_dbt.calls == []


def test_an_environment_of_the_search_path_is_refused_where_it_would_be_run(
    cosmos_dbt: CosmosDbt,
    dbt_project: Path,
    production: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as outside_of_tests:
        outside_of_tests.delenv(PLACES_VARIABLE)
        make_operator(dbt_project, production).execute({})
    done = len(cosmos_dbt.calls)
    monkeypatch.setattr("cosmos_venv.settings.virtualenv_search_path", str(production))

    words = rf"^virtualenv_search_path={str(production)!r} is no folder of this test run.*Start the tests without it"
    with pytest.raises(ToolkitMisuse, match=words):
        make_operator(dbt_project, tmp_path / "own").execute({})

    assert len(cosmos_dbt.calls) == done


def test_a_mapped_task_is_refused_too(
    cosmos_airflow: CosmosAirflow, cosmos_dbt: CosmosDbt, dbt_project: Path, production: Path
) -> None:
    with DAG("shop", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        kept = operator_arguments(dbt_project, task_id="daily", virtualenv_dir=production)
        DbtRunVirtualenvOperator.partial(**kept).expand(select=["piers", "staging"])

    with pytest.raises(ToolkitMisuse, match=f"Task 'daily': {refusal(production)}"):
        cosmos_airflow.run(dag)

    assert cosmos_dbt.calls == []


def test_a_contender_is_refused_too(
    cosmos_race: CosmosRace,
    cosmos_dbt: CosmosDbt,
    dbt_project: Path,
    production: Path,
) -> None:
    with pytest.raises(RaceFailure, match=refusal(production)):
        cosmos_race(execute, dbt_project, production, contenders=1)

    assert not production.exists()
    assert cosmos_dbt.calls == []


def test_a_template_is_judged_by_what_it_is_rendered_to(
    cosmos_airflow: CosmosAirflow, cosmos_dbt: CosmosDbt, dbt_project: Path, production: Path
) -> None:
    task = cosmos_airflow.run(make_operator(dbt_project, "{{ params.place }}", params={"place": str(production)}))

    assert task.state == "failed"
    assert re.search(refusal(production), task.log)
    assert not production.exists()
    assert cosmos_dbt.calls == []


def test_folders_of_the_run_are_taken(
    cosmos_airflow: CosmosAirflow, cosmos_dbt: CosmosDbt, dbt_project: Path, kept_directory: Path
) -> None:
    dags = [make_dag(dbt_project, kept_directory), make_dag(dbt_project, Path(os.environ["AIRFLOW_HOME"], "dbt"))]

    assert [cosmos_airflow.run(dag).state for dag in dags] == ["success", "success"]
    assert cosmos_dbt.calls


def test_a_look_alike_that_no_test_runs_fails_and_says_what_it_is(
    cosmos_airflow: CosmosAirflow, cosmos_dbt: CosmosDbt, dbt_project: Path, tmp_path: Path
) -> None:
    assert cosmos_airflow.run(make_operator(dbt_project, tmp_path / "environments")).succeeded
    prefix = cosmos_dbt.calls[-1].prefix
    environment = {name: value for name, value in os.environ.items() if name != RECORD_VARIABLE}

    done = subprocess.run(
        [prefix / "bin" / "dbt", "run", "--project-dir", dbt_project],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert f"{prefix} holds a fake of dbt that a test has installed, and no test runs it" in done.stderr
    assert "delete that environment" in done.stderr
    assert "Done." not in done.stdout
