"""A race ends in words, and in time, when the test or the machine does something unforeseen to it."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import freezegun
import psutil
import pytest

from pytest_cosmos_venv import Contender, CosmosRace, RaceFailure
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.races.contender import RaceOrder


def wait_for_ever(contender: Contender) -> None:
    contender.point("waiting for ever")
    threading.Event().wait()


def install(contender: Contender) -> str:
    return f"{contender.name} installs"


def test_a_frozen_clock_changes_neither_deadline_nor_chart(cosmos_race: CosmosRace) -> None:
    # freezegun asks each module for all its names. The lazy names of cosmos_venv would import Airflow in frozen time. A
    # pendulum that is imported in frozen time stays broken: four later tests of the same worker failed.
    frozen = freezegun.freeze_time("2020-01-01", ignore=["cosmos_venv"])

    with frozen, pytest.raises(RaceFailure, match=r"within 0\.5 s") as failure:
        cosmos_race([wait_for_ever, install], timeout=0.5)

    told = [float(words[1:]) for words in str(failure.value).split() if words.startswith("+")]
    assert told
    assert max(told) < 60


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets contenders die with their supervisor")
def test_a_race_whose_marshal_is_killed_says_so(cosmos_race: CosmosRace) -> None:
    with cosmos_race.start(wait_for_ever) as race:
        race.wait_for("waiting for ever")
        supervisor = psutil.Process(race.pids[0]).parent()
        assert supervisor is not None
        supervisor.kill()
        with pytest.raises(ToolkitMisuse, match="looks after the contenders of this race is gone"):
            race.finish()

    with pytest.raises(ToolkitMisuse, match="is over"):
        race.kill(0)


class RunsCode:
    """Makes a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._file,)


def return_code(contender: Contender, file: Path) -> RunsCode:
    return RunsCode(file)


def leave_code_in_place_of_a_result(contender: Contender, file: Path) -> NoReturn:
    order: RaceOrder = contender._order  # type: ignore[attr-defined] # of one that races
    order.outcome_of(contender.index).write_bytes(pickle.dumps(RunsCode(file)))
    os._exit(0)


def return_plain_data(contender: Contender, file: Path) -> dict[str, Any]:
    return {"piers": ["north", ("east", 2, 0.5, None)], "names": {"a"}, "bytes": b"x"}


def test_of_a_race_for_plain_data_nothing_else_is_taken_in(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    file = tmp_path / "made by the pickle"
    works = [return_code, leave_code_in_place_of_a_result, return_plain_data]

    code, forged, plain = cosmos_race(works, file, check=False, plain=True).outcomes

    assert not file.exists()
    assert "is no plain data, when the test's process took in what" in code.in_words
    assert "is no plain data" in forged.in_words
    assert plain.value == return_plain_data(None, file)  # type: ignore[arg-type] # of itself it needs nothing
    assert [each.succeeded for each in (code, forged, plain)] == [False, False, True]


def leave_early(contender: Contender) -> NoReturn:
    os._exit(0)


def test_a_process_that_ends_by_itself_with_0_has_not_succeeded(cosmos_race: CosmosRace) -> None:
    race = cosmos_race(leave_early, contenders=1, check=False)

    assert [each.in_words for each in race.outcomes] == ["the process ended by itself with 0 before it answered"]
    with pytest.raises(RaceFailure, match="1 of 1 contenders failed"):
        cosmos_race(leave_early, contenders=1)
