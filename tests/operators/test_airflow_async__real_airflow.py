"""Queries of ExecutionMode.AIRFLOW_ASYNC under a real scheduler and triggerer of Airflow 3, with Google's provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pytest_cosmos_venv import BigQueryServer, FakeVenv
from pytest_cosmos_venv.airflow_servers import call_api
from pytest_cosmos_venv.environments.fake_venv import fake_venvs
from pytest_cosmos_venv.warehouse.bigquery_jobs import QueryJob
from tests.installed import PROVIDERS, needs_providers
from tests.operators.real_scheduler import logs, running, running_scheduler, wait_until
from tests.operators.whole_airflow import WholeAirflow

pytestmark = [pytest.mark.long, needs_providers, pytest.mark.timeout(500)]

DATA = Path(__file__).parent.parent / "data" / "bigquery"
MODEL, SETUP, TEARDOWN = "stg_orders_run", "dbt_setup_async", "dbt_teardown_async"
DAG_FILE = """
# Airflow looks only into files in which its name stands.
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

DATA = Path({data!r})

for dag_id, select in (
    ("whole", ["raw_orders", "stg_orders", "eph_paid", "orders"]),
    ("marked", ["stg_orders"]),
    ("cleared", ["stg_orders"]),
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
    """An Airflow whose DAGs are paused, the dbt of its tasks, and the BigQuery that they send queries to."""

    airflow: WholeAirflow
    dbt: FakeVenv
    server: BigQueryServer

    def call(self, method: str, path: str, body: dict[str, Any]) -> None:
        """Act as somebody in Airflow's UI."""
        call_api(int(self.airflow.variables["AIRFLOW__API__PORT"]), method, path, body)

    def run_id(self, dag_id: str) -> str:
        found: str = self.airflow.ask(f"select run_id from dag_run where dag_id = '{dag_id}'")[0][0]  # noqa: S608 - ours
        return found

    def states(self, dag_id: str) -> dict[str, str]:
        rows = self.airflow.ask(f"select task_id, state from task_instance where dag_id = '{dag_id}'")  # noqa: S608
        return dict(rows)

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

        wait_until(
            lambda: len(self.jobs(dag_id)) == number and bool(self.airflow.ask(waits)),
            f"query {number} of {dag_id} is waited for",
            self.airflow,
        )
        return self.jobs(dag_id)[-1]

    def end(self, dag_id: str) -> str:
        """The state of the run, once it has ended."""
        ended = f"select state from dag_run where dag_id = '{dag_id}' and state in ('success', 'failed')"  # noqa: S608
        wait_until(lambda: bool(self.airflow.ask(ended)), f"{dag_id} ends", self.airflow)
        state: str = self.airflow.ask(ended)[0][0]
        return state


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An Airflow whose DAGs are paused, on a BigQuery in which each query runs until it is released."""
    folder = tmp_path_factory.mktemp("served")
    server = BigQueryServer()
    server.start()
    server.when(".", is_held=True, billed=123)
    (folder / "profiles.yml").write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": server.profile()}}}))
    (folder / "airflow" / "config").mkdir(parents=True)
    (folder / "airflow" / "config" / "airflow_local_settings.py").write_text(SETTINGS.format(url=server.url))
    variables = {
        **server.environ,
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": server.connection,
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    }
    here = WholeAirflow(python=PROVIDERS, folder=folder, variables=variables)
    with fake_venvs() as make:
        dbt = make(folder / "fake-venv", None)
        dbt.script("compile", artifacts={"manifest.json": json.loads((DATA / "manifest.json").read_text())})
        source = DAG_FILE.format(data=str(DATA), profiles=str(folder / "profiles.yml"), dbt=str(dbt.dbt))
        with running_scheduler(here, source) as airflow, running(airflow, "triggerer", "--skip-serve-logs"):
            yield Served(airflow=airflow, dbt=dbt, server=server)
    server.close()


def begin(served: Served, dag_id: str) -> None:
    """Let the only run of a DAG begin."""
    served.call("PATCH", f"dags/{dag_id}", {"is_paused": False})


def test_the_triggerer_waits_for_each_model_which_is_sent_once(served: Served) -> None:
    begin(served, "whole")
    served.deferred("whole").release()
    served.deferred("whole", "orders.run", number=2).release()

    state = served.end("whole")

    told = logs(served.airflow)
    assert state == "success", told
    assert {*served.states("whole").values()} == {"success"}, told
    assert [job.labels["dbt-node"] for job in served.jobs("whole")] == ["model-shop-stg_orders", "model-shop-orders"]
    assert [call.command for call in served.dbt.calls] == ["compile", "seed", "test"]
    assert all(f"Job {job.job_id}: 123 bytes billed, " in told for job in served.jobs("whole"))


def test_a_task_that_is_marked_failed_while_it_is_deferred_cancels_its_query(served: Served) -> None:
    begin(served, "marked")
    job = served.deferred("marked")

    path = f"dags/marked/dagRuns/{quote(served.run_id('marked'))}/taskInstances/{MODEL}"
    served.call("PATCH", path, {"new_state": "failed"})

    wait_until(lambda: job.is_cancelled, "the query is cancelled", served.airflow)
    assert served.end("marked") == "failed"
    assert served.states("marked") == {SETUP: "success", MODEL: "failed", TEARDOWN: "success"}
    assert len(served.jobs("marked")) == 1


def test_a_task_that_is_cleared_while_it_is_deferred_cancels_its_query_and_sends_another(served: Served) -> None:
    begin(served, "cleared")
    job = served.deferred("cleared")

    body = {"dry_run": False, "only_failed": False, "dag_run_id": served.run_id("cleared")}
    served.call("POST", "dags/cleared/clearTaskInstances", {**body, "task_ids": [MODEL]})

    wait_until(lambda: job.is_cancelled, "the query is cancelled", served.airflow)
    served.deferred("cleared", number=2).release()
    assert served.end("cleared") == "success"
    assert [each.is_cancelled for each in served.jobs("cleared")] == [True, False]
