"""Can anything be judged here at all? Three checks that go before the rest (SPEC.md, "Smoke checks")."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pytest_cosmos_venv import RECORD_VARIABLE, Wheelhouse, read_dbt_calls

from . import process
from .adapter import Adapter, Task
from .airflow_home import AirflowHome

REQUIREMENTS = ["dbt-core", "dbt-duckdb"]


def test_the_implementation_imports(adapter: Adapter, tmp_path: Path) -> None:
    finished = adapter.import_all(tmp_path)

    assert finished.succeeded, f"The implementation must import; seen: {finished}"


def test_the_look_alike_wheel_installs(cosmos_wheelhouse: Wheelhouse, tmp_path: Path) -> None:
    environment = tmp_path / "environment"

    for command in install_commands(environment, cosmos_wheelhouse):
        finished = process.run(command, environment=cosmos_wheelhouse.environment, cwd=tmp_path)
        assert finished.succeeded, f"The look-alike dbt must install without network; seen: {finished}"
    answer = process.run([str(environment / "bin" / "dbt"), "--version"], cwd=tmp_path)

    assert answer.succeeded, f"The installed look-alike must answer; seen: {answer}"
    assert "duckdb" in answer.output, f"The installed look-alike must know its adapter; seen: {answer}"


def test_one_operator_runs_to_its_end(
    adapter: Adapter, airflow_home: AirflowHome, cosmos_wheelhouse: Wheelhouse, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    task = Task(
        command="run",
        profile=write_profile(tmp_path),
        arguments={
            "project_dir": str(write_project(tmp_path / "project")),
            "py_requirements": REQUIREMENTS,
            "pip_install_options": cosmos_wheelhouse.pip_install_options,
            "virtualenv_dir": str(tmp_path / "virtualenv"),
        },
    )

    variables = {**cosmos_wheelhouse.environment, RECORD_VARIABLE: str(record)}
    outcome = adapter.run_task(task, airflow_home, environment=variables)

    assert outcome.state == "success", f"The operator must run to its end; seen: {outcome}"
    runs = [call for call in read_dbt_calls(record) if "run" in call.arguments]
    assert len(runs) == 1, f"dbt run must be called once; dbt's own record says: {runs}; {outcome}"
    assert runs[0].exit_code == 0, f"dbt run must end with 0; dbt's own record says: {runs[0]}"


def install_commands(environment: Path, wheelhouse: Wheelhouse) -> list[list[str]]:
    """Make an environment and install into it, with uv where it is on PATH, else with venv and pip."""
    python, uv = str(environment / "bin" / "python"), shutil.which("uv")
    install = ["pip", "install", *wheelhouse.pip_install_options]
    if uv:
        make, installer = [uv, "venv", "--python", sys.executable, str(environment)], [uv, *install, "--python", python]
    else:
        make, installer = [sys.executable, "-m", "venv", str(environment)], [python, "-m", *install]
    return [make, [*installer, *REQUIREMENTS]]


def write_project(folder: Path) -> Path:
    """A dbt project with one model."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "one.sql").write_text("select 1 as id\n", encoding="utf-8")
    lines = ["name: smoke", "version: '1.0'", "profile: smoke", "model-paths: [models]", ""]
    (folder / "dbt_project.yml").write_text("\n".join(lines), encoding="utf-8")
    return folder


def write_profile(folder: Path) -> dict[str, str]:
    """Arguments of ``ProfileConfig`` for a profiles.yml that the look-alike never reads and an implementation may."""
    path = folder / "profiles.yml"
    text = "smoke:\n  target: dev\n  outputs:\n    dev:\n      type: duckdb\n      path: smoke.duckdb\n"
    path.write_text(text, encoding="utf-8")
    return {"profile_name": "smoke", "target_name": "dev", "profiles_yml_filepath": str(path)}
