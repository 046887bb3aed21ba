"""A real scheduler, a process for each task: a task that is made alone does all that a task should."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from pytest_cosmos_venv import DbtProject, DbtProjects, FakeVenv
from tests.operators.real_scheduler import logs, running_scheduler, states_of_only_run
from tests.operators.whole_airflow import WholeAirflow

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2's worker looks at the states of other tasks itself"),
]

DAG_FILE = """
import json, os
from datetime import datetime, timedelta, timezone
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, get_parsing_context, task
from cosmos_venv import DbtDag, DbtTaskGroup, ExecutionConfig, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
FOLDER, RECORD = {folder!r}, {record!r}
DBT, FLAKY, BROKEN = {dbt!r}, {flaky!r}, {broken!r}

def note(kind, **facts):
    with open(RECORD, "a") as record:
        record.write(json.dumps({{"kind": kind, **facts}}) + "\\n")

def failed(context):
    # A callback that wants to know the whole DAG.
    note("failure", task=context["ti"].task_id, tasks=sorted(task.task_id for task in context["dag"].tasks),
         after=sorted(context["task"].downstream_task_ids), node=context["dbt_node_config"]["unique_id"])

def dbt(select=(), executable=DBT, **more):
    return dict(
        project_config=ProjectConfig(FOLDER, manifest_path=FOLDER + "/target/manifest.json"),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=FOLDER + "/profiles.yml"),
        execution_config=ExecutionConfig(dbt_executable_path=executable),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, select=list(select)),
        operator_args={{"install_deps": False, "push_run_results_to_xcom": True, **more}},
    )

whole = DbtDag(dag_id="whole", schedule="@once", start_date=START, **dbt(
    executable=FLAKY, retries=1, retry_delay=timedelta(seconds=0),
    on_retry_callback=lambda context: note("retry", task=context["ti"].task_id),
    on_success_callback=lambda context: note("success", made=dict.__len__(context["dag"].task_dict)),
))

with DAG("between", schedule="@once", start_date=START) as between:
    @task
    def numbers(**context):
        note("inside", made=dict.__len__(context["dag"].task_dict))
        return [1, 2]

    @task
    def double(number):
        return 2 * number

    @task(trigger_rule="all_done")
    def report(**context):
        note("report", results=list(context["ti"].xcom_pull(task_ids="double")),
             dbt=context["ti"].xcom_pull(task_ids="first.staging.run", key="run_results") is not None)

    create, drop = EmptyOperator(task_id="create"), EmptyOperator(task_id="drop")
    first = DbtTaskGroup("first", **dbt(["piers", "staging"]))
    with TaskGroup("outer"):
        second = DbtTaskGroup("second", prefix_group_id=True, **dbt(["mart"]))
    third = DbtTaskGroup("third", **dbt(["mart"], BROKEN, on_failure_callback=failed))
    doubled = double.expand(number=numbers())
    create.as_setup() >> first >> doubled >> report()
    first >> second >> third >> drop.as_teardown(setups=create)

with DAG("touched", schedule="@once", start_date=START) as touched:
    group = DbtTaskGroup("dbt", **dbt())

    @task
    def mine():
        return "mine"

    # User code that puts a task of its own between two of the project.
    touched.get_task("dbt.staging.test") >> mine() >> touched.get_task("dbt.mart_run")

asked = get_parsing_context()
note("parse", asked=asked.task_id, dag=asked.dag_id,
     made={{each.dag_id: dict.__len__(each.task_dict) for each in (whole, between, touched)}})
"""


@pytest.fixture
def project(cosmos_dbt_project: DbtProjects) -> DbtProject:
    project = cosmos_dbt_project("harbor")
    project.seed("piers", "id,name\n1,North\n")
    project.model("staging", "select * from {{ ref('piers') }}", tests={"id": ["unique"]})
    project.model("mart", "select * from {{ ref('staging') }}")
    project.manifest()
    return project


def test_tasks_that_are_made_alone_do_all_that_tasks_do(
    tmp_path: Path, project: DbtProject, cosmos_fake_venv: FakeVenv
) -> None:
    flaky, broken = (cosmos_fake_venv(path=tmp_path / name) for name in ("flaky", "broken"))
    flaky.script("seed", nth=1, exit_code=1)
    broken.script("run", nodes={"mart": "error"})
    record = tmp_path / "record.jsonl"
    executables = {"dbt": cosmos_fake_venv.dbt, "flaky": flaky.dbt, "broken": broken.dbt}
    source = DAG_FILE.format(
        folder=str(project.path), record=str(record), **{name: str(path) for name, path in executables.items()}
    )

    with running_scheduler(WholeAirflow(python=Path(sys.executable), folder=tmp_path), source) as airflow:
        states = {dag_id: states_of_only_run(airflow, dag_id) for dag_id in ("whole", "between", "touched")}
        told = logs(airflow)

    facts = [json.loads(line) for line in record.read_text().splitlines()]
    of = {
        kind: [fact for fact in facts if fact["kind"] == kind]
        for kind in ("parse", "retry", "report", "failure", "inside", "success")
    }
    assert states["whole"] == dict.fromkeys(["piers_seed", "staging.run", "staging.test", "mart_run"], "success"), told
    assert states["between"] == {
        **dict.fromkeys(["numbers", "double[0]", "double[1]", "report", "create", "drop"], "success"),
        **dict.fromkeys(["first.piers_seed", "first.staging.run", "first.staging.test"], "success"),
        "outer.second.mart_run": "success",
        "third.mart_run": "failed",
    }, told
    assert set(states["touched"].values()) == {"success"}, told
    assert [fact["task"] for fact in of["retry"]] == ["piers_seed"]
    assert [(fact["results"], fact["dbt"]) for fact in of["report"]] == [([2, 4], True)]
    (failure,) = of["failure"]
    assert failure["tasks"] == sorted({task_id.partition("[")[0] for task_id in states["between"]})
    assert (failure["after"], failure["node"]) == (["drop"], "model.harbor.mart")
    made = {(fact["dag"], fact["asked"]): fact["made"][fact["dag"]] for fact in of["parse"] if fact["asked"]}
    # The DAG of the project's own has nothing but its task; the user's own tasks stand beside those of a group.
    assert {made["whole", task_id] for task_id in states["whole"]} == {1}
    assert {fact["made"] for fact in of["success"]} == {1}  # nothing of Airflow has asked for more while it ran
    own = 5  # numbers, double, report, create, drop
    assert made["between", "first.staging.run"] == own + 1
    # For a task of the user's own all is made, when Airflow takes the task.
    assert made["between", "numbers"] == own
    assert [fact["made"] for fact in of["inside"]] == [len(failure["tasks"])]
    assert made["touched", "dbt.staging.run"] == len(states["touched"])
