"""The demo shows what happened, and fails when a task fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from tools import demo
from tools.demo_airflow import DemoFailed, Place, set_up
from tools.demo_display import TaskOutcome, seconds_line, shown_seconds

PLAIN_DAG = """
from datetime import datetime
from airflow.sdk import dag, task

@dag(dag_id="plain", schedule=None, start_date=datetime(2025, 1, 1))
def plain():
    @task
    def load():
        print("loaded")

    @task
    def check():
        {check}

    @task
    def publish():
        pass

    load() >> check() >> publish()

plain()
"""


def run_demo(tmp_path: Path, dag_file: str) -> subprocess.CompletedProcess[str]:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "plain.py").write_text(dag_file, encoding="utf-8")
    command = [sys.executable, "-m", "tools.demo", "--folder", str(tmp_path / "demo"), "--dags", str(dags)]
    return subprocess.run(
        [*command, "--dag-id", "plain", "--svg", str(tmp_path / "demo.svg")],
        cwd=demo.ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )


def outcome(state: str) -> TaskOutcome:
    return TaskOutcome(task_id="load", operator="PythonOperator", dbt="dbt-core", state=state, seconds=1.0)


@pytest.mark.long
def test_a_run_in_which_every_task_succeeds_ends_with_a_table_and_exit_code_0(tmp_path: Path) -> None:
    done = run_demo(tmp_path, PLAIN_DAG.format(check="pass"))

    assert done.returncode == 0, done.stdout
    assert [line.split()[1::2][:1] for line in done.stdout.splitlines() if line.startswith("│")] == [
        ["load"],
        ["check"],
        ["publish"],
    ]
    assert "publish" in (tmp_path / "demo.svg").read_text(encoding="utf-8")
    assert "loaded" not in done.stdout
    assert "loaded" in (tmp_path / "demo" / "logs" / "plain.log").read_text(encoding="utf-8")


@pytest.mark.long
def test_a_failing_task_makes_the_demo_fail_and_gives_the_reason(tmp_path: Path) -> None:
    done = run_demo(tmp_path, PLAIN_DAG.format(check='raise RuntimeError("3 passengers too many")'))

    assert done.returncode == 1
    assert "Task check failed:\n3 passengers too many" in done.stdout
    assert "upstream_failed" in done.stdout
    assert "plain.log" in done.stdout
    assert not (tmp_path / "demo.svg").exists(), "no picture of a failure takes the place of one on a page"


@pytest.mark.long
def test_a_dag_file_that_cannot_be_imported_makes_the_demo_fail_with_the_traceback(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "import airflow, no_such_dag_library\n")

    assert done.returncode == 1
    assert "plain.py cannot be imported" in done.stdout
    assert "No module named 'no_such_dag_library'" in done.stdout


@pytest.mark.parametrize("states", [[], ["upstream_failed"], ["success", "skipped"], ["success", "none"]])
def test_anything_but_success_of_all_tasks_is_a_failure(states: list[str]) -> None:
    with pytest.raises(DemoFailed, match="did not succeed"):
        demo.refuse_failures([outcome(state) for state in states], {})


def test_success_of_all_tasks_is_none() -> None:
    demo.refuse_failures([outcome("success"), outcome("success")], {})


def test_the_demo_sees_nothing_of_another_airflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_HOME", "/home/someone/airflow")
    place = Place(folder=tmp_path, dags=tmp_path / "dags", dag_id="harbor")

    with mock.patch.dict(os.environ):  # the demo is a process of its own, and sets what it likes
        set_up(place)

        assert "AIRFLOW__CORE__EXECUTOR" not in os.environ
        assert os.environ["AIRFLOW_HOME"] == str(tmp_path / "airflow")


def test_the_sum_leaves_out_what_took_no_time() -> None:
    line = seconds_line({"install": 0.04, "parse": 3.25, "tasks": 30.0}, total=33.3)

    assert line.plain == "33.3 s in all: parse 3.2 s · tasks 30.0 s"


def test_a_task_that_never_started_has_no_seconds() -> None:
    assert shown_seconds(None) == "–"
