"""A task that is killed: what is remembered of its seed afterwards, and whether the next one loads it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pytest_cosmos_venv import Contender, CosmosRace, FakeVenv
from tests.operators.file_variables import variables_below
from tests.operators.seeds.seed_task import remembered, seed_task


class TaskTerminated(BaseException):
    """Stands in for Airflow 2's AirflowTaskTerminated."""


def load(contender: Contender, way: str, project: Path, dbt: Path, variables: Path) -> None:
    operator = seed_task(project, dbt)

    def handle(number: int, frame: object) -> None:
        operator.on_kill()
        if way == "raises":
            raise TaskTerminated

    signal.signal(signal.SIGTERM, handle)
    with variables_below(variables):
        operator.execute({"run_id": "night"})


def load_unless_killed(contender: Contender, project: Path, dbt: Path, variables: Path) -> None:
    with variables_below(variables):
        seed_task(project, dbt).execute({"run_id": "night"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_task_that_was_killed_with_its_dbt_the_seed_is_loaded_whatever_others_remember(
    cosmos_race: CosmosRace, cosmos_fake_venv: FakeVenv, dbt_project: Path, tmp_path: Path
) -> None:
    """Two runs load the same content at once. One succeeds; the other is killed, and half of the table is its own."""
    variables, operator = tmp_path / "variables", seed_task(dbt_project, cosmos_fake_venv.dbt)
    variables.mkdir()
    held = cosmos_fake_venv.script("seed", hold=True)
    with cosmos_race.start(load_unless_killed, dbt_project, cosmos_fake_venv.dbt, variables, contenders=1) as race:
        cosmos_fake_venv.wait_for_call("seed", held=True)
        held.take_back()
        with variables_below(variables):
            operator.execute({"run_id": "other"})
        os.kill(race.pids[0], signal.SIGKILL)
        race.finish(check=False)
    remembers = remembered(variables, operator)

    with variables_below(variables):
        for run_id in ("next", "last"):
            operator.execute({"run_id": run_id})

    assert remembers is None
    assert len(cosmos_fake_venv.calls) == 3
