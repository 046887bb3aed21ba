"""A real Airflow 3 with its API: the table of a run, the link of a task and its page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from pytest_cosmos_venv import FakeVenv
from pytest_cosmos_venv.airflow_servers import call_api
from tests.operators.real_scheduler import logs, running, running_scheduler, states_of_only_run
from tests.operators.watched import make_three_models
from tests.operators.whole_airflow import WholeAirflow

pytestmark = [pytest.mark.long, pytest.mark.skipif(not IS_AIRFLOW_3, reason="the API of Airflow 3")]

DOCS = "https://docs.example/harbor/"
SUMMARY = "dbt_run_summary"
DAG_FILE = """
# Airflow looks only into files in which its name stands.
from datetime import datetime, timezone
from pathlib import Path
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from cosmos_venv import DbtDag, DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT, DBT = Path({project!r}), {dbt!r}
START = datetime(2026, 1, 1, tzinfo=timezone.utc)

def harbor(mode):
    return dict(
        project_config=ProjectConfig(PROJECT, install_dbt_deps=False),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        execution_config=ExecutionConfig(mode, dbt_executable_path=DBT, invocation_mode="subprocess"),
        render_config=RenderConfig(
            load_method="dbt_ls", dbt_executable_path=DBT, invocation_mode="subprocess", run_summary=True
        ),
    )

with DAG("local", schedule="@once", start_date=START) as local:
    DbtTaskGroup("harbor", **harbor("local")) >> EmptyOperator(task_id="after")

watcher = DbtDag(dag_id="watcher", schedule="@once", start_date=START, **harbor("watcher"))
"""


@pytest.mark.timeout(500)
def test_a_run_has_a_table_and_a_task_leads_to_the_docs(
    tmp_path: Path, dbt_project: Path, cosmos_fake_venv: FakeVenv
) -> None:
    make_three_models(dbt_project)
    cosmos_fake_venv.script("run", nodes={"mart": "error"})
    cosmos_fake_venv.script("build", nodes={"mart": "error"})
    source = DAG_FILE.format(project=str(dbt_project), dbt=str(cosmos_fake_venv.dbt))
    variables = {
        "AIRFLOW__COSMOS_VENV__DBT_DOCS_URL": DOCS,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    }
    here = WholeAirflow(python=Path(sys.executable), folder=tmp_path, variables=variables)

    with running_scheduler(here, source) as airflow, running(airflow, "triggerer"):
        states = {dag_id: states_of_only_run(airflow, dag_id) for dag_id in ("local", "watcher")}
        told = logs(airflow)
        port = int(airflow.variables["AIRFLOW__API__PORT"])
        runs = dict(airflow.ask("select dag_id, state from dag_run"))
        run_ids = dict(airflow.ask("select dag_id, run_id from dag_run"))

        def ask(dag_id: str, task_id: str, what: str) -> Any:
            return call_api(
                port, "GET", f"dags/{dag_id}/dagRuns/{quote(run_ids[dag_id])}/taskInstances/{task_id}/{what}"
            )

        tables = {
            dag_id: ask(dag_id, task_id, "xcomEntries/return_value?deserialize=true")["value"]
            for dag_id, task_id in (("local", f"harbor.{SUMMARY}"), ("watcher", SUMMARY))
        }
        links = {
            task: ask("local", f"harbor.{task}_run", "links")["extra_links"] for task in ("staging", "mart", "report")
        }
        page = call_api(port, "GET", "dags/local/tasks/harbor.staging_run")["doc_md"]

    assert runs == {"local": "failed", "watcher": "failed"}, told
    assert states["local"] == {
        "harbor.staging_run": "success",
        "harbor.mart_run": "failed",
        "harbor.report_run": "upstream_failed",
        f"harbor.{SUMMARY}": "success",
        "after": "upstream_failed",
    }, told
    assert states["watcher"][SUMMARY] == "success", told
    found = {
        dag_id: {row["node"].rpartition(".")[2]: row["state"] for row in table["rows"]}
        for dag_id, table in tables.items()
    }
    assert found == {
        "local": {"staging": "success", "mart": "error", "report": "upstream_failed"},
        "watcher": {"staging": "success", "mart": "error", "report": "skipped"},
    }
    # A task that has not run leads nowhere; Airflow shows no button that can be pressed.
    leads = f"{DOCS}#!/model/model.harbor."
    assert links == {
        "staging": {"dbt docs": f"{leads}staging"},
        "mart": {"dbt docs": f"{leads}mart"},
        "report": {"dbt docs": None},
    }
    assert f"[dbt docs](<{leads}staging>)" in page
