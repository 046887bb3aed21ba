"""The hooks ``on-run-start`` and ``on-run-end``, which run once in a run of a DAG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import BatchBy, ExecutionMode
from cosmos_venv.exceptions import CosmosValueError
from pytest_cosmos_venv import CosmosAirflow, DagOutcome, FakeVenv
from tests.fake_dags import CHAIN, fake_dag, states, write_models

MODES = [
    pytest.param({}, id="local"),
    pytest.param({"batch_by": BatchBy.ALL}, id="batches"),
    pytest.param({"mode": ExecutionMode.WATCHER}, id="watcher"),
]
START, END = "dbt_on_run_start", "dbt_on_run_end"
RECORDING = """#!/bin/sh
for folder in "$@"; do test -f "$folder/dbt_project.yml" && break; done
grep -q on-run- "$folder/dbt_project.yml" && echo "$@" >> {folder}/with-hooks
case "$*" in run-operation*) echo "$2" >> {folder}/operations; cp -r "$folder/cosmos_venv_run_hooks" "{folder}/$2"; exit 0;; esac
exec {dbt} "$@"
"""


@pytest.fixture
def project(dbt_project: Path) -> Path:
    """Three models of which each reads the one before, and a hook of either kind."""
    with (dbt_project / "dbt_project.yml").open("a") as file:
        file.write('on-run-start: "create table begun (id int)"\non-run-end: ["{{ tell(results) }}", "select 2"]\n')
    return write_models(dbt_project, CHAIN)


def run(airflow: CosmosAirflow, dbt: FakeVenv, project: Path, **given: Any) -> DagOutcome:
    program = project.parent / "dbt"
    program.write_text(RECORDING.format(folder=project.parent, dbt=dbt.dbt))
    program.chmod(0o755)
    return airflow.run(fake_dag(dbt, project, program=program, run_hooks_once=True, **given), raise_on_failure=False)


@pytest.mark.parametrize("how", MODES)
def test_two_tasks_run_the_hooks_and_no_other_task_does(
    how: dict[str, Any], cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    outcome = run(cosmos_airflow, cosmos_fake_venv, project, **how)

    assert outcome.succeeded
    print(states(outcome))
    assert (project.parent / "operations").read_text().split() == [START, END]
    assert not (project.parent / "with-hooks").exists()
    print((project.parent / END / "hooks.sql").read_text())
    print((project.parent / END / "results.sql").read_text())
    assert 0
