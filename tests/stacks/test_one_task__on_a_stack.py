"""A real scheduler, a process for each task: a task that is made alone does all that a task should.

Airflow 2's worker looks at the states of other tasks itself.
"""

from __future__ import annotations

import json
from pathlib import Path

from pytest_cosmos_venv import CosmosProject
from tests.stacks.stack import AIRFLOW_3, ON_A_STACK, Stack, on

pytestmark = [*ON_A_STACK, on(AIRFLOW_3)]

DAG_FILE = """
import json, os
from datetime import datetime, timedelta, timezone
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, get_parsing_context, task
from cosmos_venv import DbtDag, DbtTaskGroup, ExecutionConfig, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

ONCE = {{
    "schedule": "@once", "start_date": datetime(2026, 1, 1, tzinfo=timezone.utc), "is_paused_upon_creation": False
}}
FOLDER, RECORD, DBTS = {folder!r}, {record!r}, {dbts!r}
DBT, FLAKY, BROKEN = (DBTS + "/" + name + "/bin/dbt" for name in ("one_task", "flaky", "broken"))

def note(kind, **facts):
    with open(RECORD, "a") as record:
        record.write(json.dumps({{"kind": kind, **facts}}) + "\\n")

def failed(context):
    # A callback that wants to know the whole DAG.
    note("failure", task=context["ti"].task_id, tasks=sorted(task.task_id for task in context["dag"].tasks),
         after=sorted(context["task"].downstream_task_ids), node=context["dbt_node_config"]["unique_id"])

# One DAG has assets. When two tasks give Airflow 3.3 the same new asset at one moment, its API server fails one task.
def dbt(select=(), executable=DBT, emit_datasets=False, **more):
    return dict(
        project_config=ProjectConfig(FOLDER, manifest_path=FOLDER + "/target/manifest.json"),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=FOLDER + "/profiles.yml"),
        execution_config=ExecutionConfig(dbt_executable_path=executable),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST, select=list(select), emit_datasets=emit_datasets
        ),
        operator_args={{"install_deps": False, "push_run_results_to_xcom": True, **more}},
    )

whole = DbtDag(dag_id="whole", **ONCE, **dbt(
    executable=FLAKY, emit_datasets=True, retries=1, retry_delay=timedelta(seconds=0),
    on_retry_callback=lambda context: note("retry", task=context["ti"].task_id),
    on_success_callback=lambda context: note("success", made=dict.__len__(context["dag"].task_dict)),
))

with DAG("between", **ONCE) as between:
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

with DAG("touched", **ONCE) as touched:
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


def prepare(stack: Stack) -> tuple[Stack, Path]:
    project = CosmosProject(folder=stack.folder / "one_task")("harbor")
    project.seed("piers", "id,name\n1,North\n")
    project.model("staging", "select * from {{ ref('piers') }}", tests={"id": ["unique"]})
    project.model("mart", "select * from {{ ref('staging') }}")
    project.manifest()
    for name in ("one_task", "flaky", "broken"):
        dbt = stack.new_dbt(name)
        if name == "flaky":
            dbt.script("seed", nth=1, exit_code=1)
        if name == "broken":
            dbt.script("run", nodes={"mart": "error"})
    record = stack.folder / "one_task.jsonl"
    source = DAG_FILE.format(folder=str(project.path), record=str(record), dbts=str(stack.folder / "dbts"))
    stack.write("one_task", source)
    return stack, record


def test_tasks_that_are_made_alone_do_all_that_tasks_do(scene: tuple[Stack, Path]) -> None:
    stack, record = scene
    states = {dag_id: stack.end(dag_id)[1] for dag_id in ("whole", "between", "touched")}
    told = stack.logs()

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
