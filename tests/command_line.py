"""Calls of the command ``cosmos-venv`` in tests, and DAG files for its arguments."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.prepared import LONGEST, PreparedPython

_PREPARED = PreparedPython(
    name="cosmos-venv",
    # Importing Airflow takes two seconds.
    imports="""
import airflow.plugins_manager, airflow.providers_manager, airflow.settings
import cosmos_venv.cli, cosmos_venv.cli.dag_files, cosmos_venv.dag
""",
    call="cosmos_venv.cli.main()",
)
_HARBOR = """
# an airflow dag
from datetime import datetime, timezone
from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
PROFILE = ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml")
INSTALLED = dict(py_requirements={requirements!r}, pip_install_options={options!r})

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
"""


def cosmos_venv(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``cosmos-venv`` with these arguments, run to its end in a process of its own."""
    words = [str(each) for each in arguments]
    # The prepared process has read Airflow's settings at import; cosmos-venv reads its settings later.
    if _of_airflow(os.environ) == _AT_FIRST:
        return _PREPARED.run(words)
    command = [sys.executable, "-W", "ignore", "-m", "cosmos_venv.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)


def _of_airflow(variables: Mapping[str, str]) -> dict[str, str]:
    ours = ("AIRFLOW__COSMOS__", "AIRFLOW__COSMOS_VENV__")
    return {
        name: value for name, value in variables.items() if name.startswith("AIRFLOW") and not name.startswith(ours)
    }


_AT_FIRST = _of_airflow(os.environ)


def write_dag_file(folder: Path, source: str) -> Path:
    """Write ``dag.py`` into a folder, and return its path."""
    path = folder / "dag.py"
    path.write_text(source)
    return path


def harbor_source(
    project: Path,
    directory: Path,
    wheelhouse: Wheelhouse,
    requirements: Sequence[str] = ("dbt-core==1.10.0", "dbt-duckdb"),
) -> str:
    """A DAG file that lists the small project by dbt ls and keeps its environment in ``directory``."""
    return _HARBOR.format(
        project=str(project),
        directory=str(directory),
        requirements=list(requirements),
        options=list(wheelhouse.pip_install_options),
    )
