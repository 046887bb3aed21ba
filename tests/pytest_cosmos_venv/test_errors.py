"""Errors of the toolkit: one sentence, out of any process, past any ``except Exception``."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import Contender, FakeVenv, Point, TaskRace, ToolkitMisuse
from pytest_cosmos_venv.racers.meeting import BarrierNotMet

pytest_plugins = ["pytester"]


def test_a_barrier_that_is_not_met_comes_back_too() -> None:
    copy = pickle.loads(pickle.dumps(BarrierNotMet("racer-0 waits alone.")))  # noqa: S301 - our own bytes

    assert type(copy) is BarrierNotMet
    assert str(copy) == "racer-0 waits alone."


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


def test_it_comes_back_from_another_process_as_it_was() -> None:
    copy = pickle.loads(pickle.dumps(ToolkitMisuse("racers=1: give 2 or more.")))  # noqa: S301 - our own bytes

    assert isinstance(copy, ToolkitMisuse)
    assert str(copy) == "racers=1: give 2 or more."


def test_code_under_test_does_not_swallow_it() -> None:
    def swallow() -> None:
        try:
            raise ToolkitMisuse("delay=-1: give seconds.")
        except Exception:  # noqa: BLE001 - what such code does
            pytest.fail("swallowed")

    with pytest.raises(ToolkitMisuse, match="give seconds"):
        swallow()


def test_the_former_name_of_a_timeout_works_and_warns_where_it_is_used(tmp_path: Path) -> None:
    never = Point("never", lambda: None)
    former: dict[str, Any] = {"deadline": 0.01}

    with (
        pytest.warns(DeprecationWarning, match=r"wait\(deadline=…\) is now wait\(timeout=…\)") as warned,
        pytest.raises(ToolkitMisuse, match=r"never was not reached within 0\.01 s"),
    ):
        never.wait(**former)

    assert warned[0].filename == __file__


def test_a_race_takes_the_former_name_of_its_timeout_too(cosmos_task_race: TaskRace) -> None:
    former: dict[str, Any] = {"deadline": 30}

    with pytest.warns(DeprecationWarning, match=r"cosmos_task_race\(timeout=…\)") as warned:
        cosmos_task_race(do_nothing, **former)
    with pytest.raises(ToolkitMisuse, match="give timeout alone"):
        cosmos_task_race(do_nothing, timeout=30, **former)

    assert [warning.filename for warning in warned] == [__file__]


def test_an_entry_that_is_not_on_record_is_told_with_those_that_are(cosmos_fake_venv: FakeVenv) -> None:
    assert cosmos_fake_venv.calls == []
    with pytest.raises(IndexError, match=r"^calls\[0\]: there was no call of dbt\.$"):
        cosmos_fake_venv.calls[0]

    subprocess.run([cosmos_fake_venv.dbt, "--version"], check=True)

    assert [call.command for call in cosmos_fake_venv.calls[:5]] == ["--version"]
    with pytest.raises(ToolkitMisuse, match=r"calls\[1\]: there is 1 call of dbt:\n  0: --version$"):
        cosmos_fake_venv.calls[1]
    assert pickle.loads(pickle.dumps(cosmos_fake_venv.calls)) == cosmos_fake_venv.calls  # noqa: S301 - our own bytes


def do_nothing(contender: Contender) -> None:
    """The work of a race whose options are what matters."""
