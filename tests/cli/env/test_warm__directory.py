"""``cosmos-venv env warm --dir``: what an image is filled with, found by tasks on ``virtualenv_search_path``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv import Wheelhouse
from tests.command_line import cosmos_venv

DAGFILE = """
# an airflow dag
from datetime import datetime, timezone
from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator

PROFILE = ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml")
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
INSTALLED = dict(py_requirements=["dbt-core==1.10.0", "dbt-duckdb"], pip_install_options={options!r})

dag = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=START,
    project_config=ProjectConfig({project!r}),
    profile_config=PROFILE,
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir={directory!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_LS),
    operator_args=INSTALLED,
)
with DAG("templated", schedule=None, start_date=START):
    DbtRunVirtualenvOperator(
        task_id="run",
        project_dir={project!r},
        profile_config=PROFILE,
        virtualenv_dir="{{{{ var.value.x }}}}",
        **INSTALLED,
    )
"""


def env_build(*arguments: object) -> subprocess.CompletedProcess[str]:
    return cosmos_venv("env", "warm", *arguments, "--json")


@pytest.fixture
def dagfile(tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse) -> Path:
    """A DAG file whose project is listed by dbt ls, and a task whose directory is known only when it runs."""
    file = tmp_path / "dag.py"
    source = DAGFILE.format(
        project=str(dbt_project), directory=str(tmp_path / "own"), options=fake_dbt_wheels.pip_install_options
    )
    file.write_text(source)
    return file


@pytest.mark.long
def test_everything_is_built_in_one_directory_whatever_the_files_say(dagfile: Path, tmp_path: Path) -> None:
    done = env_build(dagfile, "--dir", tmp_path / "image")

    assert done.returncode == 0, done.stderr
    (built,) = json.loads(done.stdout)["environments"]
    assert built["virtualenv_dir"] == str(tmp_path / "image")
    assert built["was_built"]
    assert Path(built["path"]).is_relative_to(tmp_path.resolve() / "image")
    assert not (tmp_path / "own").exists()


@pytest.mark.long
def test_what_stands_on_the_search_path_is_not_built_again_except_for_a_directory_that_is_named(
    dagfile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_build(dagfile, "--dir", tmp_path / "image")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_SEARCH_PATH", str(tmp_path / "image"))

    found = json.loads(env_build(dagfile).stdout)["environments"]
    own_exists = (tmp_path / "own").exists()
    second = json.loads(env_build(dagfile, "--dir", tmp_path / "second").stdout)["environments"]

    assert [(one["was_built"], Path(one["path"]).is_relative_to(tmp_path.resolve() / "image")) for one in found] == [
        (False, True)
    ]
    assert not own_exists
    assert [one["was_built"] for one in second] == [True]
