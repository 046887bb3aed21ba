"""Batches under executors that people run: a worker that is killed, a node that fails, a task that is cleared."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv
from tests.operators.executors import Running, Stack, running_stack
from tests.operators.real_scheduler import logs, wait_until
from tests.postgres import Postgres

STACKS = [
    Stack(release=3, executor="LocalExecutor", is_exhaustive=True),
    Stack(release=3, executor="CeleryExecutor", is_exhaustive=True),
    Stack(release=2, executor="LocalExecutor", is_exhaustive=True),
    Stack(release=2, executor="CeleryExecutor"),
]
NODES = {"staging", "mart", "report"}

# A try that fails removes its file of the journal: the next one finds none, as on another host.
DAG_FILE = """
# Airflow looks only into files in which its name stands.
import os
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT, CACHE = Path({project!r}), Path({cache!r})

def tell(context):
    CACHE.with_name("worker.pid").write_text(str(os.getpid()))

def move(context):
    shutil.rmtree(CACHE / "journals-v1")

harbor = DbtDag(
    dag_id="harbor",
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
    execution_config=ExecutionConfig(dbt_executable_path={dbt!r}, invocation_mode="subprocess"),
    render_config=RenderConfig(
        load_method="dbt_ls",
        dbt_executable_path={dbt!r},
        invocation_mode="subprocess",
        batch_by=lambda nodes: dict.fromkeys(nodes, "all"),
    ),
)
"""


@pytest.fixture(params=[stack.parameter() for stack in STACKS])
def stack(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    postgres: Postgres,
    dbt_project: Path,
    cosmos_fake_venv: FakeVenv,
) -> Iterator[Running]:
    """A stack that runs, whose only DAG is a batch of three models of which each reads the one before."""
    for file in (*(dbt_project / "models").rglob("*.sql"), *(dbt_project / "seeds").iterdir()):
        file.unlink()
    (dbt_project / "models" / "staging.sql").write_text("select 1 as id")
    (dbt_project / "models" / "mart.sql").write_text("select * from {{ ref('staging') }}")
    (dbt_project / "models" / "report.sql").write_text("select * from {{ ref('mart') }}")
    source = DAG_FILE.format(
        project=str(dbt_project), cache=str(tmp_path / "airflow" / "cache"), dbt=str(cosmos_fake_venv.dbt)
    )
    # The path of a socket has 107 characters at most.
    with TemporaryDirectory(prefix="cv-", dir="/tmp") as short:
        arguments: dict[str, Any] = {"folder": tmp_path / "airflow", "short": Path(short), "postgres": postgres}
        with running_stack(request.param, source, **arguments) as running:
            yield running


def built(dbt: FakeVenv) -> list[set[str]]:
    """The nodes that each build was told: the last part of each selector (`fqn:harbor.staging`)."""
    return [
        NODES & {word.rpartition(".")[2] for word in call.arguments} for call in dbt.calls if call.command == "build"
    ]


def rows_of(stack: Running) -> dict[str, dict[str, Any]]:
    """The table of nodes that the task has pushed, by name."""
    ((value,),) = stack.airflow.ask("select value from xcom where key = 'dbt_nodes'")
    # Airflow 2 keeps bytes; Airflow 3 a text of JSON in a column of JSON.
    found: Any = bytes.fromhex(value[2:]) if value.startswith("\\x") else value
    while not isinstance(found, list):
        found = json.loads(found)
    return {row["node"].rpartition(".")[2]: row for row in found}


@pytest.fixture
def is_recorded(stack: Running) -> Callable[[], bool]:
    """Whether another host can read what is done."""
    return lambda: bool(stack.airflow.ask("select key from variable where key like 'cosmos_venv_journal%'"))


@pytest.mark.long
@pytest.mark.timeout(500)
def test_a_retry_runs_what_is_not_done_and_clearing_runs_all(
    stack: Running, cosmos_fake_venv: FakeVenv, is_recorded: Callable[[], bool]
) -> None:
    airflow, cache = stack.airflow, stack.airflow.folder / "cache"

    def has_ended() -> bool:
        return stack.states("harbor").get("all_batch") in {"success", "failed"}

    is_worker_killed = stack.stack.release == 3
    if is_worker_killed:
        cosmos_fake_venv.script("build", nth=1, at="mart", hold=True)
    else:  # only the DAG processor of Airflow 2 would find a worker that was killed
        cosmos_fake_venv.script("build", nth=1, at="mart", crash=signal.SIGKILL)
    cosmos_fake_venv.script("build", nth=2, nodes={"mart": "error"})
    cosmos_fake_venv.script("build", nth=4, at="mart", hold=True)

    stack.unpause("harbor")
    if is_worker_killed:
        wait_until(is_recorded, "the first try has done a node", airflow)
        shutil.rmtree(cache / "journals-v1")
        os.kill(int(cache.with_name("worker.pid").read_text()), signal.SIGKILL)
    wait_until(has_ended, "the batch ends", airflow)

    told = logs(airflow)
    assert stack.states("harbor") == {"all_batch": "success"}, told
    assert built(cosmos_fake_venv) == [NODES, NODES - {"staging"}, NODES - {"staging"}], told
    assert "mart failed, 1 skipped, 1 of 3 nodes done." in told
    assert {name: row["try_number"] for name, row in rows_of(stack).items()} == {"staging": 1, "mart": 3, "report": 3}
    assert airflow.ask("select key from variable") == []

    airflow.airflow("tasks", "clear", "--yes", "harbor")
    wait_until(lambda: len(built(cosmos_fake_venv)) == 4 and is_recorded(), "the cleared batch has begun", airflow)
    airflow.airflow("tasks", "clear", "--yes", "harbor")
    wait_until(lambda: len(built(cosmos_fake_venv)) == 5 and has_ended(), "the batch that was cleared ends", airflow)

    assert stack.states("harbor") == {"all_batch": "success"}, logs(airflow)
    assert built(cosmos_fake_venv)[3:] == [NODES, NODES - {"staging"}], "cleared; cleared while it ran"
    assert airflow.ask("select key from variable") == []
