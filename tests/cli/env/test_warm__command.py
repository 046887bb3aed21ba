"""The command line, as a shell sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.command_line import cosmos_venv, harbor_source, write_dag_file


@pytest.fixture
def dagfile(tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse) -> Path:
    """A DAG file that lists its project by dbt ls and whose environment was never built."""
    return write_dag_file(tmp_path, harbor_source(dbt_project, tmp_path / "environments", fake_dbt_wheels))


@pytest.mark.long
def test_env_warm_builds_in_the_foreground_what_a_dag_file_needs_although_tasks_may_not(
    dagfile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_BUILD", "never")

    first, second = cosmos_venv("env", "warm", str(dagfile), "--json"), cosmos_venv("env", "warm", str(dagfile), "-v")

    (built,) = json.loads(first.stdout)["environments"]
    assert built["was_built"]
    assert built["seconds"] > 0
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert Path(built["path"]).is_relative_to((tmp_path / "environments").resolve())
    assert "Creating the virtualenv" in first.stderr
    assert "was ready" in second.stdout
    assert [line for line in first.stderr.splitlines() if "dbt-core==1.10.0" in line] == []


@pytest.mark.long
def test_the_lines_of_the_installer_are_shown_to_those_who_want_them(
    tmp_path: Path, fake_dbt_wheels: Wheelhouse
) -> None:
    options = [f"--pip-option={option}" for option in fake_dbt_wheels.pip_install_options]

    done = cosmos_venv("env", "warm", "--requirement", "dbt-core==1.10.0", *options, "--dir", tmp_path, "--verbose")

    assert done.returncode == 0, done.stderr
    assert "+ dbt-core==1.10.0" in done.stderr
    assert "built in" in done.stdout


def test_a_failed_build_is_told_in_sentences_with_the_line_of_the_dag_file(
    tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse
) -> None:
    source = harbor_source(dbt_project, tmp_path / "environments", fake_dbt_wheels, ["dbt-core==1.10.0", "dbt-missing"])
    file = write_dag_file(tmp_path, source)

    done = cosmos_venv("env", "warm", str(file))

    assert done.returncode == 1
    assert f"{file}, line 10, cannot be imported: " in done.stderr
    assert "dbt-missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_that_fails_keeps_no_other_from_being_built(tmp_path: Path, fake_dbt_wheels: Wheelhouse) -> None:
    (tmp_path / "good.txt").write_text("dbt-core==1.10.0\n")
    (tmp_path / "bad.txt").write_text("dbt-missing\n")
    options = [f"--pip-option={option}" for option in fake_dbt_wheels.pip_install_options]
    files = [tmp_path / "bad.txt", tmp_path / "good.txt"]

    done = cosmos_venv("env", "warm", *files, *options, "--dir", tmp_path / "store", "--json")

    bad, good = json.loads(done.stdout)["environments"]
    assert done.returncode == 1
    assert (bad["path"], good["was_built"]) == (None, True)
    assert "dbt-missing" in bad["error"]
