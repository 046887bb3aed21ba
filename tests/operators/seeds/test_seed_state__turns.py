"""Runs of one DAG at once, each in a process of its own: what is remembered is what the table holds."""

from __future__ import annotations

import hashlib
import shutil
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.operators.local import DbtSeedLocalOperator
from cosmos_venv.operators.seeds.seed_state import own_turn
from pytest_cosmos_venv import Contender, Racer, TaskRace
from tests.operators.file_variables import variables_below
from tests.operators.seeds.seed_task import remembered, seed_task

ROUNDS = 50

# Loads a seed: what it is told to load is what the table holds afterwards, whole; where it fails, half.
LOADER = """#!/bin/sh
while [ "$1" != --project-dir ]; do shift; done
if [ -e "$2/fails" ]; then head -c 3 "$2/seeds/piers.csv" > "$TABLE.$$" && mv "$TABLE.$$" "$TABLE"; exit 1; fi
cat "$2/seeds/piers.csv" > "$TABLE.$$" && mv "$TABLE.$$" "$TABLE"
"""


@pytest.fixture
def one_machine(cosmos_racer: Racer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The racers have one Airflow and one folder for what is kept, as the tasks of a worker."""
    monkeypatch.setenv("AIRFLOW_HOME", str(cosmos_racer.shared))
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(cosmos_racer.shared / "cache"))


def task_of_a_run(racer: Racer, dbt_project: Path) -> tuple[Path, DbtSeedLocalOperator]:
    """This racer's copy of the project, and the task that loads its seed into the one table."""
    shared, index = racer.shared, racer.index
    (shared / "variables").mkdir(exist_ok=True)
    loader = shared / f"dbt-{index}"
    loader.write_text(LOADER)
    loader.chmod(0o755)
    project = Path(shutil.copytree(dbt_project, shared / f"project-{index}"))
    return project, seed_task(project, loader, env={"TABLE": str(shared / "table")})


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("one_machine")
@pytest.mark.cosmos_race(racers=2)
def test_of_two_runs_at_once_none_is_remembered_whose_content_was_loaded_over(
    cosmos_racer: Racer, dbt_project: Path
) -> None:
    """Each has a copy of the project, as two versions of a bundle are, and content of its own in each round."""
    index, table, variables = cosmos_racer.index, cosmos_racer.shared / "table", cosmos_racer.shared / "variables"
    project, operator = task_of_a_run(cosmos_racer, dbt_project)
    uncertain = 0
    for number in range(ROUNDS):
        (project / "seeds" / "piers.csv").write_text(f"id\n{number}\n{index}\n")
        cosmos_racer.barrier("start")
        with variables_below(variables):
            operator.execute({"run_id": f"run-{index}-{number}"})
        cosmos_racer.barrier("end")

        found = remembered(variables, operator)
        uncertain += found is None
        assert found in (None, hashlib.sha256(table.read_bytes()).hexdigest()), f"round {number}"
        cosmos_racer.barrier("seen")
    assert uncertain, "the two never met"


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("one_machine")
@pytest.mark.cosmos_race(racers=2)
def test_of_two_runs_at_once_of_which_one_fails_none_is_remembered_that_was_loaded_over(
    cosmos_racer: Racer, dbt_project: Path
) -> None:
    """Both load the same content, of which nothing is remembered. One of them leaves half of it."""
    index, table, variables = cosmos_racer.index, cosmos_racer.shared / "table", cosmos_racer.shared / "variables"
    project, operator = task_of_a_run(cosmos_racer, dbt_project)
    if index:
        (project / "fails").touch()
    for number in range(ROUNDS):
        (project / "seeds" / "piers.csv").write_text(f"id\n{number}\n")
        cosmos_racer.barrier("start")
        with variables_below(variables), pytest.raises(AirflowException) if index else nullcontext():
            operator.execute({"run_id": f"run-{index}-{number}"})
        cosmos_racer.barrier("end")

        found = remembered(variables, operator)
        assert found in (None, hashlib.sha256(table.read_bytes()).hexdigest()), f"round {number}"
        cosmos_racer.barrier("seen")


def take_turn(contender: Contender, folder: Path) -> None:
    with own_turn(folder, "piers__3f"), contender.span("turn"):
        threading.Event().wait(0.02)  # as long as two calls of Airflow's API


@pytest.mark.long
def test_the_tasks_of_a_machine_take_turns(cosmos_task_race: TaskRace, tmp_path: Path) -> None:
    race = cosmos_task_race(take_turn, tmp_path / "cache", contenders=4)

    race.timeline.assert_count("turn", 4)
    race.timeline.assert_max_concurrent("turn", 1)


def hold_turn(contender: Contender, folder: Path) -> None:
    with own_turn(folder, "piers__3f"):
        contender.point("held")
        threading.Event().wait(60)


@pytest.mark.long
def test_a_task_that_is_killed_in_its_turn_leaves_it(cosmos_task_race: TaskRace, tmp_path: Path) -> None:
    race = cosmos_task_race([hold_turn, take_turn], tmp_path / "cache", kill_at="held", victim=0)

    race.timeline.assert_count("turn", 1)


def test_where_nothing_can_be_locked_a_task_goes_on(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")

    with own_turn(tmp_path / "cache", "piers__3f"):
        pass
