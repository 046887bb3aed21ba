"""A misuse reaches the reader as one sentence, out of any process, past any ``except Exception``."""

from __future__ import annotations

import pickle
from importlib import import_module

import pytest

from pytest_cosmos_venv import errors
from pytest_cosmos_venv.errors import RecordDict, RecordList, ToolkitMisuse

pytest_plugins = ["pytester"]


def test_it_names_the_line_that_used_the_toolkit_wrongly(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        helpers="""
        def slow(venv):
            venv.script("run", nth=0)
        """,
        test_harbor="""
        from helpers import slow

        def test_slow(cosmos_fake_venv):
            slow(cosmos_fake_venv)
        """,
    )

    output = pytester.runpytest_subprocess("-p", "no:cacheprovider").stdout

    output.fnmatch_lines(["*cosmos: used wrongly here*", 'helpers.py:2: venv.script("run", nth=0)'])
    output.no_fnmatch_line("*scripted_dbt.py*")


def test_it_comes_back_from_another_process_as_it_was() -> None:
    copy = pickle.loads(pickle.dumps(ToolkitMisuse("delay=-1: give seconds.")))  # noqa: S301 - our own bytes

    assert type(copy) is ToolkitMisuse
    assert str(copy) == "delay=-1: give seconds."


def test_code_under_test_does_not_swallow_it() -> None:
    def swallow() -> None:
        try:
            raise ToolkitMisuse("delay=-1: give seconds.")
        except Exception:  # noqa: BLE001 - what such code does
            pytest.fail("swallowed")

    with pytest.raises(ToolkitMisuse, match="give seconds"):
        swallow()


WORDS = [f"w{number}" for number in range(12)]


def test_a_record_says_what_it_holds() -> None:
    def record(entries: list[str]) -> RecordList[str]:
        return RecordList(entries, of="calls", none="dbt was not called", word=str.upper)

    with pytest.raises(IndexError, match=r"^calls\[0\]: dbt was not called\.$"):
        record([])[0]
    with pytest.raises(ToolkitMisuse, match=r"^calls\[1\]: there is 1: \[0\] RUN\.$"):
        record(["run"])[1]
    with pytest.raises(ToolkitMisuse, match=r"^calls\[-13\]: there are 12: \[0\] W0, .*\[4\] W4, …, \[7\] W7, .*"):
        record(WORDS)[-13]


def test_a_record_is_a_list_otherwise() -> None:
    record = RecordList(WORDS, of="calls", none="dbt was not called")

    assert record == WORDS
    assert record[-1] == "w11"
    assert type(record[2:4]) is list
    copy = pickle.loads(pickle.dumps(record))  # noqa: S301 - our own bytes
    assert (copy, type(copy)) == (WORDS, list)


def test_a_record_by_names_says_which_there_are() -> None:
    record = RecordDict({"load": 1}, what="task of this run")

    with pytest.raises(ToolkitMisuse, match=r"^'laod' is no task of this run; there are load\.$") as misuse:
        record["laod"]
    assert isinstance(misuse.value, KeyError)
    assert record.get("laod") is None
    assert record == pickle.loads(pickle.dumps(record)) == {"load": 1}  # noqa: S301 - our own bytes


@pytest.mark.parametrize("name", [name for name in vars(errors) if name.endswith("Warning")])
def test_a_worker_can_hand_on_a_warning(name: str) -> None:
    """pytest-xdist looks a warning up in its module; where that has none of the name, the whole run ended."""
    warning = getattr(errors, name)

    assert getattr(import_module(warning.__module__), warning.__qualname__) is warning
