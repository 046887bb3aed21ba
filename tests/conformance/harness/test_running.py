"""Tests of signals to tasks that have ended meanwhile, and of what a task says of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.harness.running import HarnessError, RunningTasks


class RaceOfOneThatHasEnded:
    """Its contender is gone, which it comes to know when it was asked so many times."""

    def __init__(self, pid: int, *, known_after: int) -> None:
        self.pids = (pid,)
        self._until_known = known_after

    @property
    def running(self) -> tuple[int, ...]:
        self._until_known -= 1
        return (0,) if self._until_known >= 0 else ()


@pytest.mark.parametrize("known_after", [0, 1])
def test_a_task_that_has_ended_is_told_nothing(monkeypatch: pytest.MonkeyPatch, known_after: int) -> None:
    told: list[int] = []
    sound = os.kill

    def kill(pid: int, number: int) -> None:
        told.append(pid)
        sound(pid, number)

    monkeypatch.setattr(os, "kill", kill)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    race: Any = RaceOfOneThatHasEnded(ended.pid, known_after=known_after)

    assert RunningTasks(race, {}).terminate()

    assert told == [ended.pid] * known_after


@pytest.mark.parametrize(
    ("places", "ending"),
    [
        pytest.param({"full": "nowhere"}, pytest.skip.Exception, id="of-a-task-that-needs-what-cannot-be-had"),
        pytest.param({}, HarnessError, id="of-a-task-that-needs-no-mount"),
    ],
)
def test_a_refused_mount_is_believed_where_the_judge_may_not_mount_either(
    tmp_path: Path, places: Mapping[str, str], ending: type[BaseException]
) -> None:
    told = SimpleNamespace(value=None, exception="MountError: it cannot be had here", in_words="it", traceback="")
    ended = SimpleNamespace(outcomes=[told], timeline=None, left_behind=())
    race: Any = SimpleNamespace(finish=lambda check: None if check else ended)

    # Of any kind: a skip where none is due would pass for a skipped test.
    with pytest.raises(BaseException, match="it") as raised:
        RunningTasks(race, {kind: str(tmp_path / name) for kind, name in places.items()}).finish()

    assert raised.type is ending
