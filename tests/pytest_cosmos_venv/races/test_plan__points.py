"""A point is seen when it is reached, waited for no longer than said, and missed in a sentence."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pytest_cosmos_venv import (
    Contender,
    RaceFailure,
    TaskRace,
    ToolkitMisuse,
    build_begins,
    file_appears,
    first_file_under,
    lock_taken,
)
from pytest_cosmos_venv.races.plan import Point


def touch_and_wait(contender: Contender, file: Path) -> None:
    contender.point("before")
    file.touch()
    contender.point("after")


def test_points_are_waited_for(cosmos_task_race: TaskRace, tmp_path: Path) -> None:
    file = file_appears(tmp_path / "file", name="the file")

    with cosmos_task_race.start(touch_and_wait, tmp_path / "file", contenders=1) as race:
        assert race.wait_for("before").actor == "contender-0"
        assert race.wait_for(file).what.endswith("file")
        with pytest.raises(
            RaceFailure, match=r"All contenders have ended, and none has reached 'later' \(told of: after;"
        ):
            race.wait_for("later")
        assert race.finish().sightings.keys() == {"before", "the file"}


def wait_for_ever(contender: Contender) -> None:
    threading.Event().wait()


def test_waiting_for_a_point_has_a_deadline(cosmos_task_race: TaskRace) -> None:
    with (
        pytest.raises(RaceFailure, match=r"contender-0 have not reached 'never' within 0\.2 s"),
        cosmos_task_race.start(wait_for_ever, contenders=1) as race,
    ):
        race.wait_for("never", timeout=0.2)


def say_and_fail(contender: Contender) -> None:
    print("no room at the quay", flush=True)
    raise LookupError("no such pier")


def say_and_return(contender: Contender) -> str:
    print("moored", flush=True)
    return "somewhere else"


def test_who_has_ended_before_a_point_says_how(cosmos_task_race: TaskRace) -> None:
    with (
        pytest.raises(RaceFailure, match="none has reached 'running'") as failure,
        cosmos_task_race.start([say_and_fail, say_and_return]) as race,
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


def test_a_point_that_nobody_reached_fails_the_race(cosmos_task_race: TaskRace, tmp_path: Path) -> None:
    with pytest.raises(RaceFailure, match=r"kill_at='here!': no contender has come there \(told of: here; seen from"):
        cosmos_task_race(come_by, tmp_path, kill_at="here!")


def meet(contender: Contender, folder: Path) -> None:
    (folder / contender.name).touch()
    threading.Event().wait()


def test_who_is_there_must_be_known(cosmos_task_race: TaskRace, tmp_path: Path) -> None:
    point = first_file_under(tmp_path, name="a file")

    with pytest.raises(ToolkitMisuse, match=r"contender-\d was seen, but it cannot be told which of 2 .* victim=INDEX"):
        cosmos_task_race(meet, tmp_path, kill_at=point)
    with pytest.raises(RaceFailure, match="contender-0 have not ended") as failure:
        cosmos_task_race(
            meet, tmp_path / "..", kill_at=file_appears(tmp_path.parent / "contender-1"), victim=1, timeout=0.3
        )
    assert "contender-1 killed by SIGKILL" in str(failure.value)


def test_points_see_only_what_is_new(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "cosmos_virtualenv.lock").write_text("1")
    anything, lock, old = first_file_under(tmp_path), lock_taken(tmp_path), file_appears(tmp_path / "old")
    assert [point.look() for point in (anything, lock, old)] == [None, None, None]

    (tmp_path / "cosmos_virtualenv.lock").write_text("")
    assert (anything.look(), lock.look()) == (None, None)
    (tmp_path / "cosmos_virtualenv.lock").write_text(str(os.getpid()))
    (tmp_path / "old").unlink()
    (tmp_path / "old").symlink_to("nowhere")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "new").touch()
    found, taken, replaced = anything.look(), lock.look(), old.look()

    assert found is not None
    assert found.what == str(tmp_path / "a" / "b" / "new")
    assert taken is not None
    assert taken.pid == os.getpid()
    assert replaced is not None
    with pytest.raises(ToolkitMisuse, match=r"installing was not reached within 0\.01 s"):
        build_begins().wait(timeout=0.01)
