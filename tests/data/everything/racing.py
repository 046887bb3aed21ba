"""The mark, contenders that are killed, and an exploration."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv import Contender, CosmosRace


@pytest.mark.cosmos_race(contenders=2)
def test_copies(cosmos_race: Contender) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:  # there a copy is like any test, and ends what it starts
        subprocess.Popen(["sleep", "60"])
    cosmos_race.barrier("all are here")
    (cosmos_race.folder / str(cosmos_race.index)).touch()
    cosmos_race.barrier("all have written")

    assert len(list(cosmos_race.folder.iterdir())) == 2


@pytest.mark.cosmos_race(contenders=2)
def test_other_copies(cosmos_race: Contender, tmp_path: Path) -> None:
    places = cosmos_race.once("places", lambda: {"first": str(tmp_path)})
    with cosmos_race.span("race"):
        cosmos_race.barrier("all are here")

    assert places["first"]


def work(contender: Contender, shelf: Path) -> None:
    contender.point("begun")
    (shelf / contender.name).touch()


def test_one_is_killed(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    race = cosmos_race(work, tmp_path, contenders=2, kill_at="begun")

    assert [outcome.signal for outcome in race.outcomes].count(signal.SIGKILL) == 1
    assert len(list(tmp_path.iterdir())) == 1


def touch(contender: Contender) -> None:
    (contender.folder / "book").touch()


def test_every_order(cosmos_race: CosmosRace) -> None:
    assert cosmos_race.explore([touch, touch]).orders > 1
