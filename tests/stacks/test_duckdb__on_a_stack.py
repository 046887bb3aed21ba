"""Two runs of a DAG on one DuckDB file, at once, with the limits that README and the pages advise.

On Airflow 3 ``max_active_tasks`` counts the tasks of each run apart: alone, it lets two dbts write to the file.
"""

from __future__ import annotations

import re

import pytest

from tests.installed import DBT, ROOT, needs_dbt
from tests.stacks.stack import AIRFLOW_3, ON_A_STACK, Stack, on
from tests.whole.page_blocks import blocks_in
from tests.whole.test_docs_tutorials import README_DAG

pytestmark = [*ON_A_STACK, needs_dbt, on(AIRFLOW_3)]

LIMITS = {name: int(number) for name, number in re.findall(r"(max_active_\w+)=(\d+)", README_DAG)}
(POOL_ARGUMENTS,) = (
    block
    for block in blocks_in((ROOT / "docs" / "how-to" / "moving.md").read_text(encoding="utf-8"), "python")
    if '"pool":' in block
)
POOL = re.findall(r'"pool": "(\w+)"', POOL_ARGUMENTS)[0]
MODELS = ("north", "south", "east")
DAG_FILE = """
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

for dag_id, limits, arguments in (("by_limits", {limits!r}, {{}}), ("by_pool", {{}}, {{"pool": {pool!r}}})):
    project = Path({folder!r}, dag_id)
    globals()[dag_id] = DbtDag(
        dag_id=dag_id,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(project, install_dbt_deps=False),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=project / "profiles.yml"),
        execution_config=ExecutionConfig("local", dbt_executable_path={dbt!r}, invocation_mode="subprocess"),
        render_config=RenderConfig(load_method="dbt_ls"),
        operator_args=arguments,
        **limits,
    )
"""


def prepare(stack: Stack) -> Stack:
    for dag_id in ("by_limits", "by_pool"):
        project = stack.folder / "duckdb" / dag_id
        target = f"{{type: duckdb, path: {stack.folder / 'duckdb' / dag_id}.duckdb}}"
        for name, text in {
            "dbt_project.yml": "name: harbor\nversion: '1.0'\nprofile: harbor\nmodels: {+materialized: table}\n",
            "profiles.yml": f"harbor: {{target: dev, outputs: {{dev: {target}}}}}\n",
            **{f"models/{name}.sql": "select 1 as id" for name in MODELS},
        }.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)
    folder = str(stack.folder / "duckdb")
    stack.write("duckdb", DAG_FILE.format(limits=LIMITS, pool=POOL, folder=folder, dbt=str(DBT)))
    stack.new_pool(POOL, 1)
    return stack


@pytest.mark.parametrize("dag_id", ["by_limits", "by_pool"])
def test_two_runs_at_once_do_not_lock_each_other_out(scene: Stack, dag_id: str) -> None:
    for run_id in ("unpaused", "triggered"):
        scene.trigger(dag_id, run_id)

    for run_id in ("unpaused", "triggered"):
        state, states = scene.end(dag_id, run_id)
        assert (state, states) == ("success", {f"{name}_run": "success" for name in MODELS}), scene.logs()
    overlapping = scene.ask(
        "select one.run_id, one.task_id, other.run_id, other.task_id from task_instance one join task_instance other "  # noqa: S608
        f"on one.dag_id = '{dag_id}' and other.dag_id = '{dag_id}' "
        "and (one.run_id, one.task_id) <> (other.run_id, other.task_id) "
        "and one.start_date <= other.start_date and other.start_date < one.end_date"
    )
    assert overlapping == []
