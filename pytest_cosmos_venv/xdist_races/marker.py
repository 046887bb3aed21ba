"""The mark ``cosmos_race`` and its arguments, and the ids by which racers of one race are known.

The ids say to every process of a run alike which tests are the racers of one race: the controller of pytest-xdist
learns of a test nothing but its id.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.xdist_races import MARK

if TYPE_CHECKING:
    from typing import TypeGuard


TIMEOUT = 300.0
"""Seconds a race may take where its mark says nothing."""
_RACER = re.compile(r"racer-(\d+)-of-(\d+)(?!.*racer-\d+-of-\d)")


@dataclass(frozen=True, kw_only=True)
class RaceMark:
    """The arguments of the mark.

    :param racers: number of copies of the test that run at once.
    :param across_workers: whether the copies are items of their own, each in another worker of pytest-xdist.
    :param timeout: seconds: copies in processes of their own are killed when they have not ended by then, and no copy
        waits longer for the others to be set up.
    """

    racers: int
    across_workers: bool = False
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        if not is_number(self.racers, int) or self.racers < 2:
            raise ToolkitMisuse(f"cosmos_race(racers={self.racers!r}): a race takes a number of racers from 2 up.")
        if self.across_workers not in (True, False):
            raise ToolkitMisuse(f"cosmos_race(across_workers={self.across_workers!r}): say True or False.")
        if not is_number(self.timeout) or not self.timeout > 0:
            raise ToolkitMisuse(f"cosmos_race(timeout={self.timeout!r}): give seconds, more than 0.")


def read_mark(mark: pytest.Mark) -> RaceMark:
    """The arguments of a mark, checked.

    :param mark: the mark as a test has it.
    :raises ToolkitMisuse: with what was given and what can be.
    """
    if mark.args:
        given = ", ".join(map(repr, mark.args))
        raise ToolkitMisuse(f"cosmos_race({given}): name the argument, as in cosmos_race(racers=3).")
    known = [field.name for field in fields(RaceMark)]
    unknown = [name for name in mark.kwargs if name not in known]
    if unknown:
        raise ToolkitMisuse(f"cosmos_race knows {', '.join(known)}, and not {', '.join(unknown)}.")
    if "racers" not in mark.kwargs:
        raise ToolkitMisuse("cosmos_race: say how many, as in cosmos_race(racers=3).")
    return RaceMark(**mark.kwargs)


def race_of(item: pytest.Item) -> RaceMark:
    """The arguments of the mark that a test has, checked.

    :param item: a test with the mark.
    """
    return read_mark(cast("pytest.Mark", item.get_closest_marker(MARK)))


def check_race(item: pytest.Item) -> None:
    """Check a test that has the mark.

    :param item: the test.
    :raises ToolkitMisuse: when the mark cannot work on this test.
    """
    race_of(item)
    if "cosmos_racer" not in getattr(item, "fixturenames", ()):
        raise ToolkitMisuse(
            f"{item.name} is marked cosmos_race, but nothing in it asks for the fixture cosmos_racer: "
            "add it to the arguments of the test function, or take the mark away."
        )
    if inspect.iscoroutinefunction(getattr(item, "obj", None)):
        raise ToolkitMisuse(
            f"{item.name} is an async function, which cosmos_race cannot run: "
            "write def, and start the event loop inside of the test with asyncio.run()."
        )


def is_number(value: object, kinds: type | tuple[type, ...] = (int, float)) -> TypeGuard[float]:
    """Whether a value is a number; True and False count as none.

    :param value: a value of any type.
    :param kinds: the types that count.
    """
    return isinstance(value, kinds) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class CollectedRace:
    """One race all of whose racers were collected.

    :param name: equal for all of them, and for no other race.
    :param positions: the positions of racer 0, 1, … in the list of what was collected.
    """

    name: str
    positions: tuple[int, ...]


def racer_id(index: int, racers: int) -> str:
    """The racer's part of its test's id: ``test_install[racer-0-of-3]``.

    :param index: the index of the racer, from 0.
    :param racers: number of racers of the race.
    """
    return f"racer-{index}-of-{racers}"


def race_name(nodeid: str) -> str:
    """The id without the racer's number, the same for all racers of a race.

    :param nodeid: the node id of a racer's test.
    """
    return _RACER.sub(r"racers-\2", nodeid)


def find_races(ids: Sequence[str], *, workers: int) -> list[CollectedRace]:
    """The races that so many workers can run: complete, in the order of their first racers.

    :param ids: the ids of everything that was collected, in that order.
    :param workers: number of workers.
    """
    found: dict[str, dict[int, int]] = {}
    sizes: dict[str, int] = {}
    for position, nodeid in enumerate(ids):
        racer = _RACER.search(nodeid)
        if racer:
            name = race_name(nodeid)
            sizes[name] = int(racer[2])
            found.setdefault(name, {})[int(racer[1])] = position
    # pytest --keep-duplicates: which of two equal ids is meant cannot be told.
    twice = {race_name(nodeid) for nodeid, count in Counter(ids).items() if count > 1}
    return [
        CollectedRace(name=name, positions=tuple(racers[index] for index in range(sizes[name])))
        for name, racers in found.items()
        if 2 <= sizes[name] <= workers and set(racers) == set(range(sizes[name])) and name not in twice
    ]


def race_folder(root: Path, name: str) -> Path:
    """The folder of a race across workers, the same in every process of the run.

    :param root: the folder of all races of the run.
    :param name: the name of the race.
    """
    readable = re.sub(r"\W+", "-", name.rpartition("::")[2])[:40].strip("-")
    return root / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
