"""What the reduction leaves out comes to the same as what it runs: as many orders are seen with and without it."""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_cosmos_venv import Explore, ExploredContender

Operation = Callable[[Path], object]


def lock(path: Path) -> None:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


OPERATIONS: dict[str, Operation] = {
    "make": lambda path: path.touch(),
    "look": lambda path: path.exists(),
    "make exclusively": lambda path: path.touch(exist_ok=False),
    "remove": lambda path: path.unlink(),
    "rename": lambda path: path.rename(path.with_name("other")),
    "list": lambda path: os.listdir(path.parent),  # noqa: PTH208 - one step
    "sleep": lambda path: time.sleep(len(path.name)),
    "lock": lock,
}


def program(steps: list[tuple[str, str]]) -> Callable[[ExploredContender], None]:
    def work(contender: ExploredContender) -> None:
        for name, file in steps:
            try:
                OPERATIONS[name](contender.folder / file)
            except OSError:
                continue

    return work


def programs(seed: int) -> list[Callable[[ExploredContender], None]]:
    chosen = random.Random(seed)  # noqa: S311 - the same each time
    count = chosen.choice([2, 2, 3])
    return [
        program(
            [(chosen.choice(list(OPERATIONS)), chosen.choice(["one", "two"])) for _ in range(2 if count == 3 else 4)]
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 6))])
def test_as_many_orders_are_seen(cosmos_explore: Explore, seed: int) -> None:
    works = programs(seed)
    bounds = [(0, 1), (1, 0)] if seed < 3 else [(0, 1), (1, 1), (2, 0)]

    for preemptions, kills in bounds:
        reduced = cosmos_explore(works, preemptions=preemptions, kills=kills, reuse=True, seconds=120)
        whole = cosmos_explore(works, preemptions=preemptions, kills=kills, reuse=True, seconds=120, reduction=False)

        assert reduced.is_complete
        assert whole.is_complete
        assert reduced.orders == whole.orders
        assert reduced.schedules <= whole.schedules
