"""A real scheduler with LocalExecutor: a task that has started a warm server ends as soon as any other."""

from __future__ import annotations

import sys
import tempfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from cosmos_venv.dbt.warm import servers
from pytest_cosmos_venv import DbtProjects, Wheelhouse
from tests.dbt.warm.conftest import end_all_servers
from tests.operators.real_scheduler import logs, running_scheduler, states_of_only_run
from tests.operators.whole_airflow import WholeAirflow

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 refuses LocalExecutor on SQLite"),
]

# Airflow 3's supervisor waits for a minute for whoever holds one of its sockets, and there are two slots for tasks.
LONGEST_PAUSE = 45.0
TASKS = [f"run_{number}" for number in range(4)]

DAG_FILE = """
from datetime import datetime, timezone
from airflow.sdk import DAG
from cosmos_venv import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator

with DAG("harbor", schedule="@once", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
    before = None
    for number, task_id in enumerate({tasks!r}):
        task = DbtRunVirtualenvOperator(
            task_id=task_id,
            project_dir={project!r},
            profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml"),
            py_requirements=["dbt-core==1.10.0", "dbt-duckdb"],
            pip_install_options={options!r},
            virtualenv_dir={directory!r},
            install_deps=False,
            warm_dbt="require",
            # Each but the last needs a server of its own, and starts it.
            env={{"TZ": f"Etc/GMT+{{min(number, 2)}}"}},
        )
        if before:
            before >> task
        before = task
"""


def test_a_supervisor_does_not_wait_for_a_server(
    tmp_path: Path, cosmos_dbt_project: DbtProjects, cosmos_wheelhouse: Wheelhouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = cosmos_dbt_project("harbor")
    project.model("staging", "select 1 as id")
    source = DAG_FILE.format(
        tasks=TASKS,
        project=str(project.path),
        options=list(cosmos_wheelhouse.pip_install_options),
        directory=str(tmp_path / "environments"),
    )

    with tempfile.TemporaryDirectory(prefix="cv-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        variables = {**cosmos_wheelhouse.environment, "TMPDIR": folder}
        airflow = WholeAirflow(python=Path(sys.executable), folder=tmp_path, variables=variables)
        try:
            with running_scheduler(airflow, source):
                states = states_of_only_run(airflow, "harbor")
                served = [(servers.state_of(place) or {}).get("commands") for place in servers.servers()]
                told = logs(airflow)
        finally:
            end_all_servers()

    rows = airflow.ask("select task_id, start_date, end_date from task_instance where dag_id = 'harbor'")
    times = {task: (datetime.fromisoformat(start), datetime.fromisoformat(end)) for task, start, end in rows}
    pauses = [(times[after][0] - times[before][1]).total_seconds() for before, after in pairwise(TASKS)]
    assert states == dict.fromkeys(TASKS, "success"), told
    assert sorted(map(str, served)) == ["1", "1", "2"]
    assert max(pauses) < LONGEST_PAUSE, pauses
