"""What does ``@pytest.mark.cosmos_race(…)`` say?"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, cast

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.racers import MARK

if TYPE_CHECKING:
    from typing import TypeGuard

TIMEOUT = 300.0
"""Seconds a race may take where its mark says nothing."""


@dataclass(frozen=True, kw_only=True)
class RaceMark:
    """The arguments of the mark.

    :param racers: how many copies of the test run at once.
    :param across_workers: the copies are items of their own, each in another worker of pytest-xdist.
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
    """The arguments, checked.

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
    """The arguments of the mark that this test has, checked."""
    return read_mark(cast("pytest.Mark", item.get_closest_marker(MARK)))


def check_race(item: pytest.Item) -> None:
    """Of a test that has the mark.

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
    """Whether it can be told by how much; True and False count, but are no numbers here."""
    return isinstance(value, kinds) and not isinstance(value, bool)
