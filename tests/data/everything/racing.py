"""The mark, in both of its forms, and contenders that are killed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv import Contender, Explore, ExploredContender, Racer, TaskRace


@pytest.mark.cosmos_race(racers=2)
def test_copies_in_processes_of_their_own(cosmos_racer: Racer) -> None:
    subprocess.Popen(["sleep", "60"])
    cosmos_racer.barrier("all are here")
    (cosmos_racer.shared / str(cosmos_racer.index)).touch()
    cosmos_racer.barrier("all have written")

    assert len(list(cosmos_racer.shared.iterdir())) == 2


@pytest.mark.cosmos_race(racers=2, across_workers=True)
def test_copies_across_workers(cosmos_racer: Racer, tmp_path: Path) -> None:
    places = cosmos_racer.once("places", lambda: {"first": str(tmp_path)})
    with cosmos_racer.span("race"):
        cosmos_racer.barrier("all are here")

    assert places["first"]


def work(contender: Contender, shelf: Path) -> None:
    contender.point("begun")
    (shelf / contender.name).touch()


def test_one_is_killed(cosmos_task_race: TaskRace, tmp_path: Path) -> None:
    race = cosmos_task_race(work, tmp_path, contenders=2, kill_at="begun")

    assert [outcome.signal for outcome in race.outcomes].count(signal.SIGKILL) == 1
    assert len(list(tmp_path.iterdir())) == 1


def touch(contender: ExploredContender) -> None:
    (contender.folder / "book").touch()


def test_every_order(cosmos_explore: Explore) -> None:
    assert cosmos_explore([touch, touch]).orders > 1
