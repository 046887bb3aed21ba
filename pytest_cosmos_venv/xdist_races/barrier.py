"""The folder where racers meet, and their release.

Where do the racers of one race meet? In a folder: who has come where and who has ended are files in it.

Files, because the racers are children of one process or workers of pytest-xdist that know nothing of each other. Each
file is written in one step; whoever dies leaves nothing that a reader could trip over.

May the racers in the workers of pytest-xdist begin? The process that hands out the tests writes it down for them.

A worker runs what is last in its queue when it is told to shut down, so a racer that is started is no proof that its
race has begun: the run may be ending, with the others gone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pytest_cosmos_venv import real_time

LOOK_AGAIN = 0.002
"""Seconds between two looks of those who wait for other processes."""


# pytest gives the class of its own failures no other public name, and types know it under none.
class BarrierNotMet(pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """Somebody did not come to a barrier. Never the cause of a failed race, always its consequence."""

    # As pytest has it for its own, whose names it prints before the text in the summary of a run.
    __module__ = "builtins"

    def __init__(self, message: str) -> None:
        super().__init__(message, pytrace=False)

    def __reduce__(self) -> tuple[Callable[[str], BarrierNotMet], tuple[str]]:
        # Under the name above nobody would find it in another process.
        return _barrier_not_met, (str(self.msg),)


def _barrier_not_met(message: str) -> BarrierNotMet:
    return BarrierNotMet(message)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a racer's copy of the test ended.

    :param outcome: ``passed``, ``failed``, ``skipped``, ``xfailed``, ``exit`` or ``died``.
    :param how: for a sentence that begins with the racer: ``was killed by SIGKILL``.
    :param text: of the failure, or the reason of a skip.
    :param is_consequence: it failed because another racer did.
    """

    outcome: str
    how: str
    text: str = ""
    is_consequence: bool = False


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """One run of one race.

    :param folder: of this run alone; made when missing.
    :param racers: how many take part.
    """

    folder: Path
    racers: int

    @property
    def shared(self) -> Path:
        """The folder that the racers share for whatever they like."""
        return self.folder / "shared"

    @property
    def events(self) -> Path:
        """Where each racer writes down what it does."""
        return self.folder / "events"

    def introduce(self, index: int, *, worker: str | None) -> None:
        """This process is that racer."""
        self._publish("who", index, {"pid": os.getpid(), "worker": worker})

    def end(self, index: int, ending: Ending) -> None:
        """That racer has ended. The first word counts: who watches a process says less than the process itself."""
        if self.ending(index) is None:
            self._publish("ended", index, asdict(ending))

    def ending(self, index: int) -> Ending | None:
        """How that racer ended; None while it runs or has not begun."""
        found = self._read("ended", index)
        return None if found is None else Ending(**found)

    def who(self, index: int) -> str:
        """That racer in a sentence: ``racer 1 (gw1, process 4711)``."""
        found = self._read("who", index)
        if found is None:
            return f"racer {index}"
        worker = f"{found['worker']}, " if found["worker"] else ""
        return f"racer {index} ({worker}process {found['pid']})"

    def wait_at_start(self, index: int, *, timeout: float) -> None:
        """With fixtures set up, wait until all are. Parameters as for a barrier."""
        self._wait_for_all("start", index, timeout, what="the start of the race")

    def wait_at_barrier(self, name: str, visit: int, *, index: int, timeout: float) -> None:
        """Come to a barrier and stay until all are there.

        :param visit: how often this racer has been there before.
        :param index: who comes.
        :param timeout: seconds from now.
        :raises BarrierNotMet: as soon as one of the missing has ended, or when the time is over.
        """
        self._wait_for_all(f"barrier {visit} {name}", index, timeout, what=f"barrier {name!r}")

    def _wait_for_all(self, place: str, index: int, timeout: float, *, what: str) -> None:
        here = self.folder / "places" / quote(place, safe="")
        here.mkdir(parents=True, exist_ok=True)
        (here / str(index)).touch()
        parent, end = os.getppid(), real_time.monotonic() + timeout
        while True:
            # In this order: who comes and then ends, between two looks, has come.
            ended = {racer: self.ending(racer) for racer in range(self.racers)}
            missing = sorted(set(range(self.racers)) - {int(name) for name in os.listdir(here)})  # noqa: PTH208 - hot
            if not missing:
                return
            gone = {racer: ending for racer in missing if (ending := ended[racer]) is not None}
            if gone:
                raise BarrierNotMet(self._gone(gone, what))
            if real_time.monotonic() > end:
                raise BarrierNotMet(self._late(missing, what, timeout))
            if os.getppid() != parent:
                raise BarrierNotMet(f"{self.who(index)} waited at {what} when the process that ran the tests died.")
            real_time.sleep(LOOK_AGAIN)

    def _gone(self, gone: Mapping[int, Ending], what: str) -> str:
        return " ".join(f"{self.who(racer)} {ending.how} and did not come to {what}." for racer, ending in gone.items())

    def _late(self, missing: list[int], what: str, timeout: float) -> str:
        names = ", ".join(map(self.who, missing))
        present = self.racers - len(missing)
        return f"Not at {what} within {timeout:g} s: {names}. {present} of {self.racers} racers were there."

    def _publish(self, kind: str, index: int, value: object) -> None:
        folder = self.folder / kind
        folder.mkdir(parents=True, exist_ok=True)
        publish_json(folder / f"{index}.json", value)

    def _read(self, kind: str, index: int) -> dict[str, Any] | None:
        with suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.folder / kind / f"{index}.json").read_bytes())
            return found
        return None


def publish_json(file: Path, value: object) -> None:
    """Write it so that a reader sees all of it or nothing."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.rename(file)


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
