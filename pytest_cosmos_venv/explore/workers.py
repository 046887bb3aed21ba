"""The processes that run schedules, each with a bench of its own, forked from the test's process."""

from __future__ import annotations

import gc
import os
import signal
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

from pytest_cosmos_venv.explore.schedule import Bench, Choice, ExplorationPlan, ScheduleTrace, Stuck, end_others
from pytest_cosmos_venv.explore.stepping import GivenUp, receive, send
from pytest_cosmos_venv.explore.steps import ExploredStep
from pytest_cosmos_venv.explore.virtual_clock import replace_methods, replaced_clock
from pytest_cosmos_venv.explore.visible_calls import replace_everywhere, replaced_calls
from pytest_cosmos_venv.explore.visible_files import replaced_open
from pytest_cosmos_venv.processes import descendants


class ScheduleNotRun(Exception):
    """A schedule could not be run: the text says why."""


class Worker:
    """A process that runs schedules.

    :param plan: what is explored.
    :param folder: an empty folder for its files.
    """

    def __init__(self, plan: ExplorationPlan, folder: Path) -> None:
        self.channel, theirs = Pipe()
        with warnings.catch_warnings():
            # A fork copies no threads, and the worker needs none of the test's process.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            self.channel.close()
            _work(plan, folder, theirs)
        theirs.close()
        self.job: Any = None
        """The job that the worker runs; None: it runs no job."""

    def start(
        self, job: Any, choices: Sequence[Choice], names: Mapping[int, str] | None = None, *, with_run: bool = False
    ) -> None:
        """Start to run a schedule.

        :param job: the value of ``job`` until the trace is taken.
        :param choices: as for ``Bench.run``.
        :param names: as for ``Bench.run``.
        :param with_run: as for ``Bench.run``.
        """
        self.job = job
        with suppress(GivenUp):  # `trace` tells of it
            send(self.channel, (list(choices), dict(names or {}), with_run))

    def trace(self) -> ScheduleTrace:
        """Return the schedule that was run; wait for it.

        :raises ScheduleNotRun: it could not be run.
        """
        try:
            error, answer = receive(self.channel)
        except GivenUp:
            self.job = None
            raise ScheduleNotRun("The process that runs the schedules has died.") from None
        self.job = None
        if error:
            raise ScheduleNotRun(error)
        steps, standing, failure, divergence, run = answer
        return ScheduleTrace([ExploredStep(*step) for step in steps], standing, failure, divergence, run)

    def close(self) -> None:
        """End it, and all that it has started."""
        if self.job is None:
            with suppress(GivenUp):  # the worker has ended: its error was raised before
                send(self.channel, None)
        else:  # it is in the middle of a schedule: the test was interrupted
            _end_with_all_it_has_started(self._pid)
        os.waitpid(self._pid, 0)
        self.channel.close()


def _end_with_all_it_has_started(pid: int) -> None:
    import psutil

    process = psutil.Process(pid)
    descendants.stop_tree(process)  # so that no descendant starts another process meanwhile
    for each in [*descendants.descendants(pid), process]:
        descendants.send(each, signal.SIGKILL)


def wait_for_workers(workers: Sequence[Worker]) -> list[Worker]:
    """Wait until a worker has run its schedule, and return the workers that have.

    :param workers: the busy workers.
    """
    found = wait([worker.channel for worker in workers])
    return [worker for worker in workers if worker.channel in found]


def _work(plan: ExplorationPlan, folder: Path, channel: Connection) -> NoReturn:
    try:
        descendants.die_with_parent()
        descendants.adopt_orphans()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test, which then ends this process
        bench = Bench(plan, folder, own=channel.fileno())
        replace_methods()
        replace_everywhere({**replaced_calls(), **replaced_open(), **replaced_clock()})
        # Freeze all objects, so that no garbage collection in a contender copies their pages. No gc.collect() before:
        # it copies every page too, which takes most of a second beside Airflow.
        gc.freeze()
        while (order := receive(channel)) is not None:
            send(channel, _answer(bench, *order))
        end_others()
    except BaseException:  # noqa: BLE001 - nothing may get back into the process that was forked
        send(channel, (traceback.format_exc(), None))
    finally:
        os._exit(0)


def _answer(bench: Bench, choices: Sequence[Choice], names: Mapping[int, str], with_run: bool) -> tuple[str, Any]:
    try:
        trace = bench.run(choices, names=names, with_run=with_run)
    except Stuck as error:
        return str(error), None
    return "", ([tuple(step) for step in trace.steps], trace.standing, trace.failure, trace.divergence, trace.run)
