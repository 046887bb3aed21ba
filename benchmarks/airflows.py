"""Whole Airflows for benchmarks: API server, scheduler and a LocalExecutor of two slots, which run whole DAGs.

Each stands in an environment of its own, on loopback and SQLite, and reads the DAG files of its own folder once.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.harness import ROOT
from pytest_cosmos_venv.airflow_servers import (
    accepts,
    call_api,
    free_port,
    running_server,
    server_variables,
    terminating_scheduler,
)

LONGEST_RUN = 1_800.0
LONGEST_START = 240.0
LOOK_AGAIN = 0.5
LONGEST_END = 20.0
_SHOWN = 6_000  # characters of a log


class RunFailed(Exception):
    """A DAG run did not succeed, so that there is nothing to measure; with what Airflow has logged."""


@dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """One task of a run, as Airflow's database has it; times are None where it did not begin or end."""

    task_id: str
    state: str | None
    began: datetime | None
    ended: datetime | None

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> TaskInstance:
        """:param row: task id, state, and both times as SQLite's texts."""
        began, ended = (None if text is None else datetime.fromisoformat(text) for text in row[2:4])
        return cls(task_id=row[0], state=row[1], began=began, ended=ended)


def makespan(instances: Sequence[TaskInstance]) -> float:
    """Seconds from the first task's begin to the last one's end.

    :raises RunFailed: unless there are tasks and all of them succeeded.
    """
    unsuccessful = {each.task_id: each.state for each in instances if each.state != "success"}
    if unsuccessful or not instances:
        raise RunFailed(f"not all tasks succeeded: {unsuccessful or 'there are none'}")
    began = [each.began for each in instances if each.began is not None]
    ended = [each.ended for each in instances if each.ended is not None]
    return (max(ended) - min(began)).total_seconds()


class ControlGroup:
    """A control group of the kernel (version 2), which counts the CPU time of the processes in it.

    The count includes processes that have ended, and the process that dbt is forked from. A count by the environment of
    processes missed the workers: Airflow writes their titles over it.

    :param folder: of the group.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def made(cls) -> Iterator[ControlGroup | None]:
        """A group below that of this process; None where the kernel or this user's rights have none."""
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        tops = [Path(words[1]) for words in mounts if words[2] == "cgroup2"]
        own = [line[4:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::/")]
        if not tops or not own:
            yield None
            return
        folder = tops[0] / own[0] / f"cosmos-benchmark-{uuid4().hex}"
        try:
            folder.mkdir()
        except OSError:
            yield None
            return
        made = cls(folder)
        try:
            with made.entered():
                pass
        except OSError:
            folder.rmdir()
            yield None
            return
        try:
            yield made
        finally:
            # A group is removed once it is empty: the last process of a server may live for a moment.
            deadline = time.monotonic() + LONGEST_END
            while not _is_removed(folder) and time.monotonic() < deadline:
                time.sleep(LOOK_AGAIN)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Processes that are started within this block are in the group, with all that they start."""
        above = self.folder.parent / "cgroup.procs"
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            above.write_text(str(os.getpid()))

    def cpu_seconds(self) -> float:
        """CPU seconds of all processes that are or were in the group."""
        lines = (line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return next(int(value) / 1e6 for name, value in lines if name == "usage_usec")


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class RunningAirflow:
    """An Airflow that takes DAG runs.

    :param python: of the environment that Airflow is in.
    :param folder: of the home, ``airflow``, and of the DAG files, ``dags``.
    :param environment: the environment variables of its processes.
    """

    python: Path
    folder: Path
    environment: Mapping[str, str]

    @property
    def port(self) -> int:
        """The port of the API server on loopback."""
        return int(self.environment["AIRFLOW__API__PORT"])

    @property
    def address(self) -> str:
        """The address of the UI."""
        return f"http://127.0.0.1:{self.port}"

    def airflow(self, *words: str) -> None:
        """Run a command of Airflow to its end.

        :raises RunFailed: when it fails; with its output.
        """
        command = [str(self.python), "-m", "airflow", *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=LONGEST_START, check=False
        )
        if done.returncode:
            raise RunFailed(f"airflow {' '.join(words)}: {done.stdout[-_SHOWN:]}{done.stderr[-_SHOWN:]}")

    def ask(self, statement: str) -> list[Any]:
        """The answer of the database."""
        with closing(sqlite3.connect(self.folder / "airflow" / "airflow.db")) as connection:
            return connection.execute(statement).fetchall()

    def run(self, dag_id: str, run_id: str) -> float:
        """A run of a DAG to its end: its makespan in seconds.

        :raises RunFailed: when it does not succeed, or takes longer than ``LONGEST_RUN``.
        """
        self.begin(dag_id, run_id)
        ended = (
            f"select 1 from dag_run where dag_id = '{dag_id}' and run_id = '{run_id}' "  # noqa: S608 - ours
            "and state in ('success', 'failed')"
        )
        try:
            _wait_until(lambda: bool(self.ask(ended)), f"the end of {dag_id}", seconds=LONGEST_RUN)
            return makespan(self.instances(dag_id, run_id))
        except RunFailed as failure:
            raise RunFailed(f"{dag_id}: {failure}\n{self.logs()}") from None

    def begin(self, dag_id: str, run_id: str) -> None:
        """Ask for a run. SQLite may be locked by a scheduler and a triggerer: Airflow is asked again then."""
        body = {"dag_run_id": run_id, "logical_date": None}
        call_api(self.port, "POST", f"dags/{dag_id}/dagRuns", body, is_repeatable=True)

    def instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """The tasks of a run."""
        asked = "select task_id, state, start_date, end_date from task_instance"
        rows = self.ask(f"{asked} where dag_id = '{dag_id}' and run_id = '{run_id}'")
        return [TaskInstance.of_row(row) for row in rows]

    def logs(self) -> str:
        """The ends of the logs of servers and tasks."""
        files = sorted((self.folder / "airflow").rglob("*.log"))
        return "\n".join(f"--- {file}\n{file.read_text(errors='replace')[-_SHOWN:]}" for file in files)

    @contextmanager
    def server(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """One of Airflow's processes, until the block ends."""
        command: list[str | Path] = [self.python, "-m", "airflow", *words]
        log = self.folder / "airflow" / f"{words[0]}.log"
        with running_server(command, environment=self.environment, log=log) as process:
            yield process


def _wait_until(has_happened: Callable[[], bool], what: str, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not has_happened():
        if time.monotonic() > deadline:
            raise RunFailed(f"{what}: not within {seconds:.0f} s")
        time.sleep(LOOK_AGAIN)


@contextmanager
def running_airflow(
    python: Path,
    folder: Path,
    variables: Mapping[str, str],
    group: ControlGroup | None = None,
    *,
    has_triggerer: bool = False,
) -> Iterator[RunningAirflow]:
    """Within this block the DAGs in ``folder/dags`` can be run, two tasks at a time.

    :param python: of the environment that Airflow is in.
    :param folder: for all its files.
    :param variables: more environment variables.
    :param group: for its processes; None: nobody counts their CPU time.
    :param has_triggerer: whether tasks can be deferred.
    """
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(folder / "cache"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # A producer of 1,000 nodes gives 1,000 new assets in one request. On SQLite that took more than Airflow's 5 s:
        # the worker repeated the request, both made the assets, and Airflow failed the task.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "120",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        **server_variables(free_port(), executor="LocalExecutor"),
        **variables,
    }
    (folder / "airflow").mkdir()
    airflow = RunningAirflow(python=python, folder=folder, environment=environment)
    airflow.airflow("db", "migrate")
    airflow.airflow("dags", "reserialize")
    with ExitStack() as stack:
        with nullcontext() if group is None else group.entered():
            stack.enter_context(airflow.server("api-server"))
            # A task that cannot reach the API server when it begins has lost one of its tries.
            _wait_until(lambda: accepts(airflow.port), "the API server answers", seconds=LONGEST_START)
            # The scheduler serves no logs: its log server would listen on every address. Its tasks have sessions of
            # their own.
            scheduler = stack.enter_context(airflow.server("scheduler", "--skip-serve-logs"))
            stack.enter_context(terminating_scheduler(scheduler))
            if has_triggerer:
                stack.enter_context(airflow.server("triggerer", "--skip-serve-logs"))
        yield airflow
