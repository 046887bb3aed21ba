"""ExecutionMode.WATCHER in runs that follow each other or go on side by side, and with tasks that wait as sensors.

The triggerer has another cache folder than the worker, and an object storage that all reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pytest_cosmos_venv import FakeVenv
from tests.operators.executors import Stack, running_stack
from tests.operators.real_scheduler import logs, wait_until
from tests.operators.watched import DONE, NODES, PRODUCER, Watched, make_three_models
from tests.postgres import Postgres

STACK = Stack(release=3, executor="LocalExecutor", has_triggerer=True)
ALL_DONE = dict.fromkeys((PRODUCER, DONE, *NODES), "success")

DAG_FILE = """
# Airflow looks only into files in which its name stands.
from datetime import datetime, timedelta, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT = Path({project!r})
FIRST = datetime(2026, 1, 1, tzinfo=timezone.utc)

def of_dag(producer=None, **default_args):
    return {{
        "schedule": "@once",
        "start_date": FIRST,
        "default_args": {{"retries": 0, "retry_delay": timedelta(0), **default_args}},
        "project_config": ProjectConfig(PROJECT, install_dbt_deps=False),
        "profile_config": ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        "execution_config": ExecutionConfig(
            "watcher",
            dbt_executable_path={dbt!r},
            invocation_mode="subprocess",
            setup_operator_args=producer,
        ),
        "render_config": RenderConfig(
            load_method="dbt_ls", dbt_executable_path={dbt!r}, invocation_mode="subprocess"
        ),
    }}

stored = DbtDag("stored", **of_dag())
sensor = DbtDag("sensor", **of_dag(), operator_args={{"deferrable": False}})
counted = DbtDag("counted", **of_dag({{"pool": "default_pool"}}, pool="two"))
daily = {{"schedule": "@daily", "end_date": FIRST + timedelta(days=1)}}
past = DbtDag("past", **of_dag(depends_on_past=True) | daily, catchup=True)
filled = DbtDag("filled", **of_dag() | daily, catchup=False, max_active_runs=2)
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
    source = DAG_FILE.format(project=str(dbt_project), dbt=str(cosmos_fake_venv.dbt))
    # The path of a socket has 107 characters at most.
    with (
        TemporaryDirectory(prefix="cv-", dir="/tmp") as short,
        running_stack(
            request.param,
            source,
            folder=tmp_path / "airflow",
            short=Path(short),
            postgres=postgres,
            variables={"AIRFLOW__COSMOS__REMOTE_CACHE_DIR": f"file://{tmp_path}/storage"},
            triggerer_variables={"AIRFLOW__COSMOS_VENV__CACHE_DIR": str(tmp_path / "another-host")},
        ) as running,
    ):
        # A deferred task of this pool takes a slot.
        pool = "insert into slot_pool (pool, slots, description, include_deferred) values ('two', 2, '', true)"
        running.airflow.ask(pool)
        yield Watched(running, cosmos_fake_venv)


def runs(watched: Watched, dag_id: str) -> list[str]:
    """Ids of the runs of a DAG, in order."""
    rows = watched.stack.airflow.ask(f"select run_id from dag_run where dag_id = '{dag_id}' order by logical_date")  # noqa: S608
    return [run_id for (run_id,) in rows]


def states(watched: Watched, dag_id: str, run_id: str) -> dict[str, str]:
    """The states of the tasks of one run; empty: none yet."""
    asked = f"select task_id, state from task_instance where dag_id = '{dag_id}' and run_id = '{run_id}'"  # noqa: S608
    return {task_id.removesuffix("_run"): state for task_id, state in watched.stack.airflow.ask(asked)}


def ends(watched: Watched, dag_id: str) -> list[str]:
    """The states of the runs that are over."""
    asked = f"select state from dag_run where dag_id = '{dag_id}' and state in ('success', 'failed')"  # noqa: S608
    return sorted(state for (state,) in watched.stack.airflow.ask(f"{asked} order by logical_date"))


@pytest.mark.long
@pytest.mark.timeout(540)
def test_each_run_has_a_build_of_its_own_and_each_task_the_state_of_its_node(watched: Watched, tmp_path: Path) -> None:
    _told_by_object_storage(watched, tmp_path)
    _wait_as_sensors(watched)
    _depend_on_the_run_before(watched)
    _two_runs_of_a_backfill(watched)
    _a_pool_that_counts_deferred_tasks(watched)


def _told_by_object_storage(watched: Watched, tmp_path: Path) -> None:
    airflow = watched.stack.airflow
    held = watched.dbt.script("build", nth=1, at="mart", hold=True)
    xcom = "select 1 from xcom where dag_id = 'stored' and key = 'dbt_journal'"

    watched.begin("stored")
    half_way = {PRODUCER: "running", "staging": "success", "mart": "deferred", "report": "deferred"}
    wait_until(lambda: half_way.items() <= watched.states("stored").items(), "a node is done, two wait", airflow)
    assert airflow.ask(xcom) == []
    assert len([*(tmp_path / "storage").rglob("*-watched.jsonl")]) == 1
    held.release()

    assert watched.end("stored") == ("success", ALL_DONE), logs(airflow)
    assert airflow.ask(xcom) != [], "for a host that cannot read the storage"
    assert [*(tmp_path / "another-host").rglob("*.jsonl")] == []


def _wait_as_sensors(watched: Watched) -> None:
    airflow = watched.stack.airflow
    held = watched.dbt.script("build", nth=2, at="mart", hold=True)

    watched.begin("sensor")
    half_way = {PRODUCER: "running", "staging": "success", "mart": "up_for_reschedule"}
    wait_until(lambda: half_way.items() <= watched.states("sensor").items(), "a node is done, one looks again", airflow)
    held.release()

    assert watched.end("sensor") == ("success", ALL_DONE), logs(airflow)
    assert watched.commands() == [("build", {*NODES})]


def _depend_on_the_run_before(watched: Watched) -> None:
    """The second run begins when the failed first one was cleared and has succeeded."""
    airflow = watched.stack.airflow
    watched.dbt.script("build", nth=3, nodes={"mart": "error"})

    watched.begin("past")
    wait_until(lambda: ends(watched, "past") == ["failed"], "the first run fails", airflow)
    first = runs(watched, "past")[0]
    wait_until(lambda: len(runs(watched, "past")) == 2, "the second run is there", airflow)
    second = runs(watched, "past")[1]
    wait_until(lambda: states(watched, "past", second).get("staging") == "deferred", "a task waits", airflow)
    assert states(watched, "past", second)[PRODUCER] == "", "the one before has failed"
    assert watched.commands() == [("build", {*NODES})]

    watched.stack.clear("past", run_id=first)
    wait_until(lambda: ends(watched, "past") == ["success", "success"], "both runs succeed", airflow)
    assert [states(watched, "past", each) for each in (first, second)] == [ALL_DONE, ALL_DONE], logs(airflow)
    assert watched.commands() == [("build", {*NODES})] * 3


def _two_runs_of_a_backfill(watched: Watched) -> None:
    """They end one after the other: Airflow 3.3.2 fails one of two tasks that give a new asset at the same moment."""
    airflow = watched.stack.airflow
    held = [watched.dbt.script("build", nth=number, at="mart", hold=True) for number in (6, 7)]

    watched.begin("filled")
    watched.stack.backfill("filled", "2026-01-01", "2026-01-02")
    half_way: Mapping[str, str] = {PRODUCER: "running", "staging": "success", "mart": "deferred", "report": "deferred"}

    def are_half_way() -> bool:
        found = runs(watched, "filled")
        return len(found) == 2 and all(half_way.items() <= states(watched, "filled", each).items() for each in found)

    wait_until(are_half_way, "both runs have a node done and two that wait", airflow)

    def have_succeeded(number: int) -> bool:
        return ends(watched, "filled") == ["success"] * number

    for number, each in enumerate(held, start=1):
        each.release()
        wait_until(partial(have_succeeded, number), "a run succeeds", airflow)

    assert [states(watched, "filled", each) for each in runs(watched, "filled")] == [ALL_DONE, ALL_DONE], logs(airflow)
    assert watched.commands() == [("build", {*NODES})] * 2


def _a_pool_that_counts_deferred_tasks(watched: Watched) -> None:
    """Three tasks have two slots to wait in; the producer has another pool."""
    watched.begin("counted")

    assert watched.end("counted") == ("success", ALL_DONE), logs(watched.stack.airflow)
    assert watched.commands() == [("build", {*NODES})]
