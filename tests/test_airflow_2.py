"""The same DAG on Airflow 2.11, end to end: a database, ``dag.test()``, a real install by pip, a look-alike dbt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pytest_cosmos_venv import Wheelhouse

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".cache" / "envs" / "airflow2" / "bin" / "python"
DEADLINE = 240.0

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 13) or (not PYTHON.exists() and os.environ.get("CI") != "true"),
    reason="no Airflow 2.11 at .cache/envs/airflow2: make test makes it (Python 3.10 to 3.12)",
)

SOURCE = """
import json
from datetime import datetime, timezone
from airflow.utils.db import initdb
from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

initdb()
dag = DbtDag(
    dag_id="harbor",
    schedule_interval=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig({project!r}),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml"),
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir={directory!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_LS),
    operator_args={{"py_requirements": ["dbt-core==1.10.0", "dbt-duckdb"], "pip_install_options": {options!r}}},
)
run = dag.test()
print("STATES", json.dumps({{ti.task_id: ti.state for ti in run.get_task_instances()}}))
"""


def test_a_dag_runs_on_airflow_2(tmp_path: Path, dbt_project: Path, lookalike_dbt: Wheelhouse) -> None:
    source = SOURCE.format(
        project=str(dbt_project),
        directory=str(tmp_path / "environments"),
        options=lookalike_dbt.pip_install_options,
    )

    done = subprocess.run(
        [str(PYTHON), "-W", "ignore", "-c", textwrap.dedent(source)],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__STANDARD__VENV_INSTALL_METHOD": "pip",
            "PYTHONPATH": str(ROOT),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE,
    )

    states = done.stdout.rpartition("STATES")[2]
    assert done.returncode == 0, done.stdout
    assert json.loads(states) == {"mart_run": "success", "piers_seed": "success", "staging_run": "success"}
