"""How long may a task take on this machine, and how long will the run take? The smoke check's own task tells."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .asked import asked_deadline

DEADLINE = 60.0
"""Seconds that one task may take at the least; a sound one takes two on a slow machine."""
SMOKE_DEADLINE = 180.0
"""Seconds that the smoke check's own task may take: nothing tells yet how fast this machine is."""
SLACK = 2.0
"""Seconds that a process may need at the least, beyond what is required, to end and to be seen at it."""
_TIMES = 40
"""So many times what the smoke check took may any other task take."""
_SHARE = 0.4
"""Of the smoke check, by a check on average: many ask a process that is there already."""
_KEPT = pytest.StashKey[Path]()
"""A file that all workers of a run share, and no two runs: not pytest's cache, which may be turned off."""
_TOLD = "cosmos_pace"
"""Under which workers are told of it."""
TASK_SECONDS = "cosmos_task_seconds"
"""Name of the property under which the smoke check says what its task has taken."""


def keep_pace(config: pytest.Config) -> None:
    """Know where it is kept: where a worker is told, else in a folder of this run's temporary directory."""
    told: dict[str, Any] = getattr(config, "workerinput", {})
    file = told.get(_TOLD) or Path(tempfile.mkdtemp(prefix="cosmos-pace-"), "seconds")
    config.stash[_KEPT] = Path(file)


def tell_worker(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """Tell a worker of pytest-xdist where it is kept."""
    workerinput[_TOLD] = str(config.stash[_KEPT])


def deadline(config: pytest.Config) -> float:
    """Seconds that one task may take."""
    return asked_deadline(config) or max(DEADLINE, _TIMES * _measured(config))


def deadline_of_smoke(config: pytest.Config) -> float:
    """Seconds that the smoke check's task may take."""
    return asked_deadline(config) or SMOKE_DEADLINE


def slack(config: pytest.Config) -> float:
    """Seconds that are added to a time which a requirement names: half of what the smoke check's task has taken."""
    return max(SLACK, _measured(config) / 2)


def _measured(config: pytest.Config) -> float:
    """Seconds of the smoke check's task; 0 before it has ended."""
    try:
        return float(config.stash[_KEPT].read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0.0


def _keep(config: pytest.Config, seconds: float) -> None:
    """In one piece: a worker may look at any moment."""
    file = config.stash[_KEPT]
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    beside.write_text(str(seconds), encoding="ascii")
    beside.replace(file)


class Pace:
    """Listens for the smoke check, and says how long the run will take."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._checks = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count, in one process."""
        self._checks = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:  # noqa: ARG002 - xdist's
        """Count, under pytest-xdist."""
        self._checks = len(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what the smoke check's task has taken."""
        took = dict(report.user_properties).get(TASK_SECONDS)
        if report.when == "call" and isinstance(took, float):
            _keep(self._config, took)
            self._tell(took)

    def _tell(self, seconds: float) -> None:
        terminal: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            workers = self._config.getoption("numprocesses", None) or 1
            minutes = self._checks * seconds * _SHARE / workers / 60
            about = f"{minutes:.0f} minutes" if minutes >= 1.5 else "a minute" if minutes > 0.5 else "half a minute"
            terminal.ensure_newline()
            if terminal.currentfspath is None:  # dots of workers belong to no file, and it sees no line begun
                terminal.write("\n")
            terminal.write_line(f"One task took {seconds:.1f} s: {self._checks} checks will take about {about}.")
