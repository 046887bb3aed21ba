"""DAGs of ExecutionMode.WATCHER on a stack: three models, of which each reads the one before, and a fake dbt a DAG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from pytest_cosmos_venv import FakeVenv
from tests.stacks.stack import Stack

NODES = ("staging", "mart", "report")
PRODUCER, DONE = "dbt_producer_watcher", "dbt_producer_watcher_done"
ALL_DONE = dict.fromkeys((PRODUCER, DONE, *NODES), "success")
MART_FAILED = {PRODUCER: "failed", DONE: "upstream_failed", "staging": "success", "mart": "failed", "report": "skipped"}
HALF_WAY = {PRODUCER: "running", "staging": "success", "mart": "deferred", "report": "deferred"}

BEGIN = """
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from cosmos_venv import DbtDag, DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

FOLDER = Path({folder!r})
PROJECT = FOLDER / "watched"
FIRST = datetime(2026, 1, 1, tzinfo=timezone.utc)

def tell(context):
    (FOLDER / (context["dag"].dag_id + "." + context["ti"].task_id + ".pid")).write_text(str(os.getpid()))

def of_dag(**default_args):
    return {{
        "schedule": "@once",
        "start_date": FIRST,
        "default_args": {{"retries": 0, "retry_delay": timedelta(0), "on_execute_callback": tell, **default_args}},
    }}

def of_dbt(dag_id, **of_producer):
    dbt = {{"dbt_executable_path": FOLDER / "dbts" / dag_id / "bin" / "dbt", "invocation_mode": "subprocess"}}
    return {{
        "project_config": ProjectConfig(PROJECT, install_dbt_deps=False),
        "profile_config": ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        "execution_config": ExecutionConfig("watcher", setup_operator_args={{"retries": 0, **of_producer}}, **dbt),
        "render_config": RenderConfig(load_method="dbt_ls", **dbt),
    }}
"""


@dataclass
class Watched:
    """A DAG that watches three models, and the dbt that it runs."""

    stack: Stack
    dag_id: str
    dbt: FakeVenv

    def begin(self) -> None:
        self.stack.unpause(self.dag_id)

    def states(self, run_id: str = "") -> dict[str, str]:
        """The states of the producer, of the task behind it, and of the models by name."""
        found = self.stack.states(self.dag_id, run_id)
        return {task_id.removesuffix("_run"): state for task_id, state in found.items()}

    def wait_for(self, states: dict[str, str]) -> None:
        """Wait until tasks of the only run have states."""
        self.stack.wait_until(lambda: states.items() <= self.states().items(), f"{self.dag_id}: {states}")

    def end(self) -> tuple[str, dict[str, str]]:
        """The state of the run when it is over, and those of its tasks."""
        state, _ = self.stack.end(self.dag_id)
        return state, self.states()

    def clear(self, *task_ids: str) -> None:
        """Clear tasks of the run; it goes on."""
        self.stack.clear(self.dag_id, *task_ids)

    def processes_of_producer(self) -> tuple[psutil.Process, list[psutil.Process]]:
        """The process of its task, and those below it."""
        process = psutil.Process(int((self.stack.folder / f"{self.dag_id}.{PRODUCER}.pid").read_text()))
        return process, process.children(recursive=True)

    def commands(self) -> list[tuple[str | None, set[str]]]:
        """What dbt was called for, and the nodes that it was told."""
        calls = [call for call in self.dbt.calls if call.command != "ls"]
        return [(each.command, {word.rpartition(".")[2] for word in each.arguments} & {*NODES}) for each in calls]


def make_watched(stack: Stack, *dag_ids: str) -> dict[str, Watched]:
    """The three models, and a dbt for each DAG.

    :param dag_ids: the DAGs.
    """
    make_three_models(stack.folder / "watched")
    return {dag_id: Watched(stack, dag_id, stack.new_dbt(dag_id)) for dag_id in dag_ids}


def make_three_models(project: Path) -> None:
    """A project of three models.

    :param project: its folder, which may exist.
    """
    (project / "models").mkdir(parents=True, exist_ok=True)
    for name, text in {
        "dbt_project.yml": "name: harbor\nversion: '1.0'\nprofile: harbor\n",
        "profiles.yml": "harbor: {target: dev, outputs: {dev: {type: duckdb, path: ':memory:'}}}\n",
        "models/staging.sql": "select 1 as id",
        "models/mart.sql": "select * from {{ ref('staging') }}",
        "models/report.sql": "select * from {{ ref('mart') }}",
    }.items():
        (project / name).write_text(text)
