"""Tries of failed tasks on a scheduler, with ``retry_on``."""

from __future__ import annotations

from pytest_cosmos_venv import FakeVenv, NodeOutcome
from tests.stacks.stack import AIRFLOW_2, AIRFLOW_3, ON_A_STACK, Stack, on
from tests.stacks.watched import make_three_models

pytestmark = [*ON_A_STACK, on(AIRFLOW_3, AIRFLOW_2)]

DAG_FILE = """
from datetime import datetime, timedelta, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT = Path({project!r})
DBT = {{"dbt_executable_path": {dbt!r}, "invocation_mode": "subprocess"}}

{dag_id} = DbtDag(
    dag_id={dag_id!r},
    schedule="@once",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    default_args={{"retries": 1, "retry_delay": timedelta(seconds=0)}},
    project_config=ProjectConfig(PROJECT, install_dbt_deps=False),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
    execution_config=ExecutionConfig({mode!r}, **DBT),
    render_config=RenderConfig(load_method="dbt_ls", **DBT),
    operator_args={{"retry_on": "warehouse"}},
)
"""
MODES = {"tried_locally": "local", "tried_watching": "watcher"}
MISSING = NodeOutcome(status="error", message="Database Error in model mart\n  Catalog Error: Table x does not exist!")
LOST = NodeOutcome(status="error", message="Database Error in model staging\n  the connection is lost")


def prepare(stack: Stack) -> tuple[Stack, dict[str, FakeVenv]]:
    dbts = {}
    for dag_id, mode in MODES.items():
        project, dbt = stack.folder / dag_id, stack.new_dbt(dag_id)
        make_three_models(project)
        stack.write(dag_id, DAG_FILE.format(project=str(project), dbt=str(dbt.dbt), dag_id=dag_id, mode=mode))
        dbts[dag_id] = dbt
    return stack, dbts


def test_a_failure_that_would_come_again_has_one_try_and_another_has_two(
    scene: tuple[Stack, dict[str, FakeVenv]],
) -> None:
    stack, dbts = scene
    for dag_id, dbt in dbts.items():
        dbt.script(select="mart", nodes={"mart": MISSING})
        dbt.script("build", nodes={"mart": MISSING})
        first = "build" if dag_id == "tried_watching" else "run"
        dbt.script(first, nth=1, select="staging", nodes={"staging": LOST})
        stack.unpause(dag_id)

    for dag_id in dbts:
        stack.end(dag_id)
        found = stack.ask(f"select task_id, state, try_number from task_instance where dag_id = '{dag_id}'")  # noqa: S608
        tries = {task_id: (state, int(number)) for task_id, state, number in found}

        assert tries["staging_run"][0] == "success", stack.logs()
        assert tries["mart_run"][0] == "failed", stack.logs()
        assert "No other try: the kind of the failure is 'sql'" in stack.log_of(dag_id, "mart_run")
        # The producer builds staging in its second try, and fails for good with mart.
        assert tries["mart_run"][1] == 1, (dag_id, tries)
        assert sum(str(each.command) == "run" for each in dbts[dag_id].calls if "mart" in str(each.arguments)) <= 1
