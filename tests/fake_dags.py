"""DAGs of the small project that run the fake dbt: models, DAG, and the states of its tasks."""

from __future__ import annotations

import json
import re
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


# Notes which command has found hooks in dbt_project.yml, and what run-operation has found in their place.
_NOTING = """#!/bin/sh
grep -q on-run- dbt_project.yml && echo $1 >> {folder}/found
test $1 = run-operation || exec {dbt} "$@"
echo $2 >> {folder}/ran
rm -rf {folder}/$2
cp -r cosmos_venv_run_hooks {folder}/$2
rmdir {folder}/broken_once_$2 2> {folder}/no_folder && exit 1
test ! -e {folder}/broken_$2
"""


def noting_dbt(dbt: FakeVenv, folder: Path) -> Path:
    """Return a program that runs the fake dbt, but not its ``run-operation``, whose macros it copies.

    :param folder: where it notes in ``found`` the commands that have found hooks, and in ``ran`` the macros that ran. A
        macro fails while there is ``broken_MACRO``, and once if there is a folder ``broken_once_MACRO``.
    """
    program = folder / "dbt"
    program.write_text(_NOTING.format(folder=folder, dbt=dbt.dbt))
    program.chmod(0o755)
    return program


def hook_results(folder: Path) -> dict[str, str]:
    """Return the results that ``on-run-end`` has got: the status of each model by its name.

    :param folder: of ``noting_dbt``.
    """
    literal = re.search(r'"[^"]*"', (folder / "dbt_on_run_end" / "results.sql").read_text())
    assert literal is not None
    found = json.loads(json.loads(literal[0]))
    return {each["unique_id"].rpartition(".")[2]: each["status"] for each in found}


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
