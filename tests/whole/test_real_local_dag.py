"""LOCAL mode end to end, in one DbtDag: real dbt on DuckDB, in the task's own process and beside it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from pytest_cosmos_venv.airflow.home import AirflowHome
from tests.installed import DBT_111 as DBT_ENVIRONMENT
from tests.installed import ROOT, site_packages_of
from tests.real_seeds import needs_real_dbt
from tests.whole.test_real_postgres import files_with

SECRET = "s3cret-word"
DEADLINE = 200.0

pytestmark = [pytest.mark.long, needs_real_dbt]

# The models tell how long the secret is that dbt has. Those in the process of `dags test` come last: DuckDB's file is
# that process's then, to its end, as it would be that of a task of its own.
LENGTH = "{{ config(materialized='table') }} select length(current_setting('http_proxy_password')) as id"
PROJECT = {
    "models/staging.sql": LENGTH + " from {{ ref('piers') }}\n",
    "models/mart.sql": LENGTH + " from {{ ref('staging') }}\n",
    "models/schema.yml": """
models:
  - name: mart
    config: {meta: {cosmos: {operator_kwargs: {invocation_mode: dbt_runner}}}}
    columns: [{name: id, data_tests: [unique]}]
""",
}
TASKS = ["piers_seed", "staging_run", "mart.run", "mart.test"]

DAG = """
# An airflow dag.
import json, os, pathlib, tempfile
from datetime import datetime, timezone
from cosmos_venv import (
    DbtDag, ExecutionConfig, ExecutionMode, InvocationMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig
)
from cosmos_venv.profiles import DuckDBUserPasswordProfileMapping

secret = os.environ["OF_THE_WORKER"]

def look(project_dir, context):
    profiles = [path.read_text() for path in pathlib.Path(tempfile.gettempdir()).rglob("profiles.yml")]
    files = [path for path in pathlib.Path(project_dir).rglob("*") if path.is_file()]
    told = dict(
        task=context["ti"].task_id,
        profiles=len(profiles),
        holding=[str(path) for path in files if secret.encode() in path.read_bytes()],
        in_profile=secret in "".join(profiles),
        in_environment=[name for name, value in os.environ.items() if secret in value],
    )
    with open("{told}", "a") as file:
        print(json.dumps(told), file=file)

harbor = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig("{project}"),
    profile_config=ProfileConfig("harbor", "dev", profile_mapping=DuckDBUserPasswordProfileMapping(
        "harbor", dict(settings=dict(http_proxy_password=secret))
    )),
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.LOCAL, dbt_executable_path="{dbt}"),
    render_config=RenderConfig(load_method=LoadMode.DBT_LS),
    operator_args=dict(callback=look),
)
"""


def test_one_dag_runs_dbt_in_its_tasks_and_beside_them(
    dbt_project: Path, airflow_apart: AirflowHome, tmp_path: Path
) -> None:
    for name, text in PROJECT.items():
        (dbt_project / name).write_text(text)
    (tmp_path / "temp").mkdir()
    told, database, dbt = tmp_path / "told", tmp_path / "harbor.duckdb", DBT_ENVIRONMENT / "bin" / "dbt"
    source = DAG.format(told=told, project=dbt_project, dbt=dbt)
    airflow_apart.add_dag_file("harbor.py", source)
    # dbt is installed beside Airflow, so to speak: its packages come after Airflow's own.
    packages = str(site_packages_of(DBT_ENVIRONMENT))
    start = f"import sys; sys.path.append({packages!r}); from airflow.__main__ import main; main()"

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", start, "dags", "test", "harbor"],
        env={
            **os.environ,
            **airflow_apart.environment,
            "AIRFLOW_CONN_HARBOR": json.dumps({"conn_type": "duckdb", "host": str(database)}),
            "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(tmp_path / "cache"),
            # dbt ls takes longer than Airflow's 30 s on a machine that runs much else.
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "0",
            "OF_THE_WORKER": SECRET,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(tmp_path / "temp"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE,
    )

    witnessed = [json.loads(line) for line in told.read_text().splitlines()]
    assert done.returncode == 0, done.stdout
    assert states(airflow_apart) == dict.fromkeys(TASKS, "success")
    assert [done.stdout.count(words) for words in ("in this process", f"Running {dbt} ")] == [2, 2]
    with duckdb.connect(str(database), config={"http_proxy_password": "another"}) as connection:
        assert connection.execute("from staging union all from mart").fetchall() == [(len(SECRET),)] * 2
    assert [each.pop("task") for each in witnessed] == TASKS
    nowhere = {"profiles": 1, "holding": [], "in_profile": False, "in_environment": ["OF_THE_WORKER"]}
    assert witnessed == [nowhere] * len(TASKS)
    assert SECRET not in done.stdout
    assert files_with(SECRET, tmp_path / "temp", tmp_path / "cache", airflow_apart.path)[0] == []
    assert not list((tmp_path / "temp").iterdir())


def states(home: AirflowHome) -> dict[str, str]:
    with closing(sqlite3.connect(home.database)) as database:
        return dict(database.execute("select task_id, state from task_instance where dag_id = 'harbor'").fetchall())
