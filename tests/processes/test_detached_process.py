"""A detached process that dies: the caller reads the last lines of its log."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.detached_process import DetachedFailure, DetachedWork

HERE = "tests.processes.test_detached_process"


def fails_to_import(request: bytes, cancellation: Cancellation) -> str:
    raise ImportError("Could not parse SQLAlchemy URL from postgresql://airflow:hunter2@db/airflow")


def says_nothing_and_dies(request: bytes, cancellation: Cancellation) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def ended(folder: Path, work: str) -> str:
    with pytest.raises(DetachedFailure) as told:
        DetachedWork(folder=folder, key="d" * 64).ensure_done(
            f"{HERE}:{work}", b"request", is_done=lambda: False, wait=None, on_start=lambda: None
        )
    return str(told.value)


def test_a_process_that_dies_of_an_exception_shows_the_last_lines_of_its_log(tmp_path: Path) -> None:
    told = ended(tmp_path, fails_to_import.__name__)

    assert told.startswith(f"The process ended before its work was done. The last lines of its log {tmp_path}/dddd")
    assert "Traceback (most recent call last):" in told
    assert told.endswith("ImportError: Could not parse SQLAlchemy URL from postgresql://****@db/airflow")


def test_a_process_that_is_killed_before_it_has_said_anything_is_told_as_killed(tmp_path: Path) -> None:
    told = ended(tmp_path, says_nothing_and_dies.__name__)

    assert told == (
        "The process was killed or could not start: it left no message, and its log "
        f"{tmp_path}/{'d' * 64}.log is empty."
    )
