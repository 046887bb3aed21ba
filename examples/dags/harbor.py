"""A dbt project as an Airflow DAG; dbt lives in a managed environment of its own, not in Airflow's."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.profiles import DuckDBUserPasswordProfileMapping

HARBOR_PROJECT = Path(__file__).resolve().parent.parent / "dbt" / "harbor"
AIRFLOW_HOME = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()

harbor = DbtDag(
    dag_id="harbor",
    schedule="@daily",
    start_date=datetime(2025, 6, 1, tzinfo=timezone.utc),
    catchup=False,
    # A DuckDB file takes one writer at a time, and Airflow 3 counts the active tasks of each run apart. A warehouse
    # with a server needs no such limits.
    max_active_runs=1,
    max_active_tasks=1,
    project_config=ProjectConfig(HARBOR_PROJECT),
    # An Airflow Connection of type "duckdb" whose host is the path of the database file.
    profile_config=ProfileConfig(
        profile_name="harbor",
        target_name="dev",
        profile_mapping=DuckDBUserPasswordProfileMapping(conn_id="harbor_duckdb", profile_args={"schema": "main"}),
    ),
    # Built once from py_requirements below, then used by every parse and every task, side by side.
    execution_config=ExecutionConfig(
        execution_mode=ExecutionMode.VIRTUALENV,
        virtualenv_dir=AIRFLOW_HOME / "dbt-environments",
    ),
    render_config=RenderConfig(load_method=LoadMode.DBT_LS),
    # What a node says in its own meta goes over this: the snapshot stays on dbt 1.10 (snapshots/vessels_history.yml).
    operator_args={"py_requirements": ["dbt-core~=1.11.0", "dbt-duckdb~=1.11.0"]},
)
