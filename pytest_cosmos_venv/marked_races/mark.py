"""The mark ``cosmos_race``, and the test ids from which every process of a run finds the copies of a race."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import cast

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse, require_count, require_seconds

MARK = "cosmos_race"
"""Name of the mark, of the fixture, and of the report's property that says why a race did not run across workers."""
INDEX = "_cosmos_contender_index"
"""The fixture whose parameter is the index of the copy."""
TIMEOUT = 300.0
"""Seconds a race may take where its mark says nothing."""
_COPY = re.compile(r"contender-(\d+)-of-(\d+)(?!.*contender-\d+-of-\d)")


@dataclass(frozen=True, kw_only=True)
class RaceMark:
    """The arguments of the mark.

    :param contenders: number of copies of the test that run at once.
    :param timeout: seconds after which forked copies are killed, and after which a copy no longer waits for the setup
        of the other copies.
    """

    contenders: int
    timeout: float = TIMEOUT


def race_of(item: pytest.Item) -> RaceMark:
    """Return the arguments of a test's mark, checked.

    :param item: a test with the mark.
    :raises ToolkitMisuse: an argument is unknown, missing or has a wrong value.
    """
    return read_mark(cast("pytest.Mark", item.get_closest_marker(MARK)))


def read_mark(mark: pytest.Mark) -> RaceMark:
    """Return the arguments of a mark, checked.

    :param mark: the mark as a test has it.
    :raises ToolkitMisuse: an argument is unknown, missing or has a wrong value.
    """
    known = [field.name for field in fields(RaceMark)]
    unknown = [*map(repr, mark.args), *(name for name in mark.kwargs if name not in known)]
    if unknown or "contenders" not in mark.kwargs:
        given = f", and not {', '.join(unknown)}" if unknown else ""
        raise ToolkitMisuse(f"cosmos_race takes {', '.join(known)}{given}: write cosmos_race(contenders=3).")
    race = RaceMark(**mark.kwargs)
    for name, value in mark.kwargs.items():  # mypy knows no types of a mark's arguments
        if not isinstance(value, (int, float)):
            raise ToolkitMisuse(f"{name}={value!r}: give a number.")
    require_count(race.contenders, "contenders", least=2)
    require_seconds(race.timeout, "timeout", is_positive=True)
    return race


def check_race(item: pytest.Item) -> None:
    """Check a test that has the mark.

    :param item: the test.
    :raises ToolkitMisuse: when the mark cannot work on this test.
    """
    race_of(item)
    if MARK not in getattr(item, "fixturenames", ()):
        raise ToolkitMisuse(
            f"{item.name} is marked cosmos_race, but nothing in it asks for the fixture cosmos_race: "
            "add it to the arguments of the test function, or take the mark away."
        )
    if inspect.iscoroutinefunction(getattr(item, "obj", None)):
        raise ToolkitMisuse(
            f"{item.name} is an async function, which cosmos_race cannot run: "
            "write def, and start the event loop inside of the test with asyncio.run()."
        )


@dataclass(frozen=True, kw_only=True)
class CollectedRace:
    """One race with all its copies collected.

    :param name: the name of the race, equal for all copies and unique among races.
    :param positions: the positions of copy 0, 1, … among the collected tests.
    """

    name: str
    positions: tuple[int, ...]


def copy_id(index: int, contenders: int) -> str:
    """Return the copy's part of its test's id: ``test_install[contender-0-of-3]``.

    :param index: the index of the copy, from 0.
    :param contenders: number of copies.
    """
    return f"contender-{index}-of-{contenders}"


def race_name(nodeid: str) -> str:
    """Return the id without the copy's number, the same for all copies of a race.

    :param nodeid: the node id of a copy.
    """
    return _COPY.sub(r"contenders-\2", nodeid)


def find_races(ids: Sequence[str], *, workers: int) -> list[CollectedRace]:
    """Return the complete races for which there are enough workers, in the order in which they were collected.

    :param ids: the ids of all collected tests, in the order of collection.
    :param workers: number of workers.
    """
    found: dict[str, dict[int, int]] = {}
    sizes: dict[str, int] = {}
    for position, nodeid in enumerate(ids):
        copy = _COPY.search(nodeid)
        if copy:
            name = race_name(nodeid)
            sizes[name] = int(copy[2])
            found.setdefault(name, {})[int(copy[1])] = position
    # pytest --keep-duplicates gives two tests the same id, and an id must name one test.
    twice = {race_name(nodeid) for nodeid, count in Counter(ids).items() if count > 1}
    return [
        CollectedRace(name=name, positions=tuple(copies[index] for index in range(sizes[name])))
        for name, copies in found.items()
        if 2 <= sizes[name] <= workers and set(copies) == set(range(sizes[name])) and name not in twice
    ]
