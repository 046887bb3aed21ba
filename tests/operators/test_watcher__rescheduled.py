"""A task that watches nodes without a trigger, as the scheduler of each Airflow sees it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pytest_cosmos_venv import CosmosAirflow
from tests.installed import IS_CI
from tests.test_compat__private_names import AIRFLOWS

LOOK = """
import json
from datetime import datetime, timezone
from cosmos_venv.compat import DAG
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.watcher import DbtRunWatcherOperator
try:
    from airflow.serialization.serialized_objects import DagSerialization as Serialization
except ImportError:
    from airflow.serialization.serialized_objects import SerializedDAG as Serialization

profile = ProfileConfig("harbor", "dev", profiles_yml_filepath="/profiles.yml")
with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
    for deferrable in (True, False):
        DbtRunWatcherOperator(
            task_id=str(deferrable), project_dir="/", profile_config=profile, node_ids=["model.harbor.pier"],
            deferrable=deferrable, emit_datasets=False,
        )
scheduled = Serialization.from_dict(Serialization.to_dict(dag))
seen = {
    task.task_id: ["ReadyToRescheduleDep" in {type(each).__name__ for each in task.deps}, bool(task.reschedule)]
    for task in scheduled.task_dict.values()
}
print("SEEN", json.dumps(seen))
"""


@pytest.mark.long
@pytest.mark.parametrize("release", AIRFLOWS)
def test_the_scheduler_waits_for_the_next_look(release: str, cosmos_airflow: CosmosAirflow) -> None:
    """It queued the task again in each of its loops, whatever poke_interval said."""
    python = AIRFLOWS[release]
    if not python.exists() and not IS_CI:
        pytest.skip(f"no {release} at .cache/envs: make test makes it")

    done = subprocess.run([python, "-c", LOOK], capture_output=True, text=True, check=False)

    (said,) = [line for line in done.stdout.splitlines() if line.startswith("SEEN")] or [done.stderr]
    assert json.loads(said.removeprefix("SEEN")) == {"True": [True, False], "False": [True, True]}, sys.version
