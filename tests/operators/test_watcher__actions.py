"""ExecutionMode.WATCHER when people act on a run, and where the triggerer has a disk of its own.

The triggerer has another cache folder than the worker: what it knows of the producer, it has from an XCom.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from pytest_cosmos_venv import FakeVenv
from tests.operators.executors import Stack, running_stack
from tests.operators.real_scheduler import logs, wait_until
from tests.operators.watched import DONE, NODES, PRODUCER, Watched, make_three_models
from tests.postgres import Postgres

STACK = Stack(release=3, executor="LocalExecutor", has_triggerer=True)
ALL_DONE = dict.fromkeys((PRODUCER, DONE, *NODES), "success")
MART_FAILED = {PRODUCER: "failed", DONE: "upstream_failed", "staging": "success", "mart": "failed", "report": "skipped"}

DAG_FILE = """
# Airflow looks only into files in which its name stands.
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException
from cosmos_venv import DbtDag, DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT, FOLDER = Path({project!r}), Path({folder!r})

def tell(context):
    (FOLDER / (context["ti"].task_id + ".pid")).write_text(str(os.getpid()))

def fail():
    raise RuntimeError("nothing to build from")

def succeed():
    pass

def skip():
    raise AirflowSkipException("nothing is new")

def of_dag(**default_args):
    return {{
        "schedule": "@once",
        "start_date": datetime(2026, 1, 1, tzinfo=timezone.utc),
        "default_args": {{"retries": 0, "retry_delay": timedelta(0), "on_execute_callback": tell, **default_args}},
    }}

def of_dbt():
    return {{
        "project_config": ProjectConfig(PROJECT, install_dbt_deps=False),
        "profile_config": ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        "execution_config": ExecutionConfig(
            "watcher",
            dbt_executable_path={dbt!r},
            invocation_mode="subprocess",
            setup_operator_args={{"retries": 0}},
        ),
        "render_config": RenderConfig(
            load_method="dbt_ls", dbt_executable_path={dbt!r}, invocation_mode="subprocess"
        ),
    }}

plain = DbtDag("plain", **of_dag(), **of_dbt())
marked = DbtDag("marked", **of_dag(), **of_dbt())
restarted = DbtDag("restarted", **of_dag(), **of_dbt())
run_marked = DbtDag("run_marked", **of_dag(), **of_dbt())
pooled = DbtDag("pooled", **of_dag(pool="one"), **of_dbt())
timed = DbtDag("timed", **of_dag(retries=20), **of_dbt())
timed.get_task("mart_run").execution_timeout = timedelta(seconds=1)
timed.get_task("report_run").execution_timeout = timedelta(seconds=1)
timed.get_task("report_run").retries = 0

for dag_id, callable in (("before_fails", fail), ("before_skips", skip), ("node_fails", succeed)):
    with DAG(dag_id, **of_dag()) as dag:
        before = PythonOperator(task_id="before", python_callable=callable)
        after = PythonOperator(task_id="after", python_callable=succeed)
        before >> DbtTaskGroup("dbt", **of_dbt()) >> after
    globals()[dag_id] = dag
"""


@pytest.fixture(params=[STACK.parameter()])
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
    with (
        TemporaryDirectory(prefix="cv-", dir="/tmp") as short,
        running_stack(
            request.param,
            source,
            folder=tmp_path / "airflow",
            short=Path(short),
            postgres=postgres,
            triggerer_variables={"AIRFLOW__COSMOS_VENV__CACHE_DIR": str(tmp_path / "another-host")},
        ) as running,
    ):
        pool = "insert into slot_pool (pool, slots, description, include_deferred) values ('one', 1, '', false)"
        running.airflow.ask(pool)
        yield Watched(running, cosmos_fake_venv)


@pytest.mark.long
@pytest.mark.timeout(540)
def test_what_people_do_to_a_run_leaves_no_task_untrue(watched: Watched, tmp_path: Path) -> None:
    _another_host(watched, tmp_path)
    _clear_one_task(watched)
    _clear_the_run(watched)
    _mark_the_producer(watched, tmp_path)
    _time_out(watched)
    _before_a_group_fails(watched)
    _before_a_group_skips(watched)
    _a_node_of_a_group_fails(watched)
    _one_slot(watched)
    _clear_the_producer(watched)
    _mark_the_run(watched, tmp_path)


def _another_host(watched: Watched, tmp_path: Path) -> None:
    airflow = watched.stack.airflow
    held = watched.dbt.script("build", nth=1, at="mart", hold=True)

    watched.begin("plain")
    half_way = {PRODUCER: "running", "staging": "success", "mart": "deferred", "report": "deferred"}
    wait_until(lambda: half_way.items() <= watched.states("plain").items(), "a node is done, two wait", airflow)
    held.release()

    assert watched.end("plain") == ("success", ALL_DONE), logs(airflow)
    assert watched.commands() == [("build", {*NODES})]
    assert list((tmp_path / "another-host").rglob("*.jsonl")) == []
    assert list((tmp_path / "airflow" / "cache").rglob("*.jsonl")) != [], "the worker has the journal"


def _clear_one_task(watched: Watched) -> None:
    watched.act(lambda: watched.stack.clear("plain", "mart_run"), "plain")

    assert watched.end("plain") == ("success", ALL_DONE), logs(watched.stack.airflow)
    assert watched.commands() == [("run", {"mart"})]


def _clear_the_run(watched: Watched) -> None:
    """One of its tasks has had more tries than the others."""
    watched.act(lambda: watched.stack.clear("plain"), "plain")

    assert watched.end("plain") == ("success", ALL_DONE), logs(watched.stack.airflow)
    assert watched.commands() == [("build", {*NODES})]


def _mark_the_producer(watched: Watched, tmp_path: Path) -> None:
    airflow = watched.stack.airflow
    watched.dbt.script("build", nth=3, at="mart", hold=True)

    watched.begin("marked")
    wait_until(lambda: watched.states("marked").get("staging") == "success", "a node is done", airflow)
    worker = psutil.Process(int((tmp_path / f"{PRODUCER}.pid").read_text()))
    children = worker.children(recursive=True)
    watched.stack.mark_task("marked", PRODUCER, "failed")

    expected = {**MART_FAILED, "report": "failed"}
    assert watched.end("marked") == ("failed", expected), logs(airflow)
    assert children, "dbt ran"
    assert psutil.wait_procs(children, timeout=60)[1] == []


def _time_out(watched: Watched) -> None:
    airflow = watched.stack.airflow
    held = watched.dbt.script("build", nth=4, at="mart", hold=True)
    again = (
        "select 1 from task_instance where dag_id = 'timed' and task_id = 'mart_run' and state = 'deferred' "
        "and try_number > 1"
    )

    watched.begin("timed")
    wait_until(lambda: bool(airflow.ask(again)), "a task that has timed out waits on", airflow)
    wait_until(lambda: watched.states("timed").get("report") == "failed", "one without retries has failed", airflow)
    held.release()

    expected = {**ALL_DONE, DONE: "upstream_failed", "report": "failed"}
    assert watched.end("timed") == ("failed", expected), logs(airflow)
    assert watched.commands() == [("build", {*NODES})]


def _before_a_group_fails(watched: Watched) -> None:
    watched.begin("before_fails")

    expected = {f"dbt.{each}": "failed" for each in NODES} | {
        "before": "failed",
        f"dbt.{PRODUCER}": "upstream_failed",
        f"dbt.{DONE}": "upstream_failed",
        "after": "upstream_failed",
    }
    assert watched.end("before_fails") == ("failed", expected), logs(watched.stack.airflow)
    assert watched.commands() == []


def _before_a_group_skips(watched: Watched) -> None:
    watched.begin("before_skips")

    skipped = {f"dbt.{each}" for each in (PRODUCER, DONE, *NODES)} | {"before", "after"}
    assert watched.end("before_skips") == ("success", dict.fromkeys(skipped, "skipped")), logs(watched.stack.airflow)
    assert watched.commands() == []


def _a_node_of_a_group_fails(watched: Watched) -> None:
    """The leaf is skipped before Airflow sees that the producer fails."""
    airflow = watched.stack.airflow
    held = watched.dbt.script("build", nth=5, nodes={"mart": "error"}, after="report", hold=True)

    watched.begin("node_fails")
    wait_until(lambda: watched.states("node_fails").get("dbt.report") == "skipped", "a leaf is skipped", airflow)
    assert watched.states("node_fails")[f"dbt.{PRODUCER}"] == "running"
    held.release()

    expected = {f"dbt.{each}": state for each, state in MART_FAILED.items()}
    expected |= {"before": "success", "after": "upstream_failed"}
    assert watched.end("node_fails") == ("failed", expected), logs(watched.stack.airflow)


def _one_slot(watched: Watched) -> None:
    """A task that is cleared while the producer runs is no second dbt beside it."""
    airflow = watched.stack.airflow
    held = watched.dbt.script("build", nth=6, at="mart", hold=True)

    watched.begin("pooled")
    wait_until(lambda: watched.states("pooled").get("staging") == "success", "a node is done", airflow)
    watched.stack.clear("pooled", "staging_run")
    wait_until(lambda: watched.states("pooled").get("staging") == "deferred", "its task waits again", airflow)
    held.release()

    assert watched.end("pooled") == ("success", ALL_DONE), logs(airflow)
    assert watched.commands() == [("build", {*NODES}), ("run", {"staging"})]
    build, alone = [call for call in watched.dbt.calls[watched.before :] if call.command != "ls"]
    assert build.ended_at is not None
    assert build.ended_at < alone.started_at


def _clear_the_producer(watched: Watched) -> None:
    """It ends its dbt, and then builds everything, as a run that was cleared."""
    airflow = watched.stack.airflow
    watched.dbt.script("build", nth=7, at="mart", hold=True)

    watched.begin("restarted")
    wait_until(lambda: watched.states("restarted").get("staging") == "success", "a node is done", airflow)
    watched.stack.clear("restarted", PRODUCER)

    assert watched.end("restarted") == ("success", ALL_DONE), logs(airflow)
    assert watched.commands() == [("build", {*NODES})] * 2
    first, second = [call for call in watched.dbt.calls[watched.before :] if call.command != "ls"]
    assert first.ended_at is None or first.ended_at < second.started_at


def _mark_the_run(watched: Watched, tmp_path: Path) -> None:
    airflow = watched.stack.airflow
    watched.dbt.script("build", nth=9, at="mart", hold=True)

    watched.begin("run_marked")
    wait_until(lambda: watched.states("run_marked").get("staging") == "success", "a node is done", airflow)
    worker = psutil.Process(int((tmp_path / f"{PRODUCER}.pid").read_text()))
    children = worker.children(recursive=True)
    watched.stack.mark_run("run_marked", "failed")

    assert children, "dbt ran"
    assert psutil.wait_procs(children, timeout=60)[1] == []
    state, states = watched.end("run_marked")
    assert (state, states[PRODUCER], states["staging"]) == ("failed", "failed", "success"), logs(airflow)
    assert {states[each] for each in ("mart", "report", DONE)} <= {"failed", "skipped", "upstream_failed"}, states
