"""300 models in 5 domains over a day with failures, on a real scheduler: each model is built when it should.

Airflow makes the 24 runs of the day by catchup, for the domains that read no other domain. Two hours before the day
come by Airflow's backfill, of the same domains: it refuses DAGs that wait for assets. All runs have partition keys. So
a reader runs once for each hour at which all domains that it reads have given their assets, whichever hour ends first.
Without keys, a scheduler may take the assets of several hours into one run, and no oracle could say which hour it
builds.

``tests/test_project_dags__hours.py`` shows 72 hours, without keys, and without a scheduler, which would take three
times as long as here. For the same reason the models of a folder are one task, here and there.
"""

from __future__ import annotations

import pytest

from pytest_cosmos_venv.projects.profile import make_profile
from pytest_cosmos_venv.projects.project import make_project
from tests.five_domains import (
    READS,
    ROOTS,
    built_models,
    drawn_failures,
    drawn_models,
    early_models,
    expected_models,
    expected_runs,
    fill_project,
    program_of_all_hours,
    script_failures,
    tasks_of,
    variables_of_an_hour,
)
from tests.stacks.stack import AIRFLOW_3, Stack, on

DEADLINE = 1800.0
"""Seconds for 322 tasks: on two cores with a load of 17, they took a quarter of an hour."""
pytestmark = [pytest.mark.long, pytest.mark.timeout(DEADLINE + 60, func_only=True)]

SEED = 24
BEFORE = ("2025-12-31T22", "2025-12-31T23")
HOURS = [*BEFORE, *(f"2026-01-01T{hour:02}" for hour in range(24))]
TASKS = """
select partition_key, dag_id, task_id, task_instance.state
from task_instance join dag_run using (dag_id, run_id) where dag_id like 'day_%'
"""
DAG_FILE = """
from datetime import datetime, timezone
from airflow.sdk import CronPartitionTimetable
from cosmos_venv import DbtProjectDags, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

hourly = CronPartitionTimetable("0 * * * *", timezone="UTC", key_format="%Y-%m-%dT%H")

DbtProjectDags(
    ProjectConfig({project!r}, manifest_path={manifest!r}, install_dbt_deps=False, env_vars={variables!r}),
    dag_id="day",
    schedules=dict.fromkeys({roots!r}, hourly),
    profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath={project!r} + "/profiles.yml"),
    execution_config=ExecutionConfig("local", dbt_executable_path={dbt!r}, invocation_mode="subprocess"),
    render_config=RenderConfig(
        load_method="dbt_manifest", batch_by="folder", test_behavior="none", emit_datasets=False
    ),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    end_date=datetime(2026, 1, 1, 23, tzinfo=timezone.utc),
    catchup=True,
)
"""


def prepare(stack: Stack) -> Stack:
    project = make_project("shop", stack.folder / "day", profile=make_profile("shop", stack.folder / "day", None))
    text = DAG_FILE.format(
        project=str(project.path),
        manifest=str(fill_project(project, drawn_models(SEED))),
        variables=variables_of_an_hour(stack.folder / "hours", "{{ dag_run.partition_key }}"),
        roots=ROOTS,
        dbt=str(program_of_all_hours(stack.new_dbt("day"))),
    )
    stack.write("day", text)
    return stack


def tasks_by_hour(stack: Stack) -> dict[tuple[str, str], dict[str, str]]:
    """Return the states of all tasks, by hour and domain."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for hour, dag_id, task_id, state in stack.ask(TASKS):
        found.setdefault((hour, dag_id.removeprefix("day_")), {})[task_id] = state
    return found


@on(AIRFLOW_3)
def test_each_model_is_built_at_the_hours_at_which_all_that_its_domain_reads_is_there(scene: Stack) -> None:
    models, hours = drawn_models(SEED), scene.folder / "hours"
    failures = drawn_failures(models, HOURS, SEED)
    script_failures(hours, failures)
    expected = expected_runs(models, failures, has_keys=True)

    scene.use_deadline(DEADLINE)
    for domain in reversed(READS):
        scene.unpause(f"day_{domain}")
    for domain in ROOTS:
        dates = {"from_date": f"{BEFORE[0]}:00:00Z", "to_date": f"{BEFORE[-1]}:00:00Z"}
        scene.call("POST", "backfills", {"dag_id": f"day_{domain}", **dates})
    scene.wait_until(lambda: sum(len(scene.ends(f"day_{domain}")) for domain in READS) >= len(expected), "all runs end")

    assert tasks_by_hour(scene) == tasks_of(expected)
    assert built_models(hours, HOURS) == expected_models(expected, HOURS)
    assert early_models(hours, models, HOURS) == set()
