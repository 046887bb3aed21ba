"""Servers of an Airflow on SQLite, for pages. Tests of runs: ``tests/stacks``."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_cosmos_venv.airflow_servers import accepts, running_server
from tests import waiting
from tests.operators.whole_airflow import WholeAirflow


@contextmanager
def api_server(airflow: WholeAirflow) -> Iterator[None]:
    """Through which the tasks of Airflow 3 speak to the database. A task that cannot reach it when it begins has lost
    one of its tries: it answers before the block begins."""
    with running(airflow, "api-server"):
        port = int(airflow.variables["AIRFLOW__API__PORT"])
        wait_until(lambda: accepts(port), "the API server answers", airflow)
        yield


def logs(airflow: WholeAirflow) -> str:
    """The logs of the servers and the tasks, for an assertion that fails."""
    files = sorted((airflow.folder / "airflow").rglob("*.log"))
    return "\n".join(f"--- {file}\n{file.read_text(errors='replace')[-6000:]}" for file in files)


@contextmanager
def running(airflow: WholeAirflow, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of Airflow's processes, until the block ends."""
    command: list[str | Path] = [airflow.python, "-m", "airflow", *words]
    log = airflow.folder / "airflow" / f"{words[0]}.log"
    with running_server(command, environment=airflow.environment, log=log) as process:
        yield process


def wait_until(has_happened: Callable[[], bool], what: str, airflow: WholeAirflow) -> None:
    waiting.wait_until(has_happened, lambda: f"{what}\n{logs(airflow)}")
