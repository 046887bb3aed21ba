"""A batch under a real scheduler: a try that fails, the next one, and what is left of both."""

from __future__ import annotations

import json
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

# The first batch removes its own file of the journal when it has failed: its next try is on another host.
DAG_FILE = """
# Airflow looks only into files in which its name stands.
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT, CACHE = Path({project!r}), Path({cache!r})

def move(context):
    shutil.rmtree(CACHE / "journals-v1")

dag = DbtDag(
    dag_id="harbor",
    schedule="@once",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    default_args={{"retries": 1, "retry_delay": timedelta(seconds=0), "on_retry_callback": move}},
    project_config=ProjectConfig(PROJECT, install_dbt_deps=False),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
    execution_config=ExecutionConfig(dbt_executable_path={dbt!r}, invocation_mode="subprocess"),
    render_config=RenderConfig(
        load_method="dbt_ls",
        dbt_executable_path={dbt!r},
        invocation_mode="subprocess",
        batch_by=lambda nodes: dict.fromkeys(nodes, "all"),
    ),
)
"""


def test_the_next_try_of_a_batch_runs_what_is_not_done(
    tmp_path: Path, dbt_project: Path, cosmos_fake_venv: FakeVenv
) -> None:
    models, cache = dbt_project / "models", tmp_path / "cache"
    (models / "mart.sql").write_text("select * from {{ ref('staging') }}")
    (models / "staging.sql").write_text("select 1 as id")
    cosmos_fake_venv.script("build", nth=1, nodes={"mart": "error"})
    source = DAG_FILE.format(project=str(dbt_project), cache=str(cache), dbt=str(cosmos_fake_venv.dbt))
    variables = {"AIRFLOW__COSMOS_VENV__CACHE_DIR": str(cache)}
    whole = WholeAirflow(python=Path(sys.executable), folder=tmp_path, variables=variables)

    with running_scheduler(whole, source) as airflow:
        states = states_of_only_run(airflow, "harbor")
        told = logs(airflow)

    assert states == {"all_batch": "success"}, told
    first, second = (call.arguments for call in cosmos_fake_venv.calls if call.command == "build")
    assert {"staging", "mart"} <= {*first}
    assert "mart" in second, told
    assert "staging" not in second, told
    assert airflow.ask("select key from variable") == []
    ((rows,),) = airflow.ask("select value from xcom where key = 'dbt_nodes'")
    by_name = {row["node"]: row for row in json.loads(rows if isinstance(rows, str) else json.dumps(rows))}
    assert by_name["model.harbor.staging"]["try_number"] == 1
    assert by_name["model.harbor.mart"]["try_number"] == 2
