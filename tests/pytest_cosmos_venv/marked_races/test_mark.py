"""The mark's arguments are checked, and ids say which contenders belong together."""

from __future__ import annotations

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.marked_races.mark import RaceMark, copy_id, find_races, read_mark


def mark(*args: object, **kwargs: object) -> pytest.Mark:
    return pytest.mark.cosmos_race(*args, **kwargs).mark


def test_what_is_not_said_has_a_default() -> None:
    assert read_mark(mark(contenders=3)) == RaceMark(contenders=3, timeout=300.0)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        pytest.param(mark(contenders=1), r"contenders=1: give 2 or more", id="one"),
        pytest.param(mark(contenders="3"), r"contenders='3': give a number", id="text"),
        pytest.param(mark(), r"takes contenders, timeout: write cosmos_race\(contenders=3\)", id="nothing"),
        pytest.param(mark(3), r"takes contenders, timeout, and not 3: write", id="no-name"),
        pytest.param(mark(contenders=2, worker=4), "takes contenders, timeout, and not worker: write", id="unknown"),
        pytest.param(mark(contenders=2, timeout=0), r"timeout=0: give seconds, more than 0", id="no-time"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(given: pytest.Mark, sentence: str) -> None:
    with pytest.raises(ToolkitMisuse, match=sentence):
        read_mark(given)


def ids(template: str, contenders: int) -> list[str]:
    return [template.format(copy_id(index, contenders)) for index in range(contenders)]


@pytest.mark.parametrize(
    ("collected", "workers", "expected"),
    [
        pytest.param(ids("t.py::a[{}]", 2), 2, [(0, 1)], id="complete"),
        pytest.param(ids("t.py::a[{}]", 3), 2, [], id="too-few-workers"),
        pytest.param(ids("t.py::a[{}]", 3)[:2], 3, [], id="one-is-missing"),
        pytest.param(list(reversed(ids("t.py::a[{}]", 2))), 4, [(1, 0)], id="shuffled"),
        pytest.param(["t.py::x", *ids("t.py::a[{}]@g", 2), "t.py::y"], 2, [(1, 2)], id="in-a-group-of-xdist"),
        pytest.param(ids("t.py::a[x-{}]", 2) + ids("t.py::a[y-{}]", 2), 2, [(0, 1), (2, 3)], id="parametrised"),
        pytest.param(ids("t.py::a[{}-1-2]", 2) + ids("t.py::a[{}-2-2]", 2), 2, [(0, 1), (2, 3)], id="repeated"),
        pytest.param(ids("t.py::a[{}]", 2) * 2, 2, [], id="ids-that-occur-twice"),
    ],
)
def test_a_race_is_found_by_the_ids_of_its_contenders(
    collected: list[str], workers: int, expected: list[tuple[int, ...]]
) -> None:
    assert [race.positions for race in find_races(collected, workers=workers)] == expected
