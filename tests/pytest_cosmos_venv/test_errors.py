"""Does a misuse reach the reader: as one sentence, out of any process, past any ``except Exception``?"""

from __future__ import annotations

import pickle

import pytest

from pytest_cosmos_venv import ToolkitMisuse


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
