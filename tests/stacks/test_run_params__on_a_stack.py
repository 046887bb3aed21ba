"""Runs that choose nodes on a real scheduler, with a real dbt."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.installed import DBT, needs_dbt
from tests.stacks.stack import AIRFLOW_2, AIRFLOW_3, ON_A_STACK, Stack, on

pytestmark = [*ON_A_STACK, needs_dbt, on(AIRFLOW_3, AIRFLOW_2)]

DAG_FILE = """
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT = Path({project!r})
DBT = {{"dbt_executable_path": {dbt!r}, "invocation_mode": "subprocess"}}

chosen = DbtDag(
    dag_id="chosen",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    max_active_tasks=1,
    project_config=ProjectConfig(PROJECT, install_dbt_deps=False, dbt_vars={{"day": "1"}}),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
    execution_config=ExecutionConfig("local", **DBT),
    render_config=RenderConfig(load_method="dbt_ls", **DBT),
    operator_args={{"state": {state!r}}},
    run_params=True,
)
"""
FILES = {
    "dbt_project.yml": "name: harbor\nversion: '1.0'\nprofile: harbor\n",
    "profiles.yml": "harbor: {target: dev, outputs: {dev: {type: duckdb, path: chosen.duckdb}}}\n",
    "seeds/piers.csv": "id,name\n1,North\n",
    "models/staging.sql": "select *, '{{ var(\"day\") }}' as day from {{ ref('piers') }}",
    "models/mart.sql": "select * from {{ ref('staging') }}",
    "models/other.sql": "select 1 as id",
    "models/tests.yml": "models: [{name: staging, columns: [{name: id, data_tests: [unique, not_null]}]}]\n",
}
ALL = ("dbt_select", "dbt_select_done", "piers_seed", "staging.run", "staging.test", "mart_run", "other_run")


def prepare(stack: Stack) -> Stack:
    project = stack.folder / "chosen"
    for name, text in FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text.replace("chosen.duckdb", str(stack.folder / "chosen.duckdb")))
    parse: list[str | Path] = [DBT, "parse", "--project-dir", project, "--profiles-dir", project]
    subprocess.run(
        [*parse, "--vars", "{day: '1'}", "--target-path", stack.folder / "state"], check=True, capture_output=True
    )
    (project / "models" / "other.sql").write_text("select 2 as id")
    stack.write("chosen", DAG_FILE.format(project=str(project), dbt=str(DBT), state=str(stack.folder / "state")))
    return stack


def test_a_run_does_what_it_was_triggered_with(scene: Stack) -> None:
    stack = scene
    stack.trigger("chosen", "all")
    assert stack.end("chosen", "all") == ("success", dict.fromkeys(ALL, "success")), stack.logs()

    selected = "mart staging,config.materialized:view"
    stack.trigger("chosen", "some", select=selected, exclude="unique_staging_id")
    assert stack.end("chosen", "some") == (
        "success",
        {**dict.fromkeys(ALL, "success"), **dict.fromkeys(("piers_seed", "other_run"), "skipped")},
    ), stack.logs()
    rows = stack.ask("select task_id from task_instance where run_id = 'some' and coalesce(hostname, '') = ''")
    assert {task_id for (task_id,) in rows} == {"dbt_select_done", "piers_seed", "other_run"}, "these had no worker"

    stack.trigger("chosen", "changed", select="state:modified")
    chosen = ("dbt_select", "dbt_select_done", "other_run")
    assert stack.end("chosen", "changed") == (
        "success",
        {**dict.fromkeys(ALL, "skipped"), **dict.fromkeys(chosen, "success")},
    ), stack.logs()

    stack.trigger("chosen", "leaf", select="mart", vars={"day": "2"}, full_refresh=True)
    chosen = ("dbt_select", "dbt_select_done", "mart_run")
    assert stack.end("chosen", "leaf") == (
        "success",
        {**dict.fromkeys(ALL, "skipped"), **dict.fromkeys(chosen, "success")},
    ), stack.logs()
    log = stack.log_of("chosen", "mart_run", "leaf")
    assert "--full-refresh" in log
    assert "--vars $'day: '2'n'" in log.replace("\\", ""), "quoted for a shell, and on Airflow 3 in JSON"

    stack.trigger("chosen", "refused", select="bogus:x")
    assert stack.end("chosen", "refused") == (
        "failed",
        {**dict.fromkeys(ALL, "upstream_failed"), "dbt_select": "failed"},
    ), stack.logs()
    assert "'bogus' is not a valid method name" in stack.log_of("chosen", "dbt_select", "refused")
