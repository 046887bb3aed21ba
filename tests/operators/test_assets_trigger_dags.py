"""Does a DAG run when the dbt nodes that it waits for have run? Airflow 3 and 2, a real dbt, database, scheduler."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".cache" / "envs"
DBT = ENVIRONMENTS / "dbt111" / "bin" / "dbt"
AIRFLOW_2 = ENVIRONMENTS / "airflow2" / "bin" / "python"
DEADLINE = 240.0

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not DBT.exists() and os.environ.get("CI") != "true",
        reason="no real dbt at .cache/envs/dbt111: make test makes it",
    ),
]

# The processor of DAG files looks for the word airflow in them.
DAG_FILE = """
from datetime import datetime, timezone
from cosmos_venv import DbtDag, ExecutionConfig, LoadMode, ProfileConfig, ProjectConfig, RenderConfig, TestBehavior
from cosmos_venv.compat import DAG, EmptyOperator, asset, asset_alias
from cosmos_venv.operators.local import DbtSeedLocalOperator

start = datetime(2026, 1, 1, tzinfo=timezone.utc)
profile = ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml")
own = [asset("x://own")]
harbor = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=start,
    project_config=ProjectConfig({project!r}),
    profile_config=profile,
    execution_config=ExecutionConfig(dbt_executable_path={dbt!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_LS, test_behavior=TestBehavior.NONE),
    operator_args={{"outlets": own}},
)
with DAG("mapped", schedule=None, start_date=start) as mapped:
    # An alias that Airflow 2 does not see while it parses.
    DbtSeedLocalOperator.partial(
        task_id="load", project_dir={project!r}, profile_config=profile, dbt_executable_path={dbt!r}
    ).expand(full_refresh=[True])
for dag_id, waited_for in {{
    "after_the_seed": asset({uri!r}.format("piers")),
    "after_a_model": asset({uri!r}.format("staging")),
    "after_a_task": asset_alias("harbor__staging_run"),
    "after_its_own": own[0],
}}.items():
    with DAG(dag_id, schedule=[waited_for], start_date=start, is_paused_upon_creation=False):
        EmptyOperator(task_id="report")
    globals()[dag_id] = None
if __name__ == "__main__":
    for dag in (harbor, mapped):
        dag.test()
"""


@pytest.fixture(
    params=[
        pytest.param((sys.executable, "/"), id="airflow-3"),
        pytest.param(
            (str(AIRFLOW_2), "."),
            id="airflow-2",
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 13) or (not AIRFLOW_2.exists() and os.environ.get("CI") != "true"),
                reason="no Airflow 2.11 at .cache/envs/airflow2: make test makes it (Python 3.10 to 3.12)",
            ),
        ),
    ]
)
def ran(request: pytest.FixtureRequest, dbt_project: Path, tmp_path: Path) -> Callable[[str], list[Any]]:
    """An Airflow after two DAGs of dbt tasks have run, and its scheduler; asks its database."""
    python, separator = request.param
    (dbt_project / "models" / "mart.sql").unlink()
    database = tmp_path / "harbor.duckdb"
    (dbt_project / "profiles.yml").write_text(
        json.dumps({"harbor": {"outputs": {"dev": {"type": "duckdb", "path": str(database)}}}})
    )
    home = tmp_path / "airflow"
    file = home / "dags" / "harbor.py"
    file.parent.mkdir(parents=True)
    uri = f"duckdb://{database}/{separator.join(['harbor', 'main', '{}'])}"
    file.write_text(DAG_FILE.format(project=str(dbt_project), dbt=str(DBT), uri=uri))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__DATABASE")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    airflow = [python, "-m", "airflow"]
    for command in (
        [*airflow, "db", "migrate"],
        [*airflow, "dags", "reserialize"],
        [python, str(file)],
        [*airflow, "scheduler", "--num-runs", "5"],
    ):
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stdout

    def ask(statement: str) -> list[Any]:
        with sqlite3.connect(home / "airflow.db") as connection:
            return connection.execute(statement).fetchall()

    return ask


def test_dags_that_wait_for_an_asset_run(ran: Callable[[str], list[Any]]) -> None:
    runs = ran("select dag_id, run_type, state from dag_run order by dag_id")

    tables = {name for (name,) in ran("select name from sqlite_master")}
    kind = "asset" if "asset" in tables else "dataset"
    triggered = f"{kind}_triggered"
    assert runs == [
        *((dag_id, triggered, "success") for dag_id in ("after_a_model", "after_a_task", "after_its_own")),
        ("after_the_seed", triggered, "success"),
        ("harbor", "manual", "success"),
        ("mapped", "manual", "success"),
    ]
    given = ran(
        f"select source_dag_id, source_task_id, source_map_index, uri from {kind}_event join {kind} "  # noqa: S608
        f"on {kind}.id = {kind}_event.{kind}_id where uri like 'duckdb%' order by 1, 2, 3"
    )
    assert [(*task, uri.replace("/", ".").rpartition(".")[2]) for *task, uri in given] == [
        ("harbor", "piers_seed", -1, "piers"),
        ("harbor", "staging_run", -1, "staging"),
        ("mapped", "load", 0, "piers"),
    ]
