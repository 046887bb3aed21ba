"""May the racers in the workers of pytest-xdist begin? The process that hands out the tests writes it down for them.

A worker runs what is last in its queue when it is told to shut down, so a racer that is started is no proof that its
race has begun: the run may be ending, with the others gone.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pytest_cosmos_venv.racers.meeting import publish_json


@dataclass(frozen=True, kw_only=True)
class Release:
    """The word that racers may begin.

    :param alone: the only racer that shall run, all copies by itself; None for all of them, each in its worker.
    :param why: the others cannot take part.
    """

    alone: int | None = None
    why: str = ""


def plan(folder: Path) -> None:
    """There will be a word on this race, unless the run ends before."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "planned").touch()


def is_planned(folder: Path) -> bool:
    """Whether whoever hands out the tests knows of this race."""
    return (folder / "planned").exists()


def release(folder: Path, word: Release) -> None:
    """All workers that take part are free."""
    publish_json(folder / "release.json", asdict(word))


def read_release(folder: Path) -> Release | None:
    """The word; None when the run ends without it."""
    with suppress(FileNotFoundError):
        return Release(**json.loads((folder / "release.json").read_bytes()))
    return None
