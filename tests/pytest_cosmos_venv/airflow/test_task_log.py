"""What a task prints is taken, and whoever keeps the output of a task may drop it when the test has ended."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from pytest_cosmos_venv.airflow.task_log import TaskLog, collecting


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_is_kept_of_the_output_closes_after_the_real_one(name: str) -> None:
    log, below = TaskLog(), io.BytesIO()
    real = io.TextIOWrapper(below, encoding="utf-8", write_through=True)
    with redirect_stdout(real), redirect_stderr(real), collecting(log):
        kept = getattr(sys, name)
        kept.write("low tide")
    printed = below.getvalue()
    real.close()  # as pytest's, at the end of its capturing

    kept.close()  # as Python does it with what a thread or a log handler has kept until the end

    assert (printed, log.text) == (b"low tide", "low tide")


def test_an_output_that_is_open_is_flushed() -> None:
    below = io.BytesIO()
    real = io.TextIOWrapper(below, encoding="utf-8")
    with redirect_stdout(real), collecting(TaskLog()):
        sys.stdout.write("low tide")
        sys.stdout.flush()

    assert below.getvalue() == b"low tide"
