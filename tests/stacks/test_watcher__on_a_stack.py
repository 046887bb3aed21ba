"""ExecutionMode.WATCHER under executors that people run: states, failures, retries, a killed producer.

On Celery the servers have an object storage in common; elsewhere an XCom tells the triggerer.
"""

from __future__ import annotations

import signal

import psutil

from tests.stacks.stack import AIRFLOW_2, AIRFLOW_30, CELERY, ON_A_STACK, Stack, on
from tests.stacks.watched import ALL_DONE, BEGIN, HALF_WAY, MART_FAILED, NODES, Watched, make_watched

pytestmark = [*ON_A_STACK, on(CELERY, AIRFLOW_2, AIRFLOW_30)]

DAGS = """
for dag_id, retries, of_producer in (
    ("plain", 0, 0), ("failing", 0, 0), ("retried", 1, 1), ("alone", 1, 0), ("killed", 0, 0),
):
    # Before the second build, the first one has failed the task of its model: so the task is at its second try, too.
    of_producer = {"retries": of_producer, "retry_delay": timedelta(seconds=20)}
    globals()[dag_id] = DbtDag(dag_id, **of_dag(retries=retries), **of_dbt(dag_id, **of_producer))

on_workers = DbtDag("on_workers", operator_args={"starts_on_worker": True}, **of_dag(), **of_dbt("on_workers"))
"""


def prepare(stack: Stack) -> dict[str, Watched]:
    stack.write("watcher", BEGIN.format(folder=str(stack.folder)) + DAGS)
    if stack.kind is CELERY:
        stack.variables["AIRFLOW__COSMOS__REMOTE_CACHE_DIR"] = f"file://{stack.folder}/storage"
        key = stack.folder / "key"
        key.write_text("the key of all workers")
        key.chmod(0o600)
        stack.variables["AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE"] = str(key)
    return make_watched(stack, "plain", "failing", "retried", "alone", "killed", "on_workers")


def test_a_task_ends_with_its_node(scene: dict[str, Watched]) -> None:
    watched, stack = scene["plain"], scene["plain"].stack
    held = watched.dbt.script("build", nth=1, at="mart", hold=True)
    xcoms = "select 1 from xcom where dag_id = 'plain' and key = 'dbt_journal'"

    watched.begin()
    watched.wait_for(HALF_WAY)
    has_storage = stack.kind is CELERY
    assert any((stack.folder / "storage").rglob("*.jsonl")) == has_storage
    held.release()

    assert watched.end() == ("success", ALL_DONE), stack.logs()
    assert watched.commands() == [("build", {*NODES})]
    assert (stack.ask(xcoms) == []) == has_storage, "for a host that cannot read the storage"
    assert [*stack.cache("triggerer").rglob("*.jsonl")] == [], "it has a disk of its own"


def test_a_run_is_as_dbts_exit_code(scene: dict[str, Watched]) -> None:
    watched = scene["failing"]
    watched.dbt.script("build", nth=1, nodes={"mart": "error"})

    watched.begin()

    assert watched.end() == ("failed", MART_FAILED), watched.stack.logs()
    assert watched.commands() == [("build", {*NODES})]


def test_tasks_that_start_on_workers_end_with_their_nodes(scene: dict[str, Watched]) -> None:
    """As in a DAG of more than 400 tasks."""
    watched = scene["on_workers"]
    watched.dbt.script("build", nth=1, nodes={"mart": "error"})

    watched.begin()

    assert watched.end() == ("failed", MART_FAILED), watched.stack.logs()
    assert watched.commands() == [("build", {*NODES})]
    assert all((watched.stack.folder / f"on_workers.{name}_run.pid").exists() for name in NODES), "workers ran"


def test_a_retry_builds_what_is_not_done(scene: dict[str, Watched]) -> None:
    watched = scene["retried"]
    watched.dbt.script("build", nth=1, nodes={"mart": "error"})
    second_try = watched.dbt.script("build", nth=2, at="mart", hold=True)

    watched.begin()
    # Airflow 3.0 gives the retry of a deferred task the event of the try before. On a busy machine mart still waits in
    # its first try when the second build begins, and goes on waiting.
    watched.stack.wait_until(
        lambda: len(watched.commands()) == 2 and watched.states()["mart"] == "deferred",
        "mart waits for the second build",
    )
    second_try.release()

    assert watched.end() == ("success", ALL_DONE), watched.stack.logs()
    assert watched.commands() == [("build", {*NODES}), ("build", {"mart", "report"})]


def test_a_task_with_a_retry_builds_its_node_itself_when_the_producer_has_none(scene: dict[str, Watched]) -> None:
    watched = scene["alone"]
    watched.dbt.script("build", nth=1, nodes={"mart": "error"})

    watched.begin()

    assert watched.end() == ("failed", {**MART_FAILED, "mart": "success"}), watched.stack.logs()
    assert watched.commands() == [("build", {*NODES}), ("run", {"mart"})]


def test_a_killed_producer_fails_what_is_not_built(scene: dict[str, Watched]) -> None:
    watched = scene["killed"]
    is_2 = watched.stack.kind.is_2  # where only the DAG processor would find a worker that was killed: dbt is
    watched.dbt.script("build", nth=1, at="mart", hold=not is_2, crash=signal.SIGKILL if is_2 else None)

    watched.begin()
    children: list[psutil.Process] = []
    if not is_2:
        watched.wait_for({"staging": "success"})
        worker, children = watched.processes_of_producer()
        worker.kill()

    assert watched.end() == ("failed", {**MART_FAILED, "report": "failed"}), watched.stack.logs()
    assert is_2 or children, "dbt ran"
    assert psutil.wait_procs(children, timeout=60)[1] == []
