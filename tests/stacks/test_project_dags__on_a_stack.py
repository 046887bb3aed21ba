"""DAGs of one project that wait for each other, on real schedulers."""

from __future__ import annotations

from tests.stacks.stack import AIRFLOW_2, AIRFLOW_3, ON_A_STACK, Stack, on

pytestmark = ON_A_STACK

KEYS = ("2026-01-01", "2026-01-02", "2026-01-03")
DOMAINS = {
    "staging": {"stg_orders_run", "ready_for_finance", "ready_for_marts"},
    "finance": {"revenue_run", "ready_for_marts"},
    "marts": {"report_run"},
}
PROJECT = {
    "dbt_project.yml": "name: split\nversion: '1.0'\nprofile: split\n",
    "profiles.yml": "split: {target: dev, outputs: {dev: {type: duckdb, path: split.duckdb}}}\n",
    "models/staging/stg_orders.sql": "select 1 as id",
    "models/finance/revenue.sql": "select * from {{ ref('stg_orders') }}",
    "models/marts/report.sql": "select * from {{ ref('revenue') }} join {{ ref('stg_orders') }} using (id)",
}
DAG_FILE = """
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtProjectDags, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT, DBTS = Path({project!r}), Path({dbts!r})

def split(dag_id, staging):
    dbt = {{"dbt_executable_path": DBTS / dag_id / "bin" / "dbt", "invocation_mode": "subprocess"}}
    DbtProjectDags(
        ProjectConfig(PROJECT, install_dbt_deps=False),
        dag_id=dag_id,
        schedules={{"staging": staging}},
        profile_config=ProfileConfig("split", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        execution_config=ExecutionConfig("local", **dbt),
        render_config=RenderConfig(load_method="dbt_ls", test_behavior="none", **dbt),
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        is_paused_upon_creation=False,
    )

split("unkeyed", None)
"""
WITH_KEYS = """
from airflow.sdk import CronPartitionTimetable

split("keyed", CronPartitionTimetable("0 0 29 2 *", timezone="UTC", key_format="%Y-%m-%d"))
"""


def prepare(stack: Stack) -> Stack:
    project = stack.folder / "split"
    for name, text in PROJECT.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    for dag_id in ("unkeyed", "keyed"):
        stack.new_dbt(dag_id).script("run", select="stg_orders", nth=1, nodes={"stg_orders": "error"})
    text = DAG_FILE.format(project=str(project), dbts=str(stack.folder / "dbts"))
    stack.write("split", text if stack.kind.is_2 else text + WITH_KEYS)
    return stack


def ends_of(stack: Stack, dag_id: str, *, runs: int) -> list[str]:
    """The states of the runs of the last DAG, when there are so many, and every task of each has succeeded."""
    for domain in ("finance", "marts"):
        name = f"{dag_id}_{domain}"
        stack.wait_until(lambda: len(stack.ends(name)) >= runs, f"{runs} runs of {name} end")  # noqa: B023
        for run_id in stack.run_ids(name):
            assert stack.states(name, run_id) == dict.fromkeys(DOMAINS[domain], "success"), stack.logs()
    return stack.ends(f"{dag_id}_marts")


@on(AIRFLOW_3, AIRFLOW_2)
def test_a_dag_runs_once_all_nodes_that_it_reads_are_there(scene: Stack) -> None:
    scene.trigger("unkeyed_staging", "failing")
    state, states = scene.end("unkeyed_staging", "failing")
    assert (state, states["ready_for_marts"]) == ("failed", "upstream_failed"), scene.logs()

    for number in (1, 2):
        scene.trigger("unkeyed_staging", f"good-{number}")

        assert ends_of(scene, "unkeyed", runs=number) == ["success"] * number
    assert {*scene.states("unkeyed_staging", "good-2")} == DOMAINS["staging"]


@on(AIRFLOW_3)
def test_a_run_with_a_partition_key_hands_it_on(scene: Stack) -> None:
    for key in KEYS:
        body = {"logical_date": None, "dag_run_id": key, "partition_key": key}
        scene.call("POST", "dags/keyed_staging/dagRuns", body)
        state, _ = scene.end("keyed_staging", key)
        assert state == ("failed" if key == KEYS[0] else "success"), scene.logs()

    assert ends_of(scene, "keyed", runs=2) == ["success"] * 2
    keys = scene.ask("select partition_key from dag_run where dag_id = 'keyed_marts' order by partition_key")
    assert keys == [[key] for key in KEYS[1:]]
