"""The barriers of a race, its endings, and its release, kept as files in one folder.

They are files because the racers are children of one process or workers of pytest-xdist that know nothing of each
other. Each file is written in one step, so a process that dies leaves nothing that a reader could trip over.

Racers in the workers of pytest-xdist begin only after the release, which the process that hands out the tests writes
down. A worker runs what is last in its queue when it is told to shut down, so a racer that is started is no proof that
its race has begun: the run may be ending, with the others gone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pytest_cosmos_venv import real_time

LOOK_AGAIN = 0.002
"""Seconds between two looks of a process that waits for others."""


# pytest gives the class of its own failures no other public name, and types know it under none.
class BarrierNotMet(pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A racer did not come to a barrier. It is never the cause of a failed race, always its consequence.

    :param message: which racer is missing, and why.
    """

    # As pytest has it for its own, whose names it prints before the text in the summary of a run.
    __module__ = "builtins"

    def __init__(self, message: str) -> None:
        super().__init__(message, pytrace=False)

    def __reduce__(self) -> tuple[Callable[[str], BarrierNotMet], tuple[str]]:
        # Under the module name above another process would not find the class.
        return _barrier_not_met, (str(self.msg),)


def _barrier_not_met(message: str) -> BarrierNotMet:
    return BarrierNotMet(message)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of a racer's copy of the test.

    :param outcome: ``passed``, ``failed``, ``skipped``, ``xfailed``, ``exit`` or ``died``.
    :param how: the end of a sentence that begins with the racer: ``was killed by SIGKILL``.
    :param text: the text of the failure, or the reason of a skip.
    :param is_consequence: whether it failed because another racer did.
    """

    outcome: str
    how: str
    text: str = ""
    is_consequence: bool = False


@dataclass(frozen=True, kw_only=True)
class Barriers:
    """One run of one race: its barriers, and how each racer ended.

    :param folder: the folder of this run alone; made when missing.
    :param racers: number of racers that take part.
    """

    folder: Path
    racers: int

    @property
    def shared(self) -> Path:
        """The folder that the racers share for whatever they like."""
        return self.folder / "shared"

    @property
    def events(self) -> Path:
        """The folder in which each racer writes down what it does."""
        return self.folder / "events"

    def introduce(self, index: int, *, worker: str | None) -> None:
        """Write down that this process is that racer.

        :param index: 0 for the first racer.
        :param worker: name of the worker of pytest-xdist that it runs in; None: it runs in none of its own.
        """
        self._publish("who", index, {"pid": os.getpid(), "worker": worker})

    def end(self, index: int, ending: Ending) -> None:
        """Write down how a racer ended. The first word counts: a process that watches says less than the racer itself.

        :param index: the index of the racer, from 0.
        :param ending: how it ended.
        """
        if self.ending(index) is None:
            self._publish("ended", index, asdict(ending))

    def ending(self, index: int) -> Ending | None:
        """The end of a racer; None while it runs or has not begun.

        :param index: the index of the racer, from 0.
        """
        found = self._read("ended", index)
        return None if found is None else Ending(**found)

    def who(self, index: int) -> str:
        """The racer, in words for a sentence: ``racer 1 (gw1, process 4711)``.

        :param index: the index of the racer, from 0.
        """
        found = self._read("who", index)
        if found is None:
            return f"racer {index}"
        worker = f"{found['worker']}, " if found["worker"] else ""
        return f"racer {index} ({worker}process {found['pid']})"

    def wait_at_start(self, index: int, *, timeout: float) -> None:
        """Wait, with fixtures set up, until the fixtures of all racers are.

        :param index: the index of the racer that waits.
        :param timeout: seconds from now.
        :raises BarrierNotMet: as soon as one of the missing has ended, or when the time is over.
        """
        self._wait_for_all("start", index, timeout, what="the start of the race")

    def wait_at_barrier(self, name: str, visit: int, *, index: int, timeout: float) -> None:
        """Come to a barrier and stay until all racers are there.

        :param name: the name of the barrier.
        :param visit: how often this racer has been there before.
        :param index: the index of the racer that waits.
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
            # In this order: a racer that comes and then ends, between two looks, has come.
            ended = {racer: self.ending(racer) for racer in range(self.racers)}
            missing = sorted(set(range(self.racers)) - {int(name) for name in os.listdir(here)})  # noqa: PTH208 - hot
            if not missing:
                return
            gone = {racer: ending for racer in missing if (ending := ended[racer]) is not None}
            if gone:
                said = (f"{self.who(racer)} {ending.how} and did not come to {what}." for racer, ending in gone.items())
                raise BarrierNotMet(" ".join(said))
            if real_time.monotonic() > end:
                raise BarrierNotMet(self._late(missing, what, timeout))
            if os.getppid() != parent:
                raise BarrierNotMet(f"{self.who(index)} waited at {what} when the process that ran the tests died.")
            real_time.sleep(LOOK_AGAIN)

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
    """Write a file so that a reader sees all of it or nothing.

    :param file: a file in a folder that exists.
    :param value: what JSON can hold.
    """
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.rename(file)


@dataclass(frozen=True, kw_only=True)
class Release:
    """Permission to start.

    :param alone: the only racer that shall run, all copies by itself; None: all of them run, each in its worker.
    :param why: the reason why the others cannot take part.
    """

    alone: int | None = None
    why: str = ""


def announce(folder: Path) -> None:
    """Write down that this race will be released, unless the run ends before.

    :param folder: the folder of the race.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "announced").touch()


def is_announced(folder: Path) -> bool:
    """Whether the process that hands out the tests knows of this race.

    :param folder: the folder of the race.
    """
    return (folder / "announced").exists()


def release(folder: Path, word: Release) -> None:
    """Write down the word that racers may begin: all workers that take part are free.

    :param folder: the folder of the race.
    :param word: which racers run.
    """
    publish_json(folder / "release.json", asdict(word))


def read_release(folder: Path) -> Release | None:
    """The word that racers may begin; None when the run ends without it.

    :param folder: the folder of the race.
    """
    with suppress(FileNotFoundError):
        return Release(**json.loads((folder / "release.json").read_bytes()))
    return None
