"""The partition of a run that a real scheduler has made."""

from __future__ import annotations

from pytest_cosmos_venv import FakeVenv
from tests.stacks.stack import AIRFLOW_3, ON_A_STACK, Stack, on
from tests.stacks.watched import make_three_models

pytestmark = [*ON_A_STACK, on(AIRFLOW_3)]

DAG_FILE = """
from datetime import datetime, timezone
from airflow.sdk import DAG
from airflow.timetables.trigger import CronPartitionTimetable
from cosmos_venv import ProfileConfig
from cosmos_venv.operators.local import DbtRunLocalOperator

# A run for one day: the partition is the day before.
DAY = datetime(2026, 1, 2, tzinfo=timezone.utc)
schedule = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")
with DAG(
    "partitions", schedule=schedule, start_date=DAY, end_date=DAY, catchup=True, is_paused_upon_creation=False
) as dag:
    DbtRunLocalOperator(
        task_id="run",
        project_dir={folder!r},
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={folder!r} + "/profiles.yml"),
        dbt_executable_path={dbt!r},
        install_deps=False,
        event_time="daily_partition",
    )
"""


def prepare(stack: Stack) -> tuple[Stack, FakeVenv]:
    project, dbt = stack.folder / "partitions", stack.new_dbt("partitions")
    make_three_models(project)
    stack.write("partitions", DAG_FILE.format(folder=str(project), dbt=str(dbt.dbt)))
    return stack, dbt


def test_dbt_gets_the_partition_of_the_run(scene: tuple[Stack, FakeVenv]) -> None:
    stack, dbt = scene

    assert stack.end("partitions") == ("success", {"run": "success"}), stack.logs()

    (words,) = [" ".join(call.argv) for call in dbt.calls if "run" in call.argv]
    assert "--event-time-start 2026-01-01T00:00:00 --event-time-end 2026-01-02T00:00:00" in words
