"""Tasks that run, each in a process of its own, and how long they may take on this machine.

The smoke check's own task tells how fast the machine is; from it come the timeouts of all others and the forecast of
the run's length. Its seconds lie in a file that all workers of a run share.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as with_changes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_cosmos_venv import Timeline
from pytest_cosmos_venv.processes.mounts import MountError
from pytest_cosmos_venv.races.points import Point, Sighting

from ..options import asked_timeout
from ..tasks import Outcome
from .mounts import why_not_mounted
from .processes import comes_true

if TYPE_CHECKING:
    from pytest_cosmos_venv.races.running import RunningRace


TIMEOUT = 60.0
"""Seconds that one task may take at the least; a sound one takes two on a slow machine."""
SMOKE_TIMEOUT = 180.0
"""Seconds that the smoke check's own task may take: nothing tells yet how fast this machine is."""
SLACK = 2.0
"""Seconds that a process may need at the least, beyond what is required, to end and to be seen at it."""
_TIMES = 40
"""Any other task may take so many times what the smoke check took."""
_SHARE = 0.4
"""An average check takes 0.4 of the smoke task's time, as many reuse a running process."""
TASK_SECONDS = "cosmos_task_seconds"
"""Name of the property under which the smoke check says what its task has taken."""
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
    """The file with the seconds of the smoke check's task: all workers of a run have its temporary directory."""
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
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._checks = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the checks, in one process.

        :param session: the session, with all that was collected.
        """
        self._checks = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:  # noqa: ARG002 - xdist's
        """Count the checks, under pytest-xdist.

        :param node: the worker that has collected.
        :param ids: the ids of what it has collected.
        """
        self._checks = len(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what the smoke check's task has taken.

        :param report: the report of any test.
        """
        took = dict(report.user_properties).get(TASK_SECONDS)
        if report.when == "call" and isinstance(took, float):
            # In one piece: a worker may look at any moment.
            file = _kept()
            beside = file.with_name(f"{file.name}.{os.getpid()}")
            beside.write_text(str(took), encoding="ascii")
            beside.replace(file)
            self._tell(took)

    def _tell(self, seconds: float) -> None:
        terminal: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        # The share is that of a whole run: some requirements take many times as long as others.
        if terminal is not None and not self._config.getoption("cosmos_requirement", None):
            workers = self._config.getoption("numprocesses", None) or 1
            minutes = self._checks * seconds * _SHARE / workers / 60
            about = f"{minutes:.0f} minutes" if minutes >= 1.5 else "a minute" if minutes > 0.5 else "half a minute"
            terminal.ensure_newline()
            if terminal.currentfspath is None:  # dots of workers belong to no file, and it sees no line begun
                terminal.write("\n")
            terminal.write_line(f"One task took {seconds:.1f} s: {self._checks} checks will take about {about}.")


class HarnessError(Exception):
    """The suite itself has failed: nothing is said about the implementation."""


@dataclass(frozen=True, kw_only=True)
class FinishedTasks:
    """Tasks that have ended, each in a process of its own.

    :param outcomes: the outcomes, in the order of the contenders; of one that was killed the state is ``failed``.
    :param timeline: what each contender did, and when.
    :param left_behind: processes that were there seconds after the last task had ended, in words.
    :param services: the processes that the adapter declares to stay, in words; they are none of ``left_behind``.
    """

    outcomes: tuple[Outcome, ...]
    timeline: Timeline
    left_behind: tuple[str, ...]
    services: tuple[str, ...]


class RunningTasks:
    """Tasks that run, each in a process of its own.

    :param race: whose contenders they are.
    :param places: what they find at paths: see ``mounts.make_places``.
    """

    def __init__(self, race: RunningRace, places: Mapping[str, str]) -> None:
        self._race = race
        self._places = places

    @property
    def pids(self) -> tuple[int, ...]:
        """PIDs of the tasks' processes, in the order of the contenders."""
        return self._race.pids

    @property
    def running(self) -> tuple[int, ...]:
        """Indexes of those that have not ended."""
        return self._race.running

    def wait_for(self, point: str | Point, *, timeout: float | None = None) -> Sighting:
        """Wait until one of them has reached a point.

        ``waiting`` is not among the points, since it is known by words of Cosmos's log: ``watch_until_rest`` sees tasks
        that wait in silence.

        :param point: ``creating``, ``locked``, ``installing``, ``running``, or a Point.
        :param timeout: seconds; None: those that the race has left.
        :raises RaceFailure: none of them comes there in time.
        """
        __tracebackhide__ = True
        return self._race.wait_for(point, timeout=timeout)

    def stop(self, index: int = 0) -> None:
        """Let one stand still, with all that it started, until ``resume``.

        :param index: the index of the contender, from 0.
        """
        self._race.stop(index)

    def resume(self, index: int = 0) -> None:
        """Let one that stands still go on.

        :param index: the index of the contender, from 0.
        """
        self._race.resume(index)

    def terminate(self, index: int = 0, *, slack: float = 0.0) -> bool:
        """End one as Airflow does: SIGTERM, and SIGKILL for the task's process where it has not ended 5 s later.

        :param index: the index of the contender, from 0.
        :param slack: seconds beyond those, where SIGTERM has to be enough and the machine may be busy.
        :returns: whether SIGKILL was not needed.
        """
        # One that has ended gets no signal: its number may be another's by now.
        if index in self._race.running:
            with suppress(ProcessLookupError):
                os.kill(self._race.pids[index], signal.SIGTERM)
        if comes_true(lambda: index not in self._race.running, timeout=GRACE + slack):
            return True
        self._race.kill(index)
        return False

    def kill(self, index: int = 0, *, tree: bool = False) -> None:
        """End one's process alone by SIGKILL, as the kernel does it that is short of memory.

        :param index: the index of the contender, from 0.
        :param tree: whether all that it started is killed too, as when its container is taken away.
        """
        self._race.kill(index, tree=tree)

    def end(self) -> FinishedTasks:
        """End all that run by SIGKILL, and wait for what they have left."""
        __tracebackhide__ = True
        for index in self.running:
            self.kill(index)
        return self.finish()

    def finish(self) -> FinishedTasks:
        """Wait until all have ended, and for what they have left."""
        __tracebackhide__ = True
        race = self._race.finish(check=False)
        return FinishedTasks(
            outcomes=tuple(self._outcome(each) for each in race.outcomes),
            timeline=race.timeline,
            left_behind=race.left_behind,
            services=race.services,
        )

    def _outcome(self, contender: Any) -> Outcome:
        if contender.value is not None:
            told = Outcome.from_plain(contender.value)
            return with_changes(told, log=max(told.log, contender.output, key=len))
        if contender.exception is not None:
            # A task may raise what it likes under this name: what its process says is believed of a machine alone on
            # which the judge may not mount either.
            if contender.exception.startswith(MountError.__name__) and why_not_mounted(self._places):
                pytest.skip(contender.exception.removeprefix(f"{MountError.__name__}: "))
            raise HarnessError(f"{contender.in_words}\n{contender.traceback}")
        return Outcome(state="failed", exception=contender.in_words, log=contender.output)
