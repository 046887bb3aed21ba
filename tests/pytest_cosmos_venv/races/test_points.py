"""A point is seen when it is reached, waited for no longer than said, and missed in a sentence."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pytest_cosmos_venv import Contender, CosmosRace, RaceFailure
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.races.points import Point, Sighting, first_file_under, lock_taken


def file_appears(file: Path) -> Point:
    return Point("the file", lambda: Sighting(at=0.0, what=str(file)) if file.exists() else None)


def touch_and_wait(contender: Contender, file: Path) -> None:
    contender.point("before")
    file.touch()
    contender.point("after")


def test_points_are_waited_for(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    file = file_appears(tmp_path / "file")

    with cosmos_race.start(touch_and_wait, tmp_path / "file", contenders=1) as race:
        assert race.wait_for("before").actor == "contender-0"
        assert race.wait_for(file).what.endswith("file")
        with pytest.raises(
            RaceFailure, match=r"All contenders have ended, and none has reached 'later' \(told of: after;"
        ):
            race.wait_for("later")
        assert race.finish().sightings.keys() == {"before", "the file"}


def say_and_fail(contender: Contender) -> None:
    print("no room at the quay", flush=True)
    raise LookupError("no such pier")


def say_and_return(contender: Contender) -> str:
    print("moored", flush=True)
    return "somewhere else"


def test_who_has_ended_before_a_point_says_how(cosmos_race: CosmosRace) -> None:
    with (
        pytest.raises(RaceFailure, match="none has reached 'running'") as failure,
        cosmos_race.start([say_and_fail, say_and_return]) as race,
    ):
        race.wait_for(Point("running", lambda: None))

    told = str(failure.value)
    assert "LookupError: no such pier" in told
    assert "its output:\nno room at the quay" in told
    assert "returned 'somewhere else'" in told
    assert "its output:\nmoored" in told


def come_by(contender: Contender, folder: Path) -> None:
    contender.point("here")
    (folder / contender.name).touch()


def test_a_point_that_nobody_reached_fails_the_race(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    with pytest.raises(RaceFailure, match=r"kill_at='here!': no contender has come there \(told of: here; seen from"):
        cosmos_race(come_by, tmp_path, kill_at="here!")


def meet(contender: Contender, folder: Path) -> None:
    (folder / contender.name).touch()
    threading.Event().wait()


def test_who_is_there_must_be_known(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    with pytest.raises(ToolkitMisuse, match=r"contender-\d was seen, but it cannot be told which of 2 .* by hand with"):
        cosmos_race(meet, tmp_path, kill_at=first_file_under(tmp_path))


def test_points_see_only_what_is_new(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "cosmos_virtualenv.lock").write_text("1")
    anything, lock = first_file_under(tmp_path), lock_taken(tmp_path)
    assert [point.look() for point in (anything, lock)] == [None, None]

    (tmp_path / "cosmos_virtualenv.lock").write_text("")
    assert (anything.look(), lock.look()) == (None, None)
    (tmp_path / "cosmos_virtualenv.lock").write_text(str(os.getpid()))
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "new").touch()
    found, taken = anything.look(), lock.look()

    assert found is not None
    assert found.what == str(tmp_path / "a" / "b" / "new")
    assert taken is not None
    assert taken.pid == os.getpid()
