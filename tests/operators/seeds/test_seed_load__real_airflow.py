"""Seeds in tasks as Airflow 3 runs them: a process for each, without a database, that asks its supervisor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from pytest_cosmos_venv import FakeVenv
from tests.operators.real_scheduler import logs, running_scheduler, states_of_only_run
from tests.operators.whole_airflow import WholeAirflow

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not IS_AIRFLOW_3, reason="a task of Airflow 2 asks the database itself"),
]

# One seed of one DAG, loaded by one task after the other, so that one run is enough.
DAG_FILE = """
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from airflow.sdk import DAG, chain, task
from cosmos_venv import ProfileConfig
from cosmos_venv.operators.local import DbtSeedLocalOperator

PROJECT, DATABASE = Path({project!r}), {database!r}

def load(task_id):
    return DbtSeedLocalOperator(
        task_id=task_id,
        project_dir=PROJECT,
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        dbt_executable_path={dbt!r},
        select=task_id,
        extra_context={{
            "dbt_node_config": {{"unique_id": "seed.harbor.piers", "original_file_path": "seeds/piers.csv"}},
            "package_name": "harbor",
            "should_run_if_seed_changed": True,
        }},
    )

with DAG("harbor", schedule="@once", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
    @task
    def change():
        (PROJECT / "seeds" / "piers.csv").write_text("id,name\\n2,South\\n")

    @task
    def break_down():
        # The API server, which has the table, fails from now on.
        with closing(sqlite3.connect(DATABASE, timeout=60)) as database:
            database.execute("alter table variable rename to away")

    @task
    def repair():
        with closing(sqlite3.connect(DATABASE, timeout=60)) as database:
            database.execute("alter table away rename to variable")

    chain(
        load("first"), load("unchanged"), change(), load("changed"), load("unchanged_again"),
        break_down(), load("without_variables"), repair(), load("unchanged_after_all"),
    )
"""


def test_a_task_without_a_database_remembers_and_goes_on_where_it_cannot(
    tmp_path: Path, dbt_project: Path, cosmos_fake_venv: FakeVenv
) -> None:
    database = tmp_path / "airflow" / "airflow.db"
    source = DAG_FILE.format(project=str(dbt_project), database=str(database), dbt=str(cosmos_fake_venv.dbt))
    # More than one: SQLite may be locked for a moment. Fewer than Airflow's own five, which wait for a minute.
    retries = {"AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "3", "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "1"}
    whole = WholeAirflow(python=Path(sys.executable), folder=tmp_path, variables=retries)

    with running_scheduler(whole, source) as airflow:
        states = states_of_only_run(airflow, "harbor")
        told = logs(airflow)

    assert set(states.values()) == {"success"}, told
    loaded = [call.arguments[call.arguments.index("--select") + 1] for call in cosmos_fake_venv.calls]
    assert loaded == ["first", "changed", "without_variables"], told
    assert "The Variable cosmos_venv_seed__harbor.piers__" in told
    assert told.count("cannot be written") == 1
    ((key, description),) = airflow.ask("select key, description from variable")
    assert key.startswith("cosmos_venv_seed__harbor.piers__")
    assert description.startswith("cosmos-venv: what seed.harbor.piers held when harbor loaded it last.")
