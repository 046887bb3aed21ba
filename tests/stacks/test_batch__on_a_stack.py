"""Batches on a scheduler: a worker that is killed, a node that fails, a task that is cleared while it runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import dataclass
from typing import Any

from pytest_cosmos_venv import FakeVenv
from tests.stacks.stack import AIRFLOW_2, AIRFLOW_3, ON_A_STACK, Stack, on
from tests.stacks.watched import make_three_models

pytestmark = [*ON_A_STACK, on(AIRFLOW_3, AIRFLOW_2)]

NODES = {"staging", "mart", "report"}

# A try that fails removes its file of the journal: the next one finds none, as on another host.
DAG_FILE = """
import os
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT, CACHE = Path({project!r}), Path({cache!r})
DBT = {{"dbt_executable_path": {dbt!r}, "invocation_mode": "subprocess"}}

def tell(context):
    PROJECT.joinpath("worker.pid").write_text(str(os.getpid()))

def move(context):
    shutil.rmtree(CACHE / "journals-v1" / "batched", ignore_errors=True)
    for file in (CACHE / "journals-v1").rglob("*batched*"):
        file.unlink()

batched = DbtDag(
    dag_id="batched",
    schedule="@once",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    default_args={{
        "retries": 2,
        "retry_delay": timedelta(seconds=0),
        "on_execute_callback": tell,
        "on_retry_callback": move,
    }},
    project_config=ProjectConfig(PROJECT, install_dbt_deps=False),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
    execution_config=ExecutionConfig(**DBT),
    render_config=RenderConfig(load_method="dbt_ls", batch_by=lambda nodes: dict.fromkeys(nodes, "all"), **DBT),
)
"""


@dataclass
class Batched:
    """A DAG that is a batch of three models of which each reads the one before."""

    stack: Stack
    dbt: FakeVenv

    def built(self) -> list[set[str]]:
        """The nodes that each build was told: the last part of each selector (`fqn:harbor.staging`)."""
        builds = [call for call in self.dbt.calls if call.command == "build"]
        return [NODES & {word.rpartition(".")[2] for word in call.arguments} for call in builds]

    def rows(self) -> dict[str, dict[str, Any]]:
        """The table of nodes that the task has pushed, by name."""
        ((value,),) = self.stack.ask("select value from xcom where dag_id = 'batched' and key = 'dbt_nodes'")
        # Airflow 2 keeps bytes; Airflow 3 a text of JSON in a column of JSON.
        found: Any = bytes.fromhex(value[2:]) if value.startswith("\\x") else value
        while not isinstance(found, list):
            found = json.loads(found)
        return {row["node"].rpartition(".")[2]: row for row in found}

    def recorded(self) -> list[list[str]]:
        """What other hosts can read of what is done: the task state store has it where there is one."""
        if self.stack.kind.is_2:
            return self.stack.ask("select key from variable where key like 'cosmos_venv_journal%'")
        return self.stack.ask("select key from task_state_store where key like 'cosmos_venv_journal%'")

    def has_ended(self) -> bool:
        # The run too: on a busy machine Airflow 3.3 ended a run that had been cleared the moment before.
        return bool(self.stack.ends("batched"))


def prepare(stack: Stack) -> Batched:
    project, dbt = stack.folder / "batched", stack.new_dbt("batched")
    make_three_models(project)
    cache = stack.cache(stack.worker)
    stack.write("batched", DAG_FILE.format(project=str(project), cache=str(cache), dbt=str(dbt.dbt)))
    return Batched(stack, dbt)


def test_a_retry_runs_what_is_not_done_and_clearing_runs_all(scene: Batched) -> None:
    stack, dbt = scene.stack, scene.dbt
    is_2 = stack.kind.is_2  # where only the DAG processor would find a worker that was killed: dbt is
    dbt.script("build", nth=1, at="mart", hold=not is_2, crash=signal.SIGKILL if is_2 else None)
    dbt.script("build", nth=2, nodes={"mart": "error"})
    dbt.script("build", nth=4, at="mart", hold=True)

    stack.unpause("batched")
    if not is_2:
        stack.wait_until(scene.recorded, "the first try has done a node")
        shutil.rmtree(stack.cache(stack.worker) / "journals-v1")
        os.kill(int((stack.folder / "batched" / "worker.pid").read_text()), signal.SIGKILL)
    stack.wait_until(scene.has_ended, "the batch ends")

    told = stack.log_of("batched", "all_batch")
    assert stack.states("batched") == {"all_batch": "success"}, stack.logs()
    assert scene.built() == [NODES, NODES - {"staging"}, NODES - {"staging"}], told
    assert "mart failed, 1 skipped, 1 of 3 nodes done." in told
    assert {name: row["try_number"] for name, row in scene.rows().items()} == {"staging": 1, "mart": 3, "report": 3}
    assert scene.recorded() == []

    stack.clear("batched")
    stack.wait_until(lambda: len(scene.built()) == 4 and scene.recorded(), "the cleared batch has begun")
    stack.clear("batched")
    stack.wait_until(lambda: len(scene.built()) == 5 and scene.has_ended(), "the batch that was cleared ends")

    assert stack.states("batched") == {"all_batch": "success"}, stack.logs()
    assert scene.built()[3:] == [NODES, NODES - {"staging"}], "cleared; cleared while it ran"
    assert scene.recorded() == []
