"""The Airflow of a run with servers: its files say what the plan says, and its environment is nobody else's."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.conformance.adapter import DagPlan
from pytest_cosmos_venv.conformance.harness import served_airflow
from pytest_cosmos_venv.conformance.harness.served_airflow import (
    ServedAirflow,
    environment_of,
    parsed_files,
    troubles,
    why_not_here,
    write_home,
)

PLAN = DagPlan(
    project={"dbt_project_path": "/harbor"},
    profile={"profile_name": "harbor"},
    dag={"dag_id": "plain", "default_args": {"retries": 1, "retry_delay": timedelta(seconds=1)}},
)


def test_each_process_of_airflow_lets_the_adapter_begin(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").close()
    (tmp_path / "mine.py").write_text(
        "from pytest_cosmos_venv.conformance.adapter import Adapter\n"
        "class Mine(Adapter):\n"
        "    import_root = 'mine'\n"
        "    def begin(self): print('begun')\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    write_home(home, tmp_path / "empty.db", named="mine:Mine", plans={})

    done = subprocess.run(
        [sys.executable, home / "config" / "airflow_local_settings.py"],
        env={"PYTHONPATH": f"{tmp_path}:{Path(served_airflow.__file__).parents[3]}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "begun\n"


def test_the_servers_know_no_other_airflow_and_no_other_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", "/production")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgresql://production")
    monkeypatch.setenv("HOME", "/somebody")

    environment = environment_of(tmp_path)

    assert [name for name, value in environment.items() if "production" in value] == []
    assert (environment["AIRFLOW_HOME"], environment["HOME"]) == (str(tmp_path), str(tmp_path))
    assert str(tmp_path) in environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        pytest.param("3.3.2", None, id="airflow-3"),
        pytest.param(None, None, id="none"),
        pytest.param("2.11.2", "Airflow 2.11.2 does not run LocalExecutor on SQLite", id="airflow-2"),
    ],
)
def test_an_airflow_that_cannot_be_served_is_a_reason_not_to_judge(
    installed: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_airflow, "installed_airflow", lambda: installed)

    said = why_not_here()

    assert said is None if expected is None else str(said).startswith(expected)


def test_the_troubles_of_a_task_are_told_with_their_exceptions() -> None:
    log = """Plain text
{"level": "info", "event": "starting"}
{"level": "error", "event": "Task failed", "error_detail": [{"exc_type": "ValueError", "exc_value": "no dbt"}]}
"just a text"
"""

    assert troubles(log) == ["Task failed: ValueError: no dbt"]


@pytest.fixture
def airflow(tmp_path: Path) -> ServedAirflow:
    """An Airflow with one run, in which nothing happens."""
    with sqlite3.connect(tmp_path / "airflow.db") as connection:
        connection.execute("create table dag_run (dag_id, state)")
        connection.execute("insert into dag_run values ('plain', 'running')")
        connection.execute("create table task_instance (dag_id, task_id, operator, state, try_number)")
        connection.execute(
            "insert into task_instance values ('plain', 'mart_run', 'DbtRunLocalOperator', 'running', 1)"
        )
    return ServedAirflow(tmp_path, 8081, psutil.Process(), timeout=0.5)


def test_a_run_that_goes_on_while_nothing_changes_is_not_waited_for(airflow: ServedAirflow) -> None:
    assert not airflow.wait(lambda: airflow.state("plain") == "failed")


@pytest.mark.long
def test_the_processor_parses_until_a_dag_appears_or_too_many_parses_have_failed(
    tmp_path: Path, cosmos_airflow: CosmosAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\n"
        "from pytest_cosmos_venv.conformance.cosmos_layout import CosmosLayout, empty_operator, plain_dag\n"
        "class Mine(CosmosLayout):\n"
        "    import_root = 'mine'\n"
        "    def make_dag(self, plan):\n"
        "        name = plan.dag['dag_id']\n"
        f"        parses = Path({str(tmp_path)!r}, name)\n"
        "        parses.open('a').write('.')\n"
        "        if name == 'never' or len(parses.read_text()) < 3:\n"
        "            raise RuntimeError(f'the crane of {name} is out of order')\n"
        "        with plain_dag(plan.dag) as dag:\n"
        "            empty_operator()(task_id='dock')\n"
        "        return dag\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    home = tmp_path / "home"
    home.mkdir()
    dags = ("late", "never")

    seen = parsed_files(
        home,
        cosmos_airflow.home.database,
        named="mine:Mine",
        plans={name: DagPlan(project={}, profile={}, dag={"dag_id": name, "schedule": None}) for name in dags},
        variables={},
        timeout=120,
    )

    late, never = (seen[name] for name in dags)
    assert late.dag is not None
    assert "dock" in late.dag
    assert len(late.errors) == 2
    assert (never.dag, len(never.errors)) == (None, served_airflow.PARSES)
    assert str(never).startswith(f"{served_airflow.PARSES} parses have failed, the last one with:\n")
    assert str(never).endswith("RuntimeError: the crane of never is out of order")
