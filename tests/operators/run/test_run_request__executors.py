"""Runs that choose nodes on a real scheduler, with a real dbt, by ``airflow dags trigger --conf``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.installed import DBT, needs_dbt
from tests.operators.executors import Running, Stack, running_stack
from tests.operators.real_scheduler import logs, wait_until
from tests.postgres import Postgres

STACKS = [
    Stack(release=3, executor="LocalExecutor"),
    Stack(release=3, executor="LocalExecutor", environment="airflow30", is_exhaustive=True),
    Stack(release=2, executor="LocalExecutor", is_exhaustive=True),
]

DAG_FILE = """
# Airflow looks only into files in which its name stands.
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PROJECT = Path({project!r})

harbor = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    max_active_tasks=1,
    project_config=ProjectConfig(PROJECT, install_dbt_deps=False, dbt_vars={{"day": "1"}}),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
    execution_config=ExecutionConfig("local", dbt_executable_path={dbt!r}, invocation_mode="subprocess"),
    render_config=RenderConfig(load_method="dbt_ls", dbt_executable_path={dbt!r}, invocation_mode="subprocess"),
    operator_args={{"state": {state!r}}},
    run_params=True,
)
"""
ALL = ("dbt_select", "dbt_select_done", "piers_seed", "staging.run", "staging.test", "mart_run", "other_run")


@dataclass
class Harbor:
    """A stack with the DAG of the small project, which can be triggered."""

    stack: Running

    def run(self, run_id: str, **conf: Any) -> tuple[str, dict[str, str]]:
        """Trigger a run and wait for its end: its state, and those of its tasks."""
        airflow = self.stack.airflow
        airflow.airflow("dags", "trigger", "harbor", "--run-id", run_id, "--conf", json.dumps(conf))
        ended = f"select state from dag_run where run_id = '{run_id}' and state in ('success', 'failed')"  # noqa: S608
        wait_until(lambda: bool(airflow.ask(ended)), f"{run_id} ends", airflow)
        rows = airflow.ask(f"select task_id, state from task_instance where run_id = '{run_id}'")  # noqa: S608
        return airflow.ask(ended)[0][0], dict(rows)

    def without_worker(self, run_id: str) -> set[str]:
        """The tasks of a run that no worker has had."""
        return {
            task_id
            for task_id, hostname in self.stack.airflow.ask(
                f"select task_id, hostname from task_instance where run_id = '{run_id}'"  # noqa: S608
            )
            if not hostname
        }


@pytest.fixture(params=[stack.parameter() for stack in STACKS])
def harbor(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres, dbt_project: Path) -> Iterator[Harbor]:
    database = tmp_path / "harbor.duckdb"
    (dbt_project / "profiles.yml").write_text(
        f"harbor:\n  target: dev\n  outputs:\n    dev: {{type: duckdb, path: '{database}'}}\n"
    )
    models = dbt_project / "models"
    (models / "staging.sql").write_text("select *, '{{ var(\"day\") }}' as day from {{ ref('piers') }}")
    (models / "other.sql").write_text("select 1 as id")
    (models / "tests.yml").write_text(
        "models: [{name: staging, columns: [{name: id, data_tests: [unique, not_null]}]}]\n"
    )
    words: list[str | Path] = [
        DBT,
        "parse",
        "--project-dir",
        dbt_project,
        "--profiles-dir",
        dbt_project,
        "--vars",
        "{day: '1'}",
    ]
    subprocess.run([*words, "--target-path", tmp_path / "state"], check=True, capture_output=True)
    (models / "other.sql").write_text("select 2 as id")
    source = DAG_FILE.format(project=str(dbt_project), dbt=str(DBT), state=str(tmp_path / "state"))
    # The path of a socket has 107 characters at most.
    with TemporaryDirectory(prefix="cv-", dir="/tmp") as short:
        arguments: dict[str, Any] = {"folder": tmp_path / "airflow", "short": Path(short), "postgres": postgres}
        with running_stack(request.param, source, **arguments) as running:
            running.unpause("harbor")
            yield Harbor(running)


@needs_dbt
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_run_does_what_it_was_triggered_with(harbor: Harbor) -> None:
    airflow = harbor.stack.airflow

    assert harbor.run("all") == ("success", dict.fromkeys(ALL, "success")), logs(airflow)

    state, found = harbor.run("some", select="mart staging,config.materialized:view", exclude="unique_staging_id")
    assert (state, found) == (
        "success",
        {**dict.fromkeys(ALL, "success"), **dict.fromkeys(("piers_seed", "other_run"), "skipped")},
    ), logs(airflow)
    assert harbor.without_worker("some") == {"dbt_select_done", "piers_seed", "other_run"}

    chosen = ("dbt_select", "dbt_select_done", "other_run")
    assert harbor.run("changed", select="state:modified") == (
        "success",
        {**dict.fromkeys(ALL, "skipped"), **dict.fromkeys(chosen, "success")},
    ), logs(airflow)

    chosen = ("dbt_select", "dbt_select_done", "mart_run")
    assert harbor.run("leaf", select="mart", vars={"day": "2"}, full_refresh=True) == (
        "success",
        {**dict.fromkeys(ALL, "skipped"), **dict.fromkeys(chosen, "success")},
    ), logs(airflow)
    log = text_of_log(harbor, "leaf", "mart_run")
    assert "--full-refresh" in log
    assert """day: '"'"'2'"'"'""" in log.replace("\\", ""), "quoted for a shell, and on Airflow 3 in JSON"

    assert harbor.run("refused", select="bogus:x") == (
        "failed",
        {**dict.fromkeys(ALL, "upstream_failed"), "dbt_select": "failed"},
    ), logs(airflow)
    assert "'bogus' is not a valid method name" in text_of_log(harbor, "refused", "dbt_select")


def text_of_log(harbor: Harbor, run_id: str, task_id: str) -> str:
    folder = harbor.stack.airflow.folder / "airflow" / "logs"
    files = folder.rglob(f"dag_id=harbor/run_id={run_id}/task_id={task_id}/**/*.log")
    return "".join(file.read_text(errors="replace") for file in files)
