"""``cosmos-venv env lock`` as a shell sees it: from requirements of a DAG file to an environment of its lock file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.command_line import cosmos_venv, harbor_source, write_dag_file

DAG = """
# an airflow dag
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv.compat import DAG
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator

HERE = Path(__file__).parent

with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
    DbtRunVirtualenvOperator(
        task_id="run",
        project_dir=HERE,
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=HERE / "profiles.yml"),
        virtualenv_dir=HERE / "environments",
        py_requirements={requirements},
        pip_install_options={options!r},
    )
"""


@pytest.mark.long
def test_from_requirements_to_an_environment_of_the_lock_file(tmp_path: Path, fake_dbt_wheels: Wheelhouse) -> None:
    def dag_file(requirements: str) -> Path:
        return write_dag_file(
            tmp_path, DAG.format(requirements=requirements, options=fake_dbt_wheels.pip_install_options)
        )

    first = cosmos_venv("env", "lock", dag_file('["dbt-core==1.10.0", "dbt-duckdb"]'))
    inode = (tmp_path / "pylock.toml").stat().st_ino
    place = """f"-r {Path(__file__).with_name('pylock.toml')}\""""
    named = dag_file(f'["dbt-core==1.10.0", "dbt-duckdb", {place}]')
    again = cosmos_venv("env", "lock", named, "--json")
    built = cosmos_venv("env", "warm", named, "--json")

    assert first.returncode == 0, first.stderr
    assert f"{tmp_path}/pylock.toml: dbt-core==1.10.0, dbt-duckdb: " in first.stdout
    assert f"name it in py_requirements beside these: {place}" in first.stdout
    (lock,) = json.loads(again.stdout)["locks"]
    assert (lock["path"], lock["is_named"], lock["was_changed"]) == (f"{tmp_path}/pylock.toml", True, False)
    assert (tmp_path / "pylock.toml").stat().st_ino == inode
    (environment,) = json.loads(built.stdout)["environments"]
    assert environment["was_built"], built.stderr


@pytest.mark.long
def test_a_dag_file_that_runs_dbt_ls_builds_of_the_lock_file_that_is_renewed_first(
    tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse
) -> None:
    file = tmp_path / "pylock.harbor.toml"
    file.write_text('lock-version = "1.0"\ncreated-by = "someone"\npackages = []\n')
    requirements = ["dbt-core==1.10.0", "dbt-duckdb", f"-r {file}"]
    dagfile = write_dag_file(
        tmp_path, harbor_source(dbt_project, tmp_path / "environments", fake_dbt_wheels, requirements)
    )

    done = cosmos_venv("env", "lock", dagfile, "--json")

    assert done.returncode == 0, done.stderr
    (lock,) = json.loads(done.stdout)["locks"]
    assert lock["was_changed"]
    assert 'name = "dbt-core"' in file.read_text()
    assert "is ready after" in done.stderr
    assert list((tmp_path / "environments" / "envs-v2").glob("*.json"))


def test_what_cannot_be_locked_is_said_and_nothing_is_written(tmp_path: Path, fake_dbt_wheels: Wheelhouse) -> None:
    options = fake_dbt_wheels.pip_install_options
    dagfile = write_dag_file(tmp_path, DAG.format(requirements='["dbt-nosuchwarehouse"]', options=options))
    before = sorted(tmp_path.iterdir())

    done = cosmos_venv("env", "lock", dagfile, "--json")

    (failure,) = json.loads(done.stdout)["failures"]
    assert done.returncode == 1
    assert failure.startswith(f"{tmp_path}/pylock.toml: uv could not resolve dbt-nosuchwarehouse")
    assert failure in done.stderr
    assert sorted(path for path in tmp_path.iterdir() if path.name != "__pycache__") == before


@pytest.mark.long
def test_a_lock_file_alone_says_nothing_to_resolve(tmp_path: Path) -> None:
    dagfile = write_dag_file(tmp_path, DAG.format(requirements='[f"-r {HERE}/pylock.toml"]', options=[]))

    done = cosmos_venv("env", "lock", dagfile)

    assert done.returncode == 1
    assert f"py_requirements names {tmp_path}/pylock.toml and nothing to resolve" in done.stderr
