"""``cosmos-venv env warm --dir``: what an image is filled with, found by tasks on ``virtualenv_search_path``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.command_line import cosmos_venv, harbor_source, write_dag_file

# Of the names that the DAG file of the small project has.
TEMPLATED = """
from cosmos_venv.compat import DAG
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator

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
    source = harbor_source(dbt_project, tmp_path / "own", fake_dbt_wheels)
    return write_dag_file(tmp_path, source + TEMPLATED.format(project=str(dbt_project)))


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
