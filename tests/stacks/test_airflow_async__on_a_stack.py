"""Queries of ExecutionMode.AIRFLOW_ASYNC under a real scheduler and triggerer of Airflow 3, with Google's provider."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv import FakeVenv
from tests.bigquery_jobs import QueryJob
from tests.bigquery_server import BigQueryServer
from tests.stacks.stack import AIRFLOW_3, ON_A_STACK, Stack, on

pytestmark = [*ON_A_STACK, on(AIRFLOW_3)]

DATA = Path(__file__).parent.parent / "data" / "bigquery"
MODEL, SETUP, TEARDOWN = "stg_orders_run", "dbt_setup_async", "dbt_teardown_async"
DAG_FILE = """
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

DATA = Path({data!r})

for dag_id, select in (
    ("async_whole", ["raw_orders", "stg_orders", "eph_paid", "orders"]),
    ("async_marked", ["stg_orders"]),
    ("async_cleared", ["stg_orders"]),
):
    globals()[dag_id] = DbtDag(
        dag_id=dag_id,
        schedule="@once",
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(DATA / "project", manifest_path=DATA / "manifest.json", install_dbt_deps=False),
        profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=Path({profiles!r})),
        execution_config=ExecutionConfig(
            "airflow_async", dbt_executable_path={dbt!r}, invocation_mode="subprocess", async_py_requirements=[]
        ),
        render_config=RenderConfig(load_method="dbt_manifest", select=select),
        operator_args={{"poll_interval": 0.5}},
    )
"""
# The library by which the trigger cancels puts the scheme before the host of that variable itself, the one by which it
# asks does not: one process cannot lead both there.
SETTINGS = """
import sys

if "triggerer" in sys.argv:
    from gcloud.aio.bigquery import bigquery

    bigquery.init_api_root = lambda *_: (True, {url!r} + "/bigquery/v2")
"""


@dataclass(frozen=True, kw_only=True)
class Served:
    """DAGs, the dbt of their tasks, and the BigQuery that they send queries to, where each runs until released."""

    stack: Stack
    dbt: FakeVenv
    server: BigQueryServer

    def jobs(self, dag_id: str) -> list[QueryJob]:
        """The queries that the tasks of a DAG have sent."""
        return [job for job in self.server.jobs if job.labels["airflow-dag"] == dag_id]

    def deferred(self, dag_id: str, task_id: str = MODEL, *, number: int = 1) -> QueryJob:
        """A query of a DAG, once the triggerer waits for it.

        :param task_id: of the task that has sent it.
        :param number: of the query among those of the DAG.
        """
        waits = (
            f"select 1 from task_instance join trigger on trigger.id = trigger_id where dag_id = '{dag_id}' "  # noqa: S608
            f"and task_id = '{task_id}' and state = 'deferred' and trigger.triggerer_id is not null"
        )
        self.stack.wait_until(
            lambda: len(self.jobs(dag_id)) == number and self.stack.ask(waits),
            f"query {number} of {dag_id} is waited for",
        )
        return self.jobs(dag_id)[-1]


def prepare(stack: Stack) -> Served:
    server = BigQueryServer()
    server.start()
    stack.resources.callback(server.close)
    server.when(".", is_held=True, billed=123)
    profiles = stack.folder / "async-profiles.yml"
    profiles.write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": server.profile()}}}))
    (stack.home / "config").mkdir()
    (stack.home / "config" / "airflow_local_settings.py").write_text(SETTINGS.format(url=server.url))
    stack.variables |= {**server.environ, "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": server.connection}
    dbt = stack.new_dbt("async")
    dbt.script("compile", artifacts={"manifest.json": json.loads((DATA / "manifest.json").read_text())})
    stack.write("async", DAG_FILE.format(data=str(DATA), profiles=str(profiles), dbt=str(dbt.dbt)))
    return Served(stack=stack, dbt=dbt, server=server)


def test_the_triggerer_waits_for_each_model_which_is_sent_once(scene: Served) -> None:
    scene.stack.unpause("async_whole")
    scene.deferred("async_whole").release()
    scene.deferred("async_whole", "orders.run", number=2).release()

    state, states = scene.stack.end("async_whole")

    assert (state, {*states.values()}) == ("success", {"success"}), scene.stack.logs()
    jobs = scene.jobs("async_whole")
    assert [job.labels["dbt-node"] for job in jobs] == ["model-shop-stg_orders", "model-shop-orders"]
    assert [call.command for call in scene.dbt.calls] == ["compile", "seed", "test"]
    told = scene.stack.logs()
    assert all(f"Job {job.job_id}: 123 bytes billed, " in told for job in jobs)


def test_a_task_that_is_marked_failed_while_it_is_deferred_cancels_its_query(scene: Served) -> None:
    scene.stack.unpause("async_marked")
    job = scene.deferred("async_marked")

    scene.stack.mark_task("async_marked", MODEL, "failed")

    scene.stack.wait_until(lambda: job.is_cancelled, "the query is cancelled")
    expected = {SETUP: "success", MODEL: "failed", TEARDOWN: "success"}
    assert scene.stack.end("async_marked") == ("failed", expected)
    assert len(scene.jobs("async_marked")) == 1


def test_a_task_that_is_cleared_while_it_is_deferred_cancels_its_query_and_sends_another(scene: Served) -> None:
    scene.stack.unpause("async_cleared")
    job = scene.deferred("async_cleared")

    scene.stack.clear("async_cleared", MODEL)

    scene.stack.wait_until(lambda: job.is_cancelled, "the query is cancelled")
    scene.deferred("async_cleared", number=2).release()
    assert scene.stack.end("async_cleared")[0] == "success"
    assert [each.is_cancelled for each in scene.jobs("async_cleared")] == [True, False]
