"""Does a misuse reach the reader: as one sentence, out of any process, past any ``except Exception``?"""

from __future__ import annotations

import pickle

import pytest

from pytest_cosmos_venv import ToolkitMisuse
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
