"""Airflow in a process that was forked from one in which it had been at work.

Its connections and the threads that answer its tasks are those of the other process: a run would wait for ever.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.airflow import database
from pytest_cosmos_venv.airflow.versions import this_airflow


@dataclass
class _Worker:
    """The process in which Airflow was at work last; None before that."""

    pid: int | None = None


_LAST = _Worker()


def at_work_here() -> None:
    """Airflow is about to work in this process: after a fork it gets what the process before it has kept."""
    if _LAST.pid not in {None, os.getpid()}:
        database.connect_anew()
        this_airflow().renew_after_fork()
    _LAST.pid = os.getpid()


def move_to(home: Path) -> None:
    """Have Airflow live in another home from now on, in this forked process: its variables lead there by now."""
    from airflow import configuration, settings

    for module in (configuration, settings):
        vars(module)["AIRFLOW_HOME"] = str(home)
    settling: Any = settings
    settling.configure_vars()
    at_work_here()
