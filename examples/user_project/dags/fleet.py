"""The ships that are late: a dbt project as a DAG, run with a dbt of its own."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, ProfileConfig, ProjectConfig
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping

AIRFLOW_HOME = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()

fleet = DbtDag(
    dag_id="fleet",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    project_config=ProjectConfig(Path(__file__).parents[1] / "dbt" / "fleet"),
    profile_config=ProfileConfig(
        profile_name="fleet",
        target_name="prod",
        profile_mapping=PostgresUserPasswordProfileMapping(conn_id="warehouse", profile_args={"schema": "fleet"}),
    ),
    execution_config=ExecutionConfig(
        execution_mode=ExecutionMode.VIRTUALENV,
        virtualenv_dir=AIRFLOW_HOME / "dbt-environments",
    ),
    operator_args={"py_requirements": ["dbt-core~=1.10.0", "dbt-postgres"]},
    default_args={"retries": 1, "retry_delay": timedelta(minutes=5)},
)
