"""Which of the collected tests are the racers of one race? Their ids say so, to every process of a run alike.

The controller of pytest-xdist learns of a test nothing but its id.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_RACER = re.compile(r"racer-(\d+)-of-(\d+)(?!.*racer-\d+-of-\d)")


@dataclass(frozen=True, kw_only=True)
class CollectedRace:
    """One race all of whose racers were collected.

    :param name: equal for all of them, and for no other race.
    :param positions: of racer 0, 1, … in the list of what was collected.
    """

    name: str
    positions: tuple[int, ...]


def racer_id(index: int, racers: int) -> str:
    """What stands in the id of a racer's test: ``test_install[racer-0-of-3]``."""
    return f"racer-{index}-of-{racers}"


def race_name(nodeid: str) -> str:
    """The id without the racer's number; of no use to name a single test."""
    return _RACER.sub(r"racers-\2", nodeid)


def find_races(ids: Sequence[str], *, workers: int) -> list[CollectedRace]:
    """The races that so many workers can run: complete, in the order of their first racers.

    :param ids: of everything that was collected, in that order.
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
    """Where the racers of a race across workers meet, the same in every process of the run."""
    readable = re.sub(r"\W+", "-", name.rpartition("::")[2])[:40].strip("-")
    return root / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
