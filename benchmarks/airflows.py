"""Whole Airflows for benchmarks: API server, scheduler and a LocalExecutor of two slots, which run whole DAGs.

Each stands in an environment of its own, on loopback and SQLite, and reads the DAG files of its own folder once.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pytest_cosmos_venv.airflow_servers import ending_what_it_started
from tests.operators.real_scheduler import api_server, logs, prepared, running
from tests.operators.whole_airflow import WholeAirflow

LONGEST_RUN = 1_800.0
LONGEST_ANSWER = 60.0
LOOK_AGAIN = 0.5
LONGEST_END = 20.0


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

    It counts those that have ended too, and what dbt is forked from. Counting processes by their environment missed the
    workers: Airflow gives them titles, which are written over it.

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


class RunningAirflow:
    """An Airflow that takes DAG runs."""

    def __init__(self, airflow: WholeAirflow) -> None:
        self.airflow = airflow
        self._token = self._ask("GET", "/auth/token")["access_token"]

    def run(self, dag_id: str, run_id: str) -> float:
        """A run of a DAG to its end: its makespan in seconds.

        :raises RunFailed: when it does not succeed, or takes longer than ``LONGEST_RUN``.
        """
        self.begin(dag_id, run_id)
        ended = (
            f"select 1 from dag_run where dag_id = '{dag_id}' and run_id = '{run_id}' "  # noqa: S608 - ours
            "and state in ('success', 'failed')"
        )
        deadline = time.monotonic() + LONGEST_RUN
        while not self.airflow.ask(ended):
            if time.monotonic() > deadline:
                raise RunFailed(f"{dag_id} runs for longer than {LONGEST_RUN:.0f} s\n{logs(self.airflow)}")
            time.sleep(LOOK_AGAIN)
        try:
            return makespan(self.instances(dag_id, run_id))
        except RunFailed as failure:
            raise RunFailed(f"{dag_id}: {failure}\n{logs(self.airflow)}") from None

    def begin(self, dag_id: str, run_id: str) -> None:
        """Ask for a run, until Airflow takes it: SQLite may be locked by a scheduler and a triggerer."""
        deadline = time.monotonic() + LONGEST_ANSWER
        while True:
            try:
                self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None})
                return
            except RunFailed:
                if time.monotonic() > deadline:
                    raise
            time.sleep(LOOK_AGAIN)

    def instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """The tasks of a run."""
        asked = "select task_id, state, start_date, end_date from task_instance"
        rows = self.airflow.ask(f"{asked} where dag_id = '{dag_id}' and run_id = '{run_id}'")
        return [TaskInstance.of_row(row) for row in rows]

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        port = int(self.airflow.variables["AIRFLOW__API__PORT"])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_ANSWER)
        headers = {"Content-Type": "application/json"}
        if method == "POST":
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise RunFailed(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        found: dict[str, Any] = json.loads(text)
        return found


@contextmanager
def running_airflow(
    python: Path,
    folder: Path,
    variables: dict[str, str],
    group: ControlGroup | None = None,
    *,
    has_triggerer: bool = False,
    triggerer_variables: Mapping[str, str] | None = None,
) -> Iterator[RunningAirflow]:
    """Within this block the DAGs in ``folder/dags`` can be run.

    :param python: of the environment that Airflow is in.
    :param folder: for all its files.
    :param group: for its processes; None: nobody counts their CPU time.
    :param has_triggerer: whether tasks can be deferred.
    :param triggerer_variables: environment variables that the triggerer has and the others have not.
    """
    airflow = WholeAirflow(
        python=python,
        folder=folder,
        variables={
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "DO_NOT_TRACK": "1",
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            **variables,
        },
    )
    airflow = prepared(airflow, "", executor="LocalExecutor")
    with ExitStack() as stack:
        with nullcontext() if group is None else group.entered():
            stack.enter_context(api_server(airflow))
            stack.enter_context(scheduler(airflow))
            if has_triggerer:
                of_triggerer = replace(airflow, variables={**airflow.variables, **(triggerer_variables or {})})
                stack.enter_context(running(of_triggerer, "triggerer", "--skip-serve-logs"))
        yield RunningAirflow(airflow)


@contextmanager
def scheduler(airflow: WholeAirflow) -> Iterator[None]:
    """A scheduler that runs in the block; its tasks, which have sessions of their own, end with it.

    It serves no logs: that server would listen on every address.
    """
    with running(airflow, "scheduler", "--skip-serve-logs") as process, ending_what_it_started(process):
        yield
