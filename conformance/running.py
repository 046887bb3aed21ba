"""What can be done with tasks that run, each in a process of its own, and what is known when all have ended?"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as with_changes
from typing import TYPE_CHECKING, Any

import pytest

from pytest_cosmos_venv import Point, Sighting, Timeline

from .places import PlaceError
from .processes import comes_true
from .tasks import Outcome

if TYPE_CHECKING:
    from pytest_cosmos_venv import RunningRace

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL, as Airflow 3 has them."""


class HarnessError(Exception):
    """The suite itself has failed: nothing is said about the implementation."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Tasks that have ended, each in a process of its own.

    :param outcomes: in the order of the contenders; of one that was killed the state is ``failed``.
    :param timeline: who did what when.
    :param left_behind: processes that were there seconds after the last task had ended, in words.
    :param services: those that the adapter declares to stay, in words; they are none of ``left_behind``.
    """

    outcomes: tuple[Outcome, ...]
    timeline: Timeline
    left_behind: tuple[str, ...]
    services: tuple[str, ...]


class RunningTasks:
    """Tasks that run, each in a process of its own."""

    def __init__(self, race: RunningRace) -> None:
        self._race = race

    @property
    def pids(self) -> tuple[int, ...]:
        return self._race.pids

    @property
    def running(self) -> tuple[int, ...]:
        """Indexes of those that have not ended."""
        return self._race.running

    def wait_for(self, point: str | Point, *, deadline: float | None = None) -> Sighting:
        """Wait until one of them is there: ``creating``, ``locked``, ``installing``, ``running``, a Point.

        Not ``waiting``, which is known by words of Cosmos's log: ``watch_until_rest`` sees who waits in silence.

        :raises RaceFailure: nobody comes there in time.
        """
        __tracebackhide__ = True
        return self._race.wait_for(point, timeout=deadline)

    def stop(self, index: int = 0) -> None:
        """Let it stand still, with all that it started, until ``resume``."""
        self._race.stop(index)

    def resume(self, index: int = 0) -> None:
        self._race.resume(index)

    def terminate(self, index: int = 0, *, slack: float = 0.0) -> bool:
        """End it as Airflow does: SIGTERM, and SIGKILL for the task's process where it has not ended 5 s later.

        One that has ended is told nothing: its number may be another's by now.

        :param slack: seconds beyond those, where SIGTERM has to be enough and the machine may be busy.
        :return: whether SIGKILL was not needed.
        """
        if index in self._race.running:
            with suppress(ProcessLookupError):
                os.kill(self._race.pids[index], signal.SIGTERM)
        if comes_true(lambda: index not in self._race.running, deadline=GRACE + slack):
            return True
        self._race.kill(index)
        return False

    def kill(self, index: int = 0, *, tree: bool = False) -> None:
        """End its process alone by SIGKILL, as the kernel does it that is short of memory.

        :param tree: with all that it started, as when its container is taken away.
        """
        self._race.kill(index, tree=tree)

    def end(self) -> Finished:
        """End all that run by SIGKILL."""
        __tracebackhide__ = True
        for index in self.running:
            self.kill(index)
        return self.finish()

    def finish(self) -> Finished:
        """Wait until all have ended, and for what they have left."""
        __tracebackhide__ = True
        race = self._race.finish(check=False)
        return Finished(
            outcomes=tuple(_outcome(each) for each in race.outcomes),
            timeline=race.timeline,
            left_behind=race.left_behind,
            services=race.services,
        )


def _outcome(contender: Any) -> Outcome:
    if isinstance(contender.value, Outcome):
        log = contender.output if len(contender.output) > len(contender.value.log) else contender.value.log
        return with_changes(contender.value, log=log)
    if contender.exception is not None:
        if contender.exception.startswith(PlaceError.__name__):
            pytest.skip(contender.exception.removeprefix(f"{PlaceError.__name__}: "))
        raise HarnessError(f"{contender.in_words}\n{contender.traceback}")
    return Outcome(state="failed", exception=contender.in_words, log=contender.output)
