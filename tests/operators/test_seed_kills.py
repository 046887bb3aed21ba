"""A task that is killed while it hashes a large seed: over in Airflow's five seconds, and nothing is remembered."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pytest_cosmos_venv import Contender, FakeVenv, Point, Sighting, TaskRace
from tests.operators.file_variables import variables_below
from tests.operators.test_seed_turn import seed_task

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
def test_a_task_that_is_killed_while_it_hashes_ends_and_remembers_nothing(
    way: str, end: str, cosmos_task_race: TaskRace, cosmos_fake_venv: FakeVenv, dbt_project: Path, tmp_path: Path
) -> None:
    csv, variables = dbt_project / "seeds" / "piers.csv", tmp_path / "variables"
    os.truncate(csv, LARGE)
    variables.mkdir()
    arguments = (way, dbt_project, cosmos_fake_venv.dbt, variables)

    with cosmos_task_race.start(load, *arguments, contenders=1) as race:
        being_read(csv, race.pids[0]).wait()
        began = time.monotonic()
        os.kill(race.pids[0], signal.SIGKILL if way == "killed" else signal.SIGTERM)
        killed = race.finish(check=False)

    assert time.monotonic() - began < 5
    assert killed.outcomes[0].in_words == end
    assert killed.left_behind == ()
    assert not cosmos_fake_venv.calls
    assert not list(variables.iterdir())
