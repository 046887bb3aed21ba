"""A misuse reaches the reader as one sentence, out of any process, past any ``except Exception``."""

from __future__ import annotations

import pickle
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv, Point, TaskRace, ToolkitMisuse, VenvLocks, Wheelhouse
from pytest_cosmos_venv.errors import RecordDict, RecordList, RecordTuple
from pytest_cosmos_venv.xdist_races.barrier import BarrierNotMet

pytest_plugins = ["pytester"]


def test_it_names_the_line_that_used_the_toolkit_wrongly(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        helpers="""
        def slow(venv):
            venv.script("run", delay=-1)
        """,
        test_harbor="""
        from helpers import slow

        def test_slow(cosmos_fake_venv):
            slow(cosmos_fake_venv)
        """,
    )

    output = pytester.runpytest_subprocess("-p", "no:cacheprovider").stdout

    output.fnmatch_lines(["*cosmos: used wrongly here*", 'helpers.py:2: venv.script("run", delay=-1)'])
    output.no_fnmatch_line("*scripted_dbt.py*")


@pytest.mark.parametrize("kind", [ToolkitMisuse, BarrierNotMet])
def test_it_comes_back_from_another_process_as_it_was(kind: type[BaseException]) -> None:
    copy = pickle.loads(pickle.dumps(kind("racer-0 waits alone.")))  # noqa: S301 - our own bytes

    assert type(copy) is kind
    assert str(copy) == "racer-0 waits alone."


def test_code_under_test_does_not_swallow_it() -> None:
    def swallow() -> None:
        try:
            raise ToolkitMisuse("delay=-1: give seconds.")
        except Exception:  # noqa: BLE001 - what such code does
            pytest.fail("swallowed")

    with pytest.raises(ToolkitMisuse, match="give seconds"):
        swallow()


WORDS = [f"w{number}" for number in range(12)]


@pytest.mark.parametrize("kind", [RecordList, RecordTuple])
def test_a_record_says_what_it_holds(kind: type[RecordList[str]] | type[RecordTuple[str]]) -> None:
    def record(entries: list[str]) -> RecordList[str] | RecordTuple[str]:
        return kind(entries, of="calls", none="dbt was not called", word=str.upper)

    with pytest.raises(IndexError, match=r"^calls\[0\]: dbt was not called\.$"):
        record([])[0]
    with pytest.raises(ToolkitMisuse, match=r"^calls\[1\]: there is 1: \[0\] RUN\.$"):
        record(["run"])[1]
    with pytest.raises(ToolkitMisuse, match=r"^calls\[-13\]: there are 12: \[0\] W0, .*\[4\] W4, …, \[7\] W7, .*"):
        record(WORDS)[-13]


@pytest.mark.parametrize("kind", [RecordList, RecordTuple])
def test_a_record_is_what_it_was_otherwise(kind: type[RecordList[str]] | type[RecordTuple[str]]) -> None:
    record = kind(WORDS, of="calls", none="dbt was not called")
    plain = list(WORDS) if kind is RecordList else tuple(WORDS)

    assert record == plain
    assert record[-1] == "w11"
    assert type(record[2:4]) is type(plain)
    copy = pickle.loads(pickle.dumps(record))  # noqa: S301 - our own bytes
    assert (copy, type(copy)) == (plain, type(plain))


def test_a_record_by_names_says_which_there_are() -> None:
    record = RecordDict({"load": 1}, what="task of this run")

    with pytest.raises(ToolkitMisuse, match=r"^'laod' is no task of this run; there are load\.$") as misuse:
        record["laod"]
    assert isinstance(misuse.value, KeyError)
    assert record.get("laod") is None
    assert record == pickle.loads(pickle.dumps(record)) == {"load": 1}  # noqa: S301 - our own bytes


def work(contender: object) -> None:
    """Nothing."""


@pytest.fixture
def waits(
    cosmos_fake_venv: FakeVenv, cosmos_venv_lock: VenvLocks, cosmos_wheelhouse: Wheelhouse, tmp_path: Path
) -> list[Any]:
    """Whatever waits for something that does not come."""
    return [
        partial(cosmos_fake_venv.wait_for_call, "run"),
        partial(cosmos_fake_venv.wait_for_end, "run"),
        cosmos_venv_lock(tmp_path).wait_until_taken,
        cosmos_wheelhouse.add_sdist().wait_for_build,
        Point("never", lambda: None).wait,
    ]


def test_the_former_name_of_a_timeout_is_taken(waits: list[Any]) -> None:
    for wait in waits:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with pytest.raises(ToolkitMisuse, match=r"0\.01 s"):
                wait(deadline=0.01)
        assert [str(each.message) for each in warned] == [
            "deadline=… is called timeout=… now; pytest-cosmos-venv 0.4.0 removes the former name"
        ]
        assert (warned[0].category, warned[0].filename) == (DeprecationWarning, __file__)


def test_a_race_takes_the_former_name_too(cosmos_task_race: TaskRace, cosmos_wheelhouse: Wheelhouse) -> None:
    with pytest.warns(DeprecationWarning, match="deadline") as warned:
        cosmos_task_race(work, deadline=30)
    with pytest.warns(DeprecationWarning, match="deadline") as also:
        race = cosmos_task_race.start(work, deadline=30)
    with race:
        race.finish()
    with pytest.warns(DeprecationWarning, match="deadline"):
        cosmos_wheelhouse.add_sdist(deadline=30)  # type: ignore[call-arg] # its former name
    with pytest.raises(ToolkitMisuse, match="leave out deadline, its former name"):
        cosmos_task_race(work, deadline=30, timeout=30)
    assert warned[0].filename == also[0].filename == __file__
