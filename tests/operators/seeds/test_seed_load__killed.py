"""A task that is killed: what is remembered of its seed afterwards, and whether the next one loads it."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

import pytest

from cosmos_venv.managed import caches
from cosmos_venv.operators.seeds.seed_state import Scope, SeedLoads
from pytest_cosmos_venv import Contender, FakeVenv, Point, Sighting, TaskRace
from tests.operators.file_variables import variables_below
from tests.operators.seeds.seed_task import SEED, remembered, seed_task

LARGE = 2**40  # bytes, of which none is on the disk: nobody hashes it to its end


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


def being_read(path: Path, pid: int) -> Point:
    """The process has read some of the file."""

    def look() -> Sighting | None:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                position = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().split()[1]
                if link.readlink() == path and int(position) > 2**20:
                    return Sighting(at=time.time(), what=str(path))
            except FileNotFoundError:
                continue
        return None

    return Point("hashing", look)


@pytest.mark.parametrize(
    ("way", "end"),
    [
        pytest.param("returns", "AirflowException: Task piers_seed was killed; its dbt was ended.", id="returns"),
        pytest.param("raises", "TaskTerminated: ", id="raises"),
        pytest.param("killed", "killed by SIGKILL", id="killed"),
    ],
)
def test_a_task_that_is_killed_while_it_hashes_ends_and_leaves_what_is_remembered(
    way: str, end: str, cosmos_task_race: TaskRace, cosmos_fake_venv: FakeVenv, dbt_project: Path, tmp_path: Path
) -> None:
    """The task does not read the file to its end. dbt has not begun, so the table still holds what was remembered."""
    csv, variables = dbt_project / "seeds" / "piers.csv", tmp_path / "variables"
    before, operator = csv.read_bytes(), seed_task(dbt_project, cosmos_fake_venv.dbt)
    variables.mkdir()
    with variables_below(variables):
        operator.execute({"run_id": "evening"})
    os.truncate(csv, LARGE)
    arguments = (way, dbt_project, cosmos_fake_venv.dbt, variables)

    with cosmos_task_race.start(load, *arguments, contenders=1) as race:
        being_read(csv, race.pids[0]).wait()
        os.kill(race.pids[0], signal.SIGKILL if way == "killed" else signal.SIGTERM)
        killed = race.finish(check=False)

    assert killed.outcomes[0].in_words == end
    assert killed.left_behind == ()
    assert remembered(variables, operator) == hashlib.sha256(before).hexdigest()
    csv.write_bytes(before)
    with variables_below(variables):
        operator.execute({"run_id": "next"})
    assert len(cosmos_fake_venv.calls) == 1


def load_unless_killed(contender: Contender, project: Path, dbt: Path, variables: Path) -> None:
    with variables_below(variables):
        seed_task(project, dbt).execute({"run_id": "night"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_task_that_was_killed_with_its_dbt_the_seed_is_loaded_whatever_others_remember(
    cosmos_task_race: TaskRace, cosmos_fake_venv: FakeVenv, dbt_project: Path, tmp_path: Path
) -> None:
    """Two runs load the same content at once. One succeeds; the other is killed, and half of the table is its own."""
    variables, operator = tmp_path / "variables", seed_task(dbt_project, cosmos_fake_venv.dbt)
    variables.mkdir()
    held = cosmos_fake_venv.script("seed", hold=True)
    with cosmos_task_race.start(load_unless_killed, dbt_project, cosmos_fake_venv.dbt, variables, contenders=1) as race:
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

    assert remembers is not None
    assert len(cosmos_fake_venv.calls) == 3
    assert not SeedLoads(
        cache_dir=caches.cache_dir(), key=Scope.of(operator.dag_id, operator.task_group, {}, SEED).key
    ).broken_off()
