"""What the reduction leaves out comes to the same as what it runs: as many orders are seen with and without it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pytest_cosmos_venv import Contender, CosmosRace

Operation = Callable[[Path], object]


def lock(path: Path) -> None:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def lock_of_duplicate(path: Path) -> None:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        duplicate = os.dup(file.fileno())
    os.close(duplicate)


OPERATIONS: dict[str, Operation] = {
    "make": lambda path: path.touch(),
    "look": lambda path: path.exists(),
    "make exclusively": lambda path: path.touch(exist_ok=False),
    "remove": lambda path: path.unlink(),
    "rename": lambda path: path.rename(path.with_name("other")),
    "list": lambda path: os.listdir(path.parent),  # noqa: PTH208 - one step
    "sleep": lambda path: time.sleep(len(path.name)),
    "lock": lock,
    "lock of duplicate": lock_of_duplicate,
}
STEPS = st.tuples(st.sampled_from(sorted(OPERATIONS)), st.sampled_from(["one", "two"]))


def program(steps: list[tuple[str, str]]) -> Callable[[Contender], None]:
    def work(contender: Contender) -> None:
        for name, file in steps:
            try:
                OPERATIONS[name](contender.folder / file)
            except OSError:
                continue

    return work


@pytest.mark.long
@pytest.mark.proof
@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    programs=st.lists(st.lists(STEPS, min_size=1, max_size=3), min_size=2, max_size=2),
    bounds=st.sampled_from([(0, 1), (1, 0), (1, 1), (2, 0)]),
)
def test_as_many_orders_are_seen(
    cosmos_race: CosmosRace, programs: list[list[tuple[str, str]]], bounds: tuple[int, int]
) -> None:
    works = [program(steps) for steps in programs]

    for preemptions, kills in [bounds]:
        reduced = cosmos_race.explore(works, preemptions=preemptions, kills=kills, seconds=120)
        whole = cosmos_race.explore(works, preemptions=preemptions, kills=kills, seconds=120, reduction=False)

        assert reduced.is_complete
        assert whole.is_complete
        assert reduced.orders == whole.orders
        assert reduced.schedules <= whole.schedules
