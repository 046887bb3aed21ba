"""The partition of a run that a real scheduler has made, on releases of Airflow that have partitions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from airflow.timetables import trigger

from pytest_cosmos_venv import DbtProject, DbtProjects, FakeVenv
from tests.installed import OLDER_AIRFLOWS_3, is_missing
from tests.operators.real_scheduler import logs, running_scheduler, states_of_only_run
from tests.operators.whole_airflow import WholeAirflow

AIRFLOWS = {
    "airflow32": OLDER_AIRFLOWS_3["airflow32"],
    **({"this": Path(sys.executable)} if hasattr(trigger, "CronPartitionTimetable") else {}),
}
DAG_FILE = """
from datetime import datetime, timezone
from airflow.sdk import DAG
from airflow.timetables.trigger import CronPartitionTimetable
from cosmos_venv import ProfileConfig
from cosmos_venv.operators.local import DbtRunLocalOperator

# A run for one day: the partition is the day before.
DAY = datetime(2026, 1, 2, tzinfo=timezone.utc)
schedule = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")
with DAG("harbor", schedule=schedule, start_date=DAY, end_date=DAY, catchup=True) as dag:
    DbtRunLocalOperator(
        task_id="run",
        project_dir={folder!r},
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={folder!r} + "/profiles.yml"),
        dbt_executable_path={dbt!r},
        install_deps=False,
        event_time="daily_partition",
    )
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]


@pytest.fixture
def project(cosmos_dbt_project: DbtProjects) -> DbtProject:
    project = cosmos_dbt_project("harbor")
    project.model("mart", "select 1 as id")
    return project


@pytest.mark.parametrize(
    "release", [pytest.param(name, marks=pytest.mark.exhaustive if name != "this" else ()) for name in AIRFLOWS]
)
def test_dbt_gets_the_partition_of_the_run(
    release: str, tmp_path: Path, project: DbtProject, cosmos_fake_venv: FakeVenv
) -> None:
    python = AIRFLOWS[release]
    if is_missing(python):
        pytest.skip(f"no Airflow at .cache/envs/{release}: make test makes it")
    source = DAG_FILE.format(folder=str(project.path), dbt=str(cosmos_fake_venv.dbt))

    with running_scheduler(WholeAirflow(python=python, folder=tmp_path), source) as airflow:
        states = states_of_only_run(airflow, "harbor")
        told = logs(airflow)

    assert states == {"run": "success"}, told
    (words,) = [" ".join(call.argv) for call in cosmos_fake_venv.calls if "run" in call.argv]
    assert "--event-time-start 2026-01-01T00:00:00 --event-time-end 2026-01-02T00:00:00" in words
