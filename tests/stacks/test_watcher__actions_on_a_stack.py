"""ExecutionMode.WATCHER when people act on a run, and in runs that follow each other or go on side by side.

The triggerer has another cache folder than the worker: what it knows of the producer, it has from an XCom.
"""

from __future__ import annotations

import psutil

from tests.stacks.stack import AIRFLOW_3, ON_A_STACK, Stack, on
from tests.stacks.watched import ALL_DONE, BEGIN, DONE, HALF_WAY, MART_FAILED, NODES, PRODUCER, Watched, make_watched

pytestmark = [*ON_A_STACK, on(AIRFLOW_3)]

DAGS = """
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

def fail():
    raise RuntimeError("nothing to build from")

def succeed():
    pass

def skip():
    raise AirflowSkipException("nothing is new")

for dag_id in ("cleared_run", "marked", "restarted", "run_marked"):
    globals()[dag_id] = DbtDag(dag_id, **of_dag(), **of_dbt(dag_id))
pooled = DbtDag("pooled", **of_dag(pool="one"), **of_dbt("pooled"))
timed = DbtDag("timed", **of_dag(retries=20), **of_dbt("timed"))
timed.get_task("mart_run").execution_timeout = timedelta(seconds=1)
timed.get_task("report_run").execution_timeout = timedelta(seconds=1)
timed.get_task("report_run").retries = 0

for dag_id, callable in (("before_fails", fail), ("before_skips", skip), ("node_fails", succeed)):
    with DAG(dag_id, **of_dag()) as dag:
        before = PythonOperator(task_id="before", python_callable=callable)
        after = PythonOperator(task_id="after", python_callable=succeed)
        before >> DbtTaskGroup("dbt", **of_dbt(dag_id)) >> after
    globals()[dag_id] = dag

sensor = DbtDag("sensor", **of_dag(), **of_dbt("sensor"), operator_args={{"deferrable": False}})
counted = DbtDag("counted", **of_dag(pool="two"), **of_dbt("counted", pool="default_pool"))
daily = {{"schedule": "@daily", "end_date": FIRST + timedelta(days=1)}}
past = DbtDag("past", **of_dag(depends_on_past=True) | daily, **of_dbt("past"), catchup=True)
filled = DbtDag("filled", **of_dag() | daily, **of_dbt("filled"), catchup=False, max_active_runs=2)
"""
DAG_IDS = ("cleared_run", "marked", "restarted", "run_marked", "pooled", "timed", "sensor", "counted", "past", "filled")
GROUPS = ("before_fails", "before_skips", "node_fails")


def prepare(stack: Stack) -> dict[str, Watched]:
    stack.write("watcher_actions", (BEGIN + DAGS).format(folder=str(stack.folder)))
    stack.new_pool("one", 1)
    stack.new_pool("two", 2, counts_deferred=True)
    return make_watched(stack, *DAG_IDS, *GROUPS)


def test_a_task_that_is_cleared_builds_its_node_and_a_run_builds_all(scene: dict[str, Watched]) -> None:
    watched = scene["cleared_run"]
    watched.begin()
    assert watched.end() == ("success", ALL_DONE), watched.stack.logs()

    watched.clear("mart_run")
    assert watched.end() == ("success", ALL_DONE), watched.stack.logs()
    watched.clear()  # one of its tasks has had more tries than the others

    assert watched.end() == ("success", ALL_DONE), watched.stack.logs()
    assert watched.commands() == [("build", {*NODES}), ("run", {"mart"}), ("build", {*NODES})]


def test_a_producer_that_is_marked_failed_ends_its_dbt(scene: dict[str, Watched]) -> None:
    watched = scene["marked"]
    watched.dbt.script("build", nth=1, at="mart", hold=True)

    watched.begin()
    watched.wait_for({"staging": "success"})
    _, children = watched.processes_of_producer()
    watched.stack.mark_task("marked", PRODUCER, "failed")

    assert watched.end() == ("failed", {**MART_FAILED, "report": "failed"}), watched.stack.logs()
    assert children, "dbt ran"
    assert psutil.wait_procs(children, timeout=60)[1] == []


def test_a_task_that_has_timed_out_waits_on_in_its_next_try(scene: dict[str, Watched]) -> None:
    watched, stack = scene["timed"], scene["timed"].stack
    held = watched.dbt.script("build", nth=1, at="mart", hold=True)
    again = "dag_id = 'timed' and task_id = 'mart_run' and state = 'deferred' and try_number > 1"

    watched.begin()
    stack.wait_until(lambda: stack.ask(f"select 1 from task_instance where {again}"), "mart waits on")  # noqa: S608
    watched.wait_for({"report": "failed"})  # it has no retries
    held.release()

    assert watched.end() == ("failed", {**ALL_DONE, DONE: "upstream_failed", "report": "failed"}), stack.logs()
    assert watched.commands() == [("build", {*NODES})]


def test_tasks_fail_when_the_task_before_their_group_fails(scene: dict[str, Watched]) -> None:
    watched = scene["before_fails"]

    watched.begin()

    expected = {f"dbt.{each}": "failed" for each in NODES} | {
        "before": "failed",
        f"dbt.{PRODUCER}": "upstream_failed",
        f"dbt.{DONE}": "upstream_failed",
        "after": "upstream_failed",
    }
    assert watched.end() == ("failed", expected), watched.stack.logs()
    assert watched.commands() == []


def test_tasks_are_skipped_when_the_task_before_their_group_is_skipped(scene: dict[str, Watched]) -> None:
    watched = scene["before_skips"]

    watched.begin()

    skipped = {f"dbt.{each}" for each in (PRODUCER, DONE, *NODES)} | {"before", "after"}
    assert watched.end() == ("success", dict.fromkeys(skipped, "skipped")), watched.stack.logs()
    assert watched.commands() == []


def test_a_task_behind_a_group_does_not_run_when_a_node_has_failed(scene: dict[str, Watched]) -> None:
    """The leaf is skipped before Airflow sees that the producer fails."""
    watched = scene["node_fails"]
    held = watched.dbt.script("build", nth=1, nodes={"mart": "error"}, after="report", hold=True)

    watched.begin()
    watched.wait_for({"dbt.report": "skipped"})
    assert watched.states()[f"dbt.{PRODUCER}"] == "running"
    held.release()

    expected = {f"dbt.{each}": state for each, state in MART_FAILED.items()}
    expected |= {"before": "success", "after": "upstream_failed"}
    assert watched.end() == ("failed", expected), watched.stack.logs()


def test_a_task_that_is_cleared_while_the_producer_runs_starts_no_second_dbt_beside_it(
    scene: dict[str, Watched],
) -> None:
    watched = scene["pooled"]
    held = watched.dbt.script("build", nth=1, at="mart", hold=True)

    watched.begin()
    watched.wait_for({"staging": "success"})
    watched.clear("staging_run")
    watched.wait_for({"staging": "deferred"})
    held.release()

    assert watched.end() == ("success", ALL_DONE), watched.stack.logs()
    assert watched.commands() == [("build", {*NODES}), ("run", {"staging"})]
    build, alone = [call for call in watched.dbt.calls if call.command != "ls"]
    assert build.ended_at is not None
    assert build.ended_at < alone.started_at


def test_a_producer_that_is_cleared_ends_its_dbt_and_builds_everything(scene: dict[str, Watched]) -> None:
    watched = scene["restarted"]
    watched.dbt.script("build", nth=1, at="mart", hold=True)

    watched.begin()
    watched.wait_for({"staging": "success"})
    watched.clear(PRODUCER)

    assert watched.end() == ("success", ALL_DONE), watched.stack.logs()
    assert watched.commands() == [("build", {*NODES})] * 2
    first, second = [call for call in watched.dbt.calls if call.command != "ls"]
    assert first.ended_at is None or first.ended_at < second.started_at


def test_a_run_that_is_marked_failed_ends_dbt(scene: dict[str, Watched]) -> None:
    watched = scene["run_marked"]
    watched.dbt.script("build", nth=1, at="mart", hold=True)

    watched.begin()
    watched.wait_for({"staging": "success"})
    _, children = watched.processes_of_producer()
    watched.stack.mark_run("run_marked", "failed")

    assert children, "dbt ran"
    assert psutil.wait_procs(children, timeout=60)[1] == []
    state, states = watched.end()
    assert (state, states[PRODUCER], states["staging"]) == ("failed", "failed", "success"), watched.stack.logs()
    assert {states[each] for each in ("mart", "report", DONE)} <= {"failed", "skipped", "upstream_failed"}, states


def test_tasks_that_may_not_be_deferred_wait_as_sensors(scene: dict[str, Watched]) -> None:
    watched = scene["sensor"]
    held = watched.dbt.script("build", nth=1, at="mart", hold=True)

    watched.begin()
    watched.wait_for({PRODUCER: "running", "staging": "success", "mart": "up_for_reschedule"})
    held.release()

    assert watched.end() == ("success", ALL_DONE), watched.stack.logs()
    assert watched.commands() == [("build", {*NODES})]


def test_three_tasks_wait_with_two_slots_of_a_pool_that_counts_deferred_tasks(scene: dict[str, Watched]) -> None:
    watched = scene["counted"]

    watched.begin()

    assert watched.end() == ("success", ALL_DONE), watched.stack.logs()
    assert watched.commands() == [("build", {*NODES})]


def test_a_run_that_depends_on_the_one_before_begins_when_that_was_cleared_and_has_succeeded(
    scene: dict[str, Watched],
) -> None:
    watched, stack = scene["past"], scene["past"].stack
    watched.dbt.script("build", nth=1, nodes={"mart": "error"})

    watched.begin()
    stack.wait_until(lambda: stack.ends("past") == ["failed"], "the first run fails")
    stack.wait_until(lambda: len(stack.run_ids("past")) == 2, "the second run is there")
    first, second = stack.run_ids("past")
    stack.wait_until(lambda: watched.states(second).get("staging") == "deferred", "a task waits")
    assert watched.states(second)[PRODUCER] == "", "the one before has failed"
    assert watched.commands() == [("build", {*NODES})]

    stack.clear("past", run_id=first)
    stack.wait_until(lambda: stack.ends("past") == ["success", "success"], "both runs succeed")
    assert [watched.states(each) for each in (first, second)] == [ALL_DONE, ALL_DONE], stack.logs()
    assert watched.commands() == [("build", {*NODES})] * 3


def test_two_runs_of_a_backfill_have_a_build_each(scene: dict[str, Watched]) -> None:
    """They end one after the other: Airflow 3.3.2 fails one of two tasks that give a new asset at the same moment."""
    watched, stack = scene["filled"], scene["filled"].stack
    held = [watched.dbt.script("build", nth=number, at="mart", hold=True) for number in (1, 2)]

    watched.begin()
    days = {"from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z"}
    stack.call("POST", "backfills", {"dag_id": "filled", **days, "max_active_runs": 2})
    stack.wait_until(lambda: len(stack.run_ids("filled")) == 2, "both runs are there")
    for run_id in stack.run_ids("filled"):
        stack.wait_until(lambda: HALF_WAY.items() <= watched.states(run_id).items(), f"{run_id} waits")  # noqa: B023
    for number, each in enumerate(held, start=1):
        each.release()
        stack.wait_until(lambda: stack.ends("filled") == ["success"] * number, "a run succeeds")  # noqa: B023

    assert [watched.states(each) for each in stack.run_ids("filled")] == [ALL_DONE, ALL_DONE], stack.logs()
    assert watched.commands() == [("build", {*NODES})] * 2
