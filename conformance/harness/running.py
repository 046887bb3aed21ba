"""Tasks that run, each in a process of its own, and how long they may take on this machine.

The smoke check's own task tells how fast the machine is. Its seconds give the timeouts of all other tasks and the
forecast of the run's length. They lie in a file that all workers of a run share.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as with_changes
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import Timeline
from pytest_cosmos_venv.processes.mounts import MountError
from pytest_cosmos_venv.races.running import RunningRace
from pytest_cosmos_venv.real_time import wait_until

from ..adapter import Outcome
from ..options import asked_timeout
from .mounts import why_not_mounted

TIMEOUT = 60.0
"""Seconds that one task may take at the least; a sound task takes two on a slow machine."""
SMOKE_TIMEOUT = 180.0
"""Seconds that the smoke check's own task may take: nothing tells yet how fast this machine is."""
SLACK = 2.0
"""Seconds, at the least, that a process may take beyond a required limit until its end is seen."""
_TIMES = 40
"""Any other task may take so many times as long as the smoke check's task."""
_SHARE = 0.8
"""An average requirement takes 0.8 of the smoke task's time: it has two checks, and many reuse a running process."""
TASK_SECONDS = "cosmos_task_seconds"
"""Name of the property under which the smoke check reports the seconds of its task."""
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL, as Airflow 3 has them."""


def task_timeout(config: pytest.Config) -> float:
    """Seconds that one task may take.

    :param config: the configuration of the run.
    """
    return asked_timeout(config) or max(TIMEOUT, _TIMES * _measured())


def smoke_timeout(config: pytest.Config) -> float:
    """Seconds that the smoke check's task may take.

    :param config: the configuration of the run.
    """
    return asked_timeout(config) or SMOKE_TIMEOUT


def slack() -> float:
    """Seconds that are added to a time which a requirement names: half of what the smoke check's task has taken."""
    return max(SLACK, _measured() / 2)


def _kept() -> Path:
    """The file with the seconds of the smoke check's task, in the temporary directory of all workers of a run."""
    return Path(tempfile.gettempdir(), "cosmos-task-seconds")


def _measured() -> float:
    """Seconds of the smoke check's task; 0 before it has ended."""
    try:
        return float(_kept().read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0.0


class TaskTimer:
    """Plugin that keeps how long the smoke check's task has taken, and says how long a whole run will take.

    :param config: the configuration of the run.
    :param requirements: number of requirements of the run.
    """

    def __init__(self, config: pytest.Config, requirements: int) -> None:
        self._config = config
        self._requirements = requirements

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the time of the smoke check's task.

        :param report: the report of any test.
        """
        took = dict(report.user_properties).get(TASK_SECONDS)
        if report.when == "call" and isinstance(took, float):
            # Atomic: a worker may read the file at any moment.
            file = _kept()
            beside = file.with_name(f"{file.name}.{os.getpid()}")
            beside.write_text(str(took), encoding="ascii")
            beside.replace(file)
            self._tell(took)

    def _tell(self, seconds: float) -> None:
        terminal: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        # The share holds for a whole run only: some requirements take many times as long as others.
        if terminal is not None and not self._config.getoption("cosmos_requirement", None):
            workers = self._config.getoption("numprocesses", None) or 1
            minutes = self._requirements * seconds * _SHARE / workers / 60
            about = f"{minutes:.0f} minutes" if minutes >= 1.5 else "a minute" if minutes > 0.5 else "half a minute"
            terminal.ensure_newline()
            if terminal.currentfspath is None:  # under pytest-xdist the reporter does not know that dots begin a line
                terminal.write("\n")
            terminal.write_line(
                f"One task took {seconds:.1f} s: {self._requirements} requirements will take about {about}."
            )


class HarnessError(Exception):
    """The suite itself has failed: nothing is said about the implementation."""


@dataclass(frozen=True, kw_only=True)
class FinishedTasks:
    """Tasks that have ended, each in a process of its own.

    :param outcomes: the outcomes, in the order of the contenders; a killed task has the state ``failed``.
    :param timeline: what each contender did, and when.
    :param left_behind: processes that were there seconds after the last task had ended, in words.
    """

    outcomes: tuple[Outcome, ...]
    timeline: Timeline
    left_behind: tuple[str, ...]


class RunningTasks:
    """Tasks that run, each in a process of its own.

    A race knows the point ``waiting`` by words of Cosmos's log. Tasks that wait in silence are seen by
    ``watch_until_rest``.

    :param race: the race with the tasks as contenders: it stops them, lets them go on, and waits for their points.
    :param places: what the tasks find at paths: see ``mounts.make_places``.
    """

    def __init__(self, race: RunningRace, places: Mapping[str, str]) -> None:
        self.race = race
        self._places = places

    @property
    def pids(self) -> tuple[int, ...]:
        """PIDs of the tasks' processes, in the order of the contenders."""
        return self.race.pids

    @property
    def running(self) -> tuple[int, ...]:
        """Indexes of the tasks that have not ended."""
        return self.race.running

    def terminate(self, index: int = 0, *, slack: float = 0.0) -> bool:
        """End a task as Airflow does: SIGTERM, and 5 s later SIGKILL for the task's process if it has not ended.

        :param index: the index of the contender, from 0.
        :param slack: seconds beyond these 5 s, where SIGTERM has to be enough and the machine may be busy.
        :returns: whether SIGKILL was not needed.
        """
        # A task that has ended gets no signal: its PID may belong to another process by now.
        if index in self.race.running:
            with suppress(ProcessLookupError):
                os.kill(self.race.pids[index], signal.SIGTERM)
        if wait_until(lambda: index not in self.race.running, timeout=GRACE + slack):
            return True
        self.race.kill(index)
        return False

    def kill(self) -> None:
        """End the first task's process alone by SIGKILL, as a kernel that is short of memory does."""
        self.race.kill(0)

    def end(self) -> FinishedTasks:
        """End all running tasks by SIGKILL, and wait for the processes that they have left."""
        __tracebackhide__ = True
        for index in self.running:
            self.race.kill(index)
        return self.finish()

    def finish(self) -> FinishedTasks:
        """Wait until all tasks have ended, and for the processes that they have left."""
        __tracebackhide__ = True
        race = self.race.finish(check=False)
        return FinishedTasks(
            outcomes=tuple(self._outcome(each) for each in race.outcomes),
            timeline=race.timeline,
            left_behind=race.left_behind,
        )

    def _outcome(self, contender: Any) -> Outcome:
        if contender.value is not None:
            told = Outcome.from_plain(contender.value)
            return with_changes(told, log=max(told.log, contender.output, key=len))
        if contender.exception is not None:
            # A task may raise an exception of this name itself. So the check is skipped only where this process may not
            # mount either.
            if contender.exception.startswith(MountError.__name__) and why_not_mounted(self._places):
                pytest.skip(contender.exception.removeprefix(f"{MountError.__name__}: "))
            raise HarnessError(f"{contender.in_words}\n{contender.traceback}")
        return Outcome(state="failed", exception=contender.in_words, log=contender.output)
