"""The whole slice with the real dbt: the example DAG end to end, and what dbt itself says when something is wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.managed.arguments import VirtualenvArguments
from cosmos_venv.operators.virtualenv import (
    DbtSeedVirtualenvOperator,
)
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.profiles import DuckDBUserPasswordProfileMapping
from cosmos_venv.project.graph import DbtGraph
from tests.installed import ROOT, install_from_wheels, needs_dbt_wheels

DEADLINE = 280.0

pytestmark = needs_dbt_wheels


@pytest.fixture(scope="module", autouse=True)
def wheels_only() -> Iterator[None]:
    """Install from the wheels that `make test` has fetched, also when pytest was started by itself."""
    with pytest.MonkeyPatch.context() as patch:
        install_from_wheels(patch)
        yield


@pytest.fixture
def harbor(dbt_project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Arguments of an operator on the small project, with a DuckDB file behind an Airflow Connection."""
    monkeypatch.setenv("AIRFLOW_CONN_HARBOR", f'{{"conn_type": "duckdb", "host": "{tmp_path / "harbor.duckdb"}"}}')
    return {
        "task_id": "task",
        "project_dir": dbt_project,
        "profile_config": ProfileConfig("harbor", "dev", profile_mapping=DuckDBUserPasswordProfileMapping("harbor")),
    }


@pytest.mark.long
def test_the_example_runs_end_to_end_with_two_dbts_and_none_in_airflows_environment(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tools.demo", "--folder", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )

    with duckdb.connect(str(tmp_path / "harbor.duckdb"), read_only=True) as database:
        sailed = database.execute("select sum(crossings) from route_days").fetchone()
        crossings = database.execute("select count(*) from fct_crossings").fetchone()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("│ success │") == 9
    assert "dbt-core~=1.10.0" in done.stdout
    assert sailed == crossings != (0,)
    assert subprocess.run([sys.executable, "-c", "import dbt.cli"], capture_output=True, check=False).returncode != 0


@pytest.mark.long
@pytest.mark.parametrize("at", ["parse", "task"])
def test_an_adapter_that_no_requirement_brings_is_named_in_the_last_line(
    harbor: dict[str, Any], kept_directory: Path, at: str
) -> None:
    requirements: dict[str, Any] = {"py_requirements": ["dbt-core~=1.11.0"]}
    operator = DbtSeedVirtualenvOperator(**harbor, **requirements, virtualenv_dir=kept_directory)
    graph = DbtGraph(
        project=ProjectConfig(harbor["project_dir"]),
        profile_config=harbor["profile_config"],
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=kept_directory),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS),
        operator_args=requirements,
    )

    with pytest.raises(Exception, match=r"adapter for the type 'duckdb'.*") as failed:
        graph.load() if at == "parse" else operator.execute({})

    *_, before, last = str(failed.value).splitlines()
    assert "add dbt-duckdb to py_requirements" in (before if last.startswith("(Tried") else last)


@pytest.mark.long
def test_a_parse_file_that_was_made_elsewhere_does_not_lead_dbt_there(
    harbor: dict[str, Any], kept_directory: Path, tmp_path: Path
) -> None:
    """Shipped with a project, it names the folder of the machine that built it; dbt-duckdb loads seeds from there."""
    requirements: dict[str, Any] = {
        "py_requirements": ["dbt-core~=1.11.0", "dbt-duckdb"],
        "virtualenv_dir": kept_directory,
    }
    elsewhere = shutil.copytree(harbor["project_dir"], tmp_path / "elsewhere" / "harbor")
    with open_environment(
        BuildRequest(
            store=EnvironmentStore(kept_directory),
            spec=VirtualenvArguments.of(requirements).spec(),
            preference="uv",
            max_tries=60,
        ),
        cancellation=Cancellation(),
        report=lambda _: None,
    ) as environment:
        subprocess.run([environment.script("dbt"), "parse", "--profiles-dir", "."], cwd=elsewhere, check=True)
    shutil.copytree(elsewhere / "target", harbor["project_dir"] / "target")
    shutil.rmtree(elsewhere)

    DbtSeedVirtualenvOperator(**harbor, **requirements).execute({})

    with duckdb.connect(str(tmp_path / "harbor.duckdb"), read_only=True) as database:
        assert database.execute("select name from main.piers").fetchall() == [("North",)]
