"""The table, the artifacts and the hooks of a run, the link of a task and its page, as Airflow 3's API gives them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from pytest_cosmos_venv import FakeVenv
from tests.fake_dags import hook_results, noting_dbt
from tests.stacks.stack import AIRFLOW_2, AIRFLOW_3, ON_A_STACK, Stack, on
from tests.stacks.watched import make_three_models

pytestmark = ON_A_STACK

Scene = tuple[Stack, FakeVenv]
DOCS = "https://docs.example/harbor/"
SUMMARY = "dbt_run_summary"
HOOKS = ("dbt_on_run_start", "dbt_on_run_end")
DAG_FILE = """
from datetime import datetime, timezone
from pathlib import Path
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from cosmos_venv import DbtDag, DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT = Path({project!r})
DBT = {{"dbt_executable_path": {dbt!r}, "invocation_mode": "subprocess"}}
ONCE = {{
    "schedule": "@once", "start_date": datetime(2026, 1, 1, tzinfo=timezone.utc), "is_paused_upon_creation": False
}}

def tell(context):
    rows = " ".join(row["node"] for row in context["dbt_nodes"])
    (PROJECT / (context["ti"].dag_id + ".told")).write_text(repr(context["dbt_owner"]) + " " + rows)

def harbor(mode):
    return dict(
        project_config=ProjectConfig(PROJECT, install_dbt_deps=False),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        execution_config=ExecutionConfig(mode, **DBT),
        render_config=RenderConfig(
            load_method="dbt_ls", run_artifacts=True, notify_owners={{"*": tell}}, run_hooks_once=True, **DBT
        ),
    )

with DAG("summed_local", **ONCE) as summed_local:
    DbtTaskGroup("harbor", **harbor("local")) >> EmptyOperator(task_id="after")

summed_watcher = DbtDag("summed_watcher", **ONCE, **harbor("watcher"))
"""

HOOKED = """
from datetime import datetime, timedelta, timezone
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

DBT = {{"dbt_executable_path": {dbt!r}, "invocation_mode": "subprocess"}}
hooked = DbtDag(
    "hooked",
    schedule="@once",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    is_paused_upon_creation=False,
    default_args={{"retries": 1, "retry_delay": timedelta(0)}},
    project_config=ProjectConfig({project!r}, install_dbt_deps=False),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml"),
    execution_config=ExecutionConfig("local", **DBT),
    render_config=RenderConfig(load_method="dbt_ls", run_hooks_once=True, **DBT),
)
"""


def prepare(stack: Stack) -> Scene:
    project, dbt = stack.folder / "summed", stack.new_dbt("summed")
    make_three_models(project)
    folder, hooked = stack.folder / "hooked", stack.new_dbt("hooked")
    (folder / f"broken_once_{HOOKS[1]}").mkdir(parents=True)
    hooked.script("run", nodes={"mart": "error"})
    stack.write("hooked", HOOKED.format(project=str(project), dbt=str(noting_dbt(hooked, folder))))
    if stack.kind.is_2:
        return stack, hooked
    dbt.script("run", nodes={"mart": "error"})
    dbt.script("build", nodes={"mart": "error"})
    stack.write("summed", DAG_FILE.format(project=str(project), dbt=str(dbt.dbt)))
    stack.variables["AIRFLOW__COSMOS_VENV__DBT_DOCS_URL"] = DOCS
    stack.variables["AIRFLOW__COSMOS__REMOTE_TARGET_PATH"] = (stack.folder / "artifacts").as_uri()
    return stack, hooked


@on(AIRFLOW_3)
def test_a_run_has_a_table_and_a_task_leads_to_the_docs(scene: Scene) -> None:
    stack, _ = scene
    local, watcher = stack.end("summed_local"), stack.end("summed_watcher")

    assert local == (
        "failed",
        {
            "harbor.staging_run": "success",
            "harbor.mart_run": "failed",
            "harbor.report_run": "upstream_failed",
            **{f"harbor.{each}": "success" for each in (*HOOKS, SUMMARY)},
            "harbor.dbt_on_run_end_done": "upstream_failed",
            "after": "upstream_failed",
        },
    ), stack.logs()
    assert watcher[0] == "failed"
    assert {watcher[1][each] for each in (*HOOKS, SUMMARY)} == {"success"}, stack.logs()
    assert {dag_id: states_in_table(stack, dag_id, task_id) for dag_id, task_id in TABLES.items()} == {
        "summed_local": {"staging": "success", "mart": "error", "report": "upstream_failed"},
        "summed_watcher": {"staging": "success", "mart": "error", "report": "skipped"},
    }
    for dag_id, name in {"summed_local": "summed_local/harbor", "summed_watcher": "summed_watcher"}.items():
        assert (stack.folder / "summed" / f"{dag_id}.told").read_text() == "'' model.harbor.mart"
        (results,) = (stack.folder / "artifacts" / name).rglob("run_results.json")
        found = {each["unique_id"]: each["status"] for each in json.loads(results.read_text())["results"]}
        assert found == {
            "model.harbor.staging": "success",
            "model.harbor.mart": "error",
            "model.harbor.report": "skipped",
        }
        assert json.loads(results.with_name("manifest.json").read_text())["nodes"].keys() == found.keys()
    # A task that has not run leads nowhere; Airflow shows no button that can be pressed.
    leads = f"{DOCS}#!/model/model.harbor."
    links = {
        task: about(stack, "summed_local", f"harbor.{task}_run", "links") for task in ("staging", "mart", "report")
    }
    assert {task: each["extra_links"] for task, each in links.items()} == {
        "staging": {"dbt docs": f"{leads}staging"},
        "mart": {"dbt docs": f"{leads}mart"},
        "report": {"dbt docs": None},
    }
    page = stack.call("GET", "dags/summed_local/tasks/harbor.staging_run")["doc_md"]
    assert f"[dbt docs](<{leads}staging>)" in page


TABLES = {"summed_local": f"harbor.{SUMMARY}", "summed_watcher": SUMMARY}


def about(stack: Stack, dag_id: str, task_id: str, what: str) -> Any:
    (run_id,) = stack.run_ids(dag_id)
    return stack.call("GET", f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/{what}")


def states_in_table(stack: Stack, dag_id: str, task_id: str) -> dict[str, str]:
    table = about(stack, dag_id, task_id, "xcomEntries/return_value?deserialize=true")["value"]
    return {row["node"].rpartition(".")[2]: row["state"] for row in table["rows"]}


@on(AIRFLOW_3, AIRFLOW_2)
def test_hooks_run_again_with_cleared_tasks_and_get_the_new_results(scene: Scene) -> None:
    (first, last), (stack, dbt) = HOOKS, scene
    folder = stack.folder / "hooked"
    states = {**dict.fromkeys((first, last, "staging_run"), "success"), "mart_run": "failed"}
    behind = dict.fromkeys(("report_run", f"{last}_done"), "upstream_failed")
    assert stack.end("hooked") == ("failed", {**states, **behind}), stack.logs()
    assert hook_results(folder) == {"staging": "success", "mart": "error", "report": "skipped"}
    assert (folder / "ran").read_text().split() == [first, last, last], "the first try of the last hooks has failed"
    dbt.script("run", nodes={"mart": "success"})

    stack.clear("hooked", "mart_run", *behind)

    # Airflow clears the setup and teardown tasks of a cleared task.
    assert stack.end("hooked") == ("success", dict.fromkeys((*states, *behind), "success")), stack.logs()
    assert hook_results(folder) == dict.fromkeys(("staging", "mart", "report"), "success")
    assert (folder / "ran").read_text().split() == [first, last, last, first, last]
