"""What a child process hands back: a value, an error, or the reason why there is none."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv.airflow.task_log import TaskLog
from pytest_cosmos_venv.faults.lost_worker import WorkerFailed, run_in_child


def run(work: Any, folder: Path) -> Any:
    return run_in_child(work, folder=folder, log=TaskLog(), surroundings=nullcontext())


def test_a_value_that_cannot_be_read_again_is_an_error_with_its_reason(tmp_path: Path) -> None:
    class Stranded(Exception):
        def __init__(self, ship: str, pier: int) -> None:
            super().__init__(f"{ship} at pier {pier}")

    globals()["Stranded"] = Stranded
    Stranded.__qualname__ = "Stranded"

    with pytest.raises(WorkerFailed, match=r"what the task returned cannot be pickled: .*pier"):
        run(lambda: Stranded("Anna", 3), tmp_path)
