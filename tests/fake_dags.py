"""DAGs of the small project that run the fake dbt: models, DAG, and the states of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cosmos_venv import DbtDag
from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, InvocationMode, LoadMode
from pytest_cosmos_venv import DagOutcome, FakeVenv
from tests.kit import harbor_profile

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
CHAIN = {
    "staging": "select 1 as id",
    "mart": "select * from {{ ref('staging') }}",
    "report": "select * from {{ ref('mart') }}",
}
"""A chain of three models: each model reads the previous model."""


def write_models(project: Path, models: Mapping[str, str]) -> Path:
    """Replace the models and the seed of the small project by these models, and return its folder.

    :param models: path below the folder of models, without its ending -> SQL.
    """
    for file in (*(project / "models").rglob("*.*"), *(project / "seeds").iterdir()):
        file.unlink()
    for name, sql in models.items():
        path = project / "models" / f"{name}.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(sql)
    return project


def dag_arguments(
    dbt: FakeVenv,
    project: Path,
    *,
    mode: ExecutionMode = ExecutionMode.LOCAL,
    setup: dict[str, Any] | None = None,
    dbt_vars: dict[str, Any] | None = None,
    manifest: Path | None = None,
    program: Path | None = None,
    **render: Any,
) -> dict[str, Any]:
    """Return the configurations of a DAG or a group of the small project, which the fake dbt lists and runs.

    :param setup: the ``setup_operator_args``.
    :param manifest: the manifest from which the project is loaded; None: dbt ls lists the project.
    :param program: a program that runs the fake dbt; None: the fake dbt itself.
    :param render: arguments of RenderConfig.
    """
    runs: dict[str, Any] = {"dbt_executable_path": program or dbt.dbt, "invocation_mode": InvocationMode.SUBPROCESS}
    load_method = LoadMode.DBT_MANIFEST if manifest else LoadMode.DBT_LS
    return {
        "project_config": ProjectConfig(project, manifest_path=manifest, install_dbt_deps=False, dbt_vars=dbt_vars),
        "profile_config": harbor_profile(project),
        "execution_config": ExecutionConfig(mode, setup_operator_args=setup, **runs),
        "render_config": RenderConfig(load_method=load_method, **runs, **render),
    }


def fake_dag(
    dbt: FakeVenv, project: Path, *, retries: int = 0, dag: Mapping[str, Any] | None = None, **configured: Any
) -> DbtDag:
    """Return the DAG ``harbor`` of these configurations; its tasks are retried without delay.

    :param dag: further arguments of the DAG.
    :param configured: arguments of `dag_arguments`.
    """
    again = {"retries": retries, "retry_delay": timedelta(0)}
    given = {**dag_arguments(dbt, project, **configured), "default_args": again, **(dag or {})}
    return DbtDag(dag_id="harbor", schedule=None, start_date=START, **given)


def states(outcome: DagOutcome) -> dict[str, str]:
    """Return the state of each task, by its id without ``_run``."""
    return {task_id.removesuffix("_run"): each.state for task_id, each in outcome.tasks.items()}
