"""Batches under executors that people run: the next try, on another host, runs what is not done; clearing runs all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv
from tests.operators.executors import Running, Stack, running_stack
from tests.operators.real_scheduler import logs, wait_until
from tests.postgres import Postgres

STACKS = [
    Stack(release=3, executor="CeleryExecutor"),
    Stack(release=2, executor="CeleryExecutor"),
    Stack(release=2, executor="LocalExecutor"),
]

# The first try removes its file of the journal when it has failed: the next one finds none, as on another host.
DAG_FILE = """
# Airflow looks only into files in which its name stands.
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT, CACHE = Path({project!r}), Path({cache!r})

def move(context):
    shutil.rmtree(CACHE / "journals-v1")

harbor = DbtDag(
    dag_id="harbor",
    schedule="@once",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    default_args={{"retries": 1, "retry_delay": timedelta(seconds=0), "on_retry_callback": move}},
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
    """A stack that runs, whose only DAG is a batch; its ``mart`` fails in the first try."""
    (dbt_project / "models" / "mart.sql").write_text("select * from {{ ref('staging') }}")
    (dbt_project / "models" / "staging.sql").write_text("select 1 as id")
    cosmos_fake_venv.script("build", nth=1, nodes={"mart": "error"})
    source = DAG_FILE.format(
        project=str(dbt_project), cache=str(tmp_path / "airflow" / "cache"), dbt=str(cosmos_fake_venv.dbt)
    )
    # The path of a socket has 107 characters at most.
    with TemporaryDirectory(prefix="cv-", dir="/tmp") as short:
        arguments: dict[str, Any] = {"folder": tmp_path / "airflow", "short": Path(short), "postgres": postgres}
        with running_stack(request.param, source, **arguments) as running:
            yield running


def built(dbt: FakeVenv) -> list[set[str]]:
    """The nodes that each build was told."""
    return [{"staging", "mart"} & {*call.arguments} for call in dbt.calls if call.command == "build"]


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_retry_runs_what_is_not_done_and_clearing_runs_all(stack: Running, cosmos_fake_venv: FakeVenv) -> None:
    airflow = stack.airflow

    def has_ended() -> bool:
        return stack.states("harbor").get("all_batch") in {"success", "failed"}

    stack.unpause("harbor")
    wait_until(has_ended, "the batch ends", airflow)

    assert stack.states("harbor") == {"all_batch": "success"}, logs(airflow)
    assert built(cosmos_fake_venv) == [{"staging", "mart"}, {"mart"}], logs(airflow)
    assert airflow.ask("select key from variable") == []

    airflow.airflow("tasks", "clear", "--yes", "harbor")
    wait_until(lambda: len(built(cosmos_fake_venv)) == 3 and has_ended(), "the cleared batch ends", airflow)

    assert stack.states("harbor") == {"all_batch": "success"}, logs(airflow)
    assert built(cosmos_fake_venv)[2] == {"staging", "mart"}, logs(airflow)
    assert airflow.ask("select key from variable") == []
