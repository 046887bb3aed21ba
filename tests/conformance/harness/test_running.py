"""Tests of signals to tasks that have ended meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from conformance.harness.running import RunningTasks


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


def test_a_task_that_runs_is_told_to_end() -> None:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as runs:
        race: Any = RaceOfOneThatHasEnded(runs.pid, known_after=1)

        assert RunningTasks(race, {}).terminate()

        assert runs.wait() == -signal.SIGTERM
