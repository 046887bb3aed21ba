"""ExecutionMode.WATCHER under executors that people run: states, failures, retries, a killed producer."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from pytest_cosmos_venv import FakeVenv
from tests.operators.executors import Stack, running_stack
from tests.operators.real_scheduler import logs, wait_until
from tests.operators.watched import DONE, NODES, PRODUCER, Watched, make_three_models
from tests.postgres import Postgres

STACKS = [
    Stack(release=3, executor="LocalExecutor", has_triggerer=True, is_exhaustive=True),
    Stack(release=3, executor="CeleryExecutor", has_triggerer=True),
    Stack(release=3, executor="LocalExecutor", has_triggerer=True, environment="airflow32", is_exhaustive=True),
    Stack(release=3, executor="LocalExecutor", has_triggerer=True, environment="airflow31", is_exhaustive=True),
    Stack(release=3, executor="LocalExecutor", has_triggerer=True, environment="airflow30", is_exhaustive=True),
    Stack(release=2, executor="LocalExecutor", has_triggerer=True, is_exhaustive=True),
]

DAG_FILE = """
# Airflow looks only into files in which its name stands.
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT, FOLDER = Path({project!r}), Path({folder!r})

def tell(context):
    (FOLDER / (context["ti"].task_id + ".pid")).write_text(str(os.getpid()))

for dag_id, retries, of_producer in (
    ("plain", 0, 0), ("failing", 0, 0), ("retried", 1, 1), ("alone", 1, 0), ("killed", 0, 0),
):
    globals()[dag_id] = DbtDag(
        dag_id=dag_id,
        schedule="@once",
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        default_args={{"retries": retries, "retry_delay": timedelta(seconds=0), "on_execute_callback": tell}},
        project_config=ProjectConfig(PROJECT, install_dbt_deps=False),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        execution_config=ExecutionConfig(
            "watcher",
            dbt_executable_path={dbt!r},
            invocation_mode="subprocess",
            setup_operator_args={{"retries": of_producer}},
        ),
        render_config=RenderConfig(
            load_method="dbt_ls", dbt_executable_path={dbt!r}, invocation_mode="subprocess"
        ),
    )
"""


@pytest.fixture(params=[stack.parameter() for stack in STACKS])
def watched(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    postgres: Postgres,
    dbt_project: Path,
    cosmos_fake_venv: FakeVenv,
) -> Iterator[Watched]:
    make_three_models(dbt_project)
    source = DAG_FILE.format(project=str(dbt_project), folder=str(tmp_path), dbt=str(cosmos_fake_venv.dbt))
    # The path of a socket has 107 characters at most.
    with TemporaryDirectory(prefix="cv-", dir="/tmp") as short:
        arguments: dict[str, Any] = {"folder": tmp_path / "airflow", "short": Path(short), "postgres": postgres}
        with running_stack(request.param, source, **arguments) as running:
            yield Watched(running, cosmos_fake_venv)


@pytest.mark.long
@pytest.mark.timeout(500)
def test_a_run_is_as_dbts_exit_code_and_each_task_as_its_node(watched: Watched, tmp_path: Path) -> None:
    dbt, airflow = watched.dbt, watched.stack.airflow
    held = dbt.script("build", nth=1, at="mart", hold=True)
    dbt.script("build", nth=2, nodes={"mart": "error"})
    dbt.script("build", nth=3, nodes={"mart": "error"})
    second_try = dbt.script("build", nth=4, at="mart", hold=True)
    dbt.script("build", nth=5, nodes={"mart": "error"})
    is_worker_killed = watched.stack.stack.release == 3
    if is_worker_killed:
        dbt.script("build", nth=6, at="mart", hold=True)
    else:  # only the DAG processor of Airflow 2 would find a worker that was killed
        dbt.script("build", nth=6, at="mart", crash=signal.SIGKILL)

    watched.begin("plain")
    half_way = {PRODUCER: "running", "staging": "success", "mart": "deferred", "report": "deferred"}
    wait_until(lambda: half_way.items() <= watched.states("plain").items(), "a node is done, two wait", airflow)
    held.release()
    assert watched.end("plain") == ("success", dict.fromkeys((PRODUCER, DONE, *NODES), "success")), logs(airflow)
    assert watched.commands() == [("build", {*NODES})]

    watched.begin("failing")
    expected = {
        PRODUCER: "failed",
        DONE: "upstream_failed",
        "staging": "success",
        "mart": "failed",
        "report": "skipped",
    }
    assert watched.end("failing") == ("failed", expected), logs(airflow)
    assert watched.commands() == [("build", {*NODES})]

    watched.begin("retried")
    # Airflow 3.0 gives the retry of a deferred task the event of the try before.
    deferred_again = "select 1 from task_instance where dag_id = 'retried' and task_id = 'mart_run' and try_number = 2"
    wait_until(lambda: bool(airflow.ask(f"{deferred_again} and state = 'deferred'")), "mart waits again", airflow)
    second_try.release()
    assert watched.end("retried") == ("success", dict.fromkeys((PRODUCER, DONE, *NODES), "success")), logs(airflow)
    assert watched.commands() == [("build", {*NODES}), ("build", {"mart", "report"})]

    watched.begin("alone")
    expected = {**expected, "mart": "success"}
    assert watched.end("alone") == ("failed", expected), logs(airflow)
    assert watched.commands() == [("build", {*NODES}), ("run", {"mart"})]

    watched.begin("killed")
    children: list[psutil.Process] = []
    if is_worker_killed:
        wait_until(lambda: watched.stack.states("killed").get("staging_run") == "success", "a node is done", airflow)
        worker = psutil.Process(int((tmp_path / f"{PRODUCER}.pid").read_text()))
        children = worker.children(recursive=True)
        worker.kill()
    expected = {**expected, "mart": "failed", "report": "failed"}
    assert watched.end("killed") == ("failed", expected), logs(airflow)
    assert psutil.wait_procs(children, timeout=60)[1] == []
