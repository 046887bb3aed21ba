"""DAGs of a small project on DuckDB that one release of dbt runs, in a managed environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cosmos_venv import DbtDag
from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from tests.fake_dags import START
from tests.kit import harbor_profile


def write_profile(project: Path) -> None:
    """Let the project write to a database in its folder."""
    target = f"{{type: duckdb, path: '{project}/harbor.duckdb', threads: 1}}"
    (project / "profiles.yml").write_text(f"harbor: {{target: dev, outputs: {{dev: {target}}}}}\n")


def write_project(folder: Path, models: Mapping[str, str]) -> Path:
    """Write a project, and return its folder.

    :param models: file below the folder of models -> its text.
    """
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: harbor\nversion: '1.0'\nprofile: harbor\n")
    write_profile(folder)
    for name, text in models.items():
        (folder / "models" / name).write_text(text)
    return folder


def real_dag(
    project: Path,
    directory: Path,
    arguments: dict[str, Any],
    *,
    mode: ExecutionMode = ExecutionMode.VIRTUALENV,
    run_params: bool = False,
    **render: Any,
) -> DbtDag:
    """Return the DAG ``harbor`` of a project.

    :param directory: ``virtualenv_dir``.
    :param arguments: of all tasks, which say how dbt is installed.
    :param render: of RenderConfig.
    """
    return DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=START,
        project_config=ProjectConfig(project, install_dbt_deps=False),
        profile_config=harbor_profile(project),
        execution_config=ExecutionConfig(mode, virtualenv_dir=directory),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS, **render),
        operator_args=arguments,
        run_params=run_params,
    )
