"""Servers of an Airflow on SQLite, for benchmarks and for pages. Tests of runs: ``tests/stacks``."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pytest_cosmos_venv.airflow_servers import accepts, free_port, running_server, server_variables
from tests import waiting
from tests.operators.whole_airflow import WholeAirflow

Airflow = TypeVar("Airflow", bound=WholeAirflow)

DEADLINE = 240.0
POLL = 0.25


def prepared(airflow: Airflow, dag_file: str, *, executor: str) -> Airflow:
    """The same with a database that knows the DAGs of the file, for up to two tasks at a time."""
    port = free_port()
    airflow = replace(
        airflow,
        variables={
            **server_variables(port, executor=executor),
            **airflow.variables,
        },
    )
    airflow.dag_file.parent.mkdir(parents=True)
    airflow.dag_file.write_text(dag_file)
    airflow.make_database()
    told = airflow.airflow("dags", "reserialize")
    assert airflow.ask("select dag_id from dag"), told
    return airflow


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
