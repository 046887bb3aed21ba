"""A worker of each release of Airflow 3 makes the task that it runs, and no other."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DAG_FILE = """
# airflow
from datetime import datetime, timezone
from cosmos_venv import DbtDag, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

FOLDER = {folder!r}
harbor = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig(FOLDER, manifest_path=FOLDER + "/manifest.json"),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=FOLDER + "/profiles.yml"),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
)
"""
# Airflow's own function takes the task out of the DAG: who looks into it counts.
WORKER = """
import json, sys
from airflow.sdk.execution_time import task_runner

file, task_id = sys.argv[1:]
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # before Airflow 3.2
    from airflow.models.dagbag import DagBag
for comms in (None, object()):  # the processor of DAG files, which keeps the plan, and the worker
    task_runner.SUPERVISOR_COMMS = comms
    bag = DagBag(dag_folder=file, safe_mode=False, load_op_links=False)
    assert not bag.import_errors, bag.import_errors
dag = bag.dags["harbor"]
code = compile("def parse():\\n    return dag.task_dict[task_id]\\n", task_runner.__file__, "exec")
exec(code, names := {**vars(task_runner), "dag": dag, "task_id": task_id})
names["parse"]()
print(json.dumps([task.task_id for task in dict.values(dag.task_dict)]))
"""


@pytest.mark.long
def test_it_makes_one_task(python: Path, project: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "airflow2" in request.node.callspec.id:
        pytest.skip("the worker of Airflow 2 looks at the states of other tasks itself")
    file = tmp_path / "harbor_dag.py"
    file.write_text(DAG_FILE.format(folder=str(project)))
    parsing = {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": "harbor", "_AIRFLOW_PARSING_CONTEXT_TASK_ID": "geo_rollup_run"}
    settings = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
    }

    done = subprocess.run(
        [python, "-c", WORKER, file, "geo_rollup_run"],
        env={**os.environ, **settings, **parsing},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["geo_rollup_run"]
