"""The helper that a team writes to run dbt by Airflow's own PythonVirtualenvOperator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.python import PythonVirtualenvOperator


def run_dbt(commands: list[list[str]], project_dir: str) -> None:
    """Runs in the environment, where nothing outside of this function is known."""
    import subprocess
    import sys
    from pathlib import Path

    dbt = Path(sys.executable).with_name("dbt")
    for command in commands:
        subprocess.run([str(dbt), *command], cwd=project_dir, check=True)


def dbt_task(
    commands: Sequence[Sequence[str]],
    *,
    project_dir: str,
    requirements: Sequence[str],
    venv_cache_path: str | None = None,
    env: Mapping[str, str] | None = None,
    **arguments: Any,
) -> PythonVirtualenvOperator:
    """The task that runs dbt commands one after the other, in an environment of its own or in a cached one."""
    return PythonVirtualenvOperator(
        python_callable=run_dbt,
        op_kwargs={"commands": [list(command) for command in commands], "project_dir": project_dir},
        requirements=list(requirements),
        venv_cache_path=Path(venv_cache_path) if venv_cache_path else None,
        env_vars=dict(env or {}),
        expect_airflow=False,
        **arguments,
    )
