"""What the contenders of a race share: barriers, values that are made once, and the end of each contender.

All of this is kept in files of one folder, because contenders may be children of one process or separate workers of
pytest-xdist. Each file is written atomically, so a killed process leaves no partial file.
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
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.whole_writes import write_whole
from pytest_cosmos_venv.shared_folders import SharedFolders

LOOK_AGAIN = 0.002
"""Seconds between two looks of a process that waits for others."""


def contender_name(index: int) -> str:
    """Return the name of a contender in timelines and messages.

    :param index: 0 for the first.
    """
    return f"contender-{index}"


# pytest.fail.Exception is the only public name of pytest's failures, and the type checker does not know it.
class BarrierNotMet(pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A contender did not come to a barrier. It is never the cause of a failed race, always its consequence.

    :param message: which contender is missing, and why.
    """

    # Like pytest's own Failed: otherwise the summary of a run prints the module of this class before the text.
    __module__ = "builtins"

    def __init__(self, message: str) -> None:
        super().__init__(message, pytrace=False)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of a contender.

    :param outcome: ``passed``, ``failed``, ``skipped``, ``xfailed``, ``exit`` or ``died``.
    :param how: the end of a sentence that begins with the contender: ``was killed by SIGKILL``.
    :param text: the text of the failure, or the reason of a skip.
    :param is_consequence: whether it failed because another contender did.
    """

    outcome: str
    how: str
    text: str = ""
    is_consequence: bool = False


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """One run of one race.

    :param folder: the folder of this run alone; made when missing.
    :param count: number of contenders.
    """

    folder: Path
    count: int

    @property
    def shared(self) -> Path:
        """The folder that the contenders share for whatever they like."""
        shared = self.folder / "shared"
        shared.mkdir(parents=True, exist_ok=True)
        return shared

    @property
    def events(self) -> Path:
        """The folder in which each contender writes down what it does."""
        return self.folder / "events"

    def introduce(self, index: int, *, worker: str | None = None) -> None:
        """Write down that this process is that contender.

        :param index: 0 for the first contender.
        :param worker: name of the worker of pytest-xdist that runs the contender; None: it is a forked process.
        """
        self._publish("who", index, {"pid": os.getpid(), "worker": worker})

    def end(self, index: int, ending: Ending) -> None:
        """Record how a contender ended. Only the first call counts: the contender knows more than its supervisor.

        :param index: the index of the contender, from 0.
        :param ending: how it ended.
        """
        if self.ending(index) is None:
            self._publish("ended", index, asdict(ending))

    def ending(self, index: int) -> Ending | None:
        """Return the end of a contender; None while it runs or has not begun.

        :param index: the index of the contender, from 0.
        """
        found = self._read("ended", index)
        return None if found is None else Ending(**found)

    def who(self, index: int) -> str:
        """Return the contender in words for a sentence: ``contender-1 (gw1, process 4711)``.

        :param index: the index of the contender, from 0.
        """
        found = self._read("who", index)
        if found is None:
            return contender_name(index)
        worker = f"{found['worker']}, " if found["worker"] else ""
        return f"{contender_name(index)} ({worker}process {found['pid']})"

    def wait_for_all(self, place: str, index: int, *, what: str, timeout: float) -> None:
        """Come to a place and stay until all contenders are there.

        :param place: the unique name of the place.
        :param index: the index of the contender that waits.
        :param what: the place in words, for messages.
        :param timeout: seconds from now.
        :raises BarrierNotMet: as soon as a missing contender has ended, or when the time is over.
        """
        here = self.folder / "places" / quote(place, safe="")
        here.mkdir(parents=True, exist_ok=True)
        (here / str(index)).touch()
        parent, end = os.getppid(), real_time.monotonic() + timeout
        while True:
            # The ends are read first: a contender that ends between the two reads came to the place before.
            ended = {other: self.ending(other) for other in range(self.count)}
            missing = sorted(set(range(self.count)) - {int(name) for name in os.listdir(here)})  # noqa: PTH208 - hot
            if not missing:
                return
            gone = {other: ending for other in missing if (ending := ended[other]) is not None}
            if gone:
                said = (f"{self.who(other)} {ending.how} and did not come to {what}." for other, ending in gone.items())
                raise BarrierNotMet(" ".join(said))
            if real_time.monotonic() > end:
                raise BarrierNotMet(
                    f"Not at {what} within {timeout:g} s: {', '.join(map(self.who, missing))}. "
                    f"{self.count - len(missing)} of {self.count} contenders were there."
                )
            if os.getppid() != parent:
                raise BarrierNotMet(f"{self.who(index)} waited at {what} when the process that ran the tests died.")
            real_time.sleep(LOOK_AGAIN)

    def once(self, name: str, factory: Callable[[], Any], *, timeout: float) -> Any:
        """Return the value that ``factory`` returned in the one process that called it to the end.

        :param name: the unique name of the value.
        :param factory: returns a path or a value that JSON can hold.
        :param timeout: seconds to wait while another contender makes the value.
        :raises ToolkitMisuse: the value cannot be passed to another process, or is not made in time.
        """

        def make(folder: Path) -> None:
            write_whole(folder / "value.json", json.dumps(_packed(name, factory())))

        made = SharedFolders(root=self.folder / "once").get("once", quote(name, safe=""), make, timeout=timeout)
        kind, value = json.loads((made / "value.json").read_bytes())
        return Path(value) if kind == "path" else value

    def _publish(self, kind: str, index: int, value: object) -> None:
        folder = self.folder / kind
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{index}.json", json.dumps(value))

    def _read(self, kind: str, index: int) -> dict[str, Any] | None:
        with suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.folder / kind / f"{index}.json").read_bytes())
            return found
        return None


def _packed(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, Path):
        return "path", str(value)
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        raise ToolkitMisuse(
            f"once({name!r}): the factory returned {type(value).__name__}, which cannot be passed to the processes of "
            "the other contenders. Return a path, or a value that JSON can hold."
        ) from None
    return "value", value
