"""Airflow as people run it: with servers for a whole run of the suite, or its DAG processor alone for one check.

The servers are API server, scheduler and triggerer; tasks run in processes. All is on loopback, on SQLite, in a home of
its own. ``Adapter.begin`` is called in each process, by the ``airflow_local_settings`` that Airflow imports there.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import psutil

from pytest_cosmos_venv.airflow_release import installed_airflow
from pytest_cosmos_venv.airflow_servers import (
    accepts,
    call_api,
    free_port,
    running_server,
    server_variables,
    terminating_scheduler,
)
from pytest_cosmos_venv.real_time import wait_until

from ..adapter import DagPlan

PARALLELISM = 12
"""How many tasks run at once: more than the producers that checks hold in the middle of their work."""
_MANY = 7
"""A run may take so many times as long as one task."""
PARSES = 10
"""How often the DAG processor parses a file that fails before the suite gives up on its DAG."""
_LONGEST_PARSE = 40.0  # Airflow ends one after 30 s
_BETWEEN_PARSES = 2
"""Seconds from one parse of a file to the next."""
_LONGEST_START = 180.0
_POLL = 0.25
_GRACE = 2.0
_FIRST_RELEASE = 3
_LOCKED = 60.0
"""Seconds that a question to SQLite waits for the servers."""
_SHOWN = 3000
_LONGEST_LINE = 600
_MOST_LINES = 5
_SETTINGS = """\
from {package}.cosmos_layout import open_adapter

open_adapter({named!r}).begin()
"""
_DAG_FILE = """\
# Airflow looks only into files in which its name stands.
import datetime

from {package}.adapter import DagPlan
from {package}.cosmos_layout import open_adapter

dag = open_adapter({named!r}).make_dag({plan!r})
"""
_PACKAGE = __package__.rpartition(".")[0]
Plans = Mapping[str, DagPlan]
"""Id of each DAG -> what its file says."""


class ServerError(Exception):
    """The servers of Airflow do not start; the text has the end of their logs."""


@dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """One task of a run, as Airflow's database has it.

    :param task_id: its id.
    :param operator: the name of its class.
    :param state: its state; None: it has none yet.
    :param tries: the number of its present try.
    """

    task_id: str
    operator: str
    state: str | None
    tries: int


def why_not_here() -> str | None:
    """Why no Airflow can be served here; None where it can."""
    if not _is_before_3():
        return None
    return f"Airflow {installed_airflow()} does not run LocalExecutor on SQLite, as the suite serves it: take Airflow 3"


def _is_before_3() -> bool:
    installed = installed_airflow()
    return installed is not None and int(installed.partition(".")[0]) < _FIRST_RELEASE


class ServedAirflow:
    """An Airflow that runs, with one run of each DAG.

    :param home: its AIRFLOW_HOME.
    :param port: the port of its API server.
    :param scheduler: the process whose children run the tasks.
    :param timeout: seconds that one task may take.
    """

    def __init__(self, home: Path, port: int, scheduler: psutil.Process, timeout: float) -> None:
        self.home = home
        self._timeout = timeout
        self._port = port
        self._scheduler = scheduler

    def state(self, dag_id: str) -> str | None:
        """The state of the only run of a DAG; None: there is no run.

        :param dag_id: the id of the DAG.
        """
        rows = ask(self.home, "select state from dag_run where dag_id = ?", dag_id)
        return rows[0][0] if rows else None

    def tasks(self, dag_id: str) -> dict[str, TaskInstance]:
        """The tasks of the only run of a DAG, by their ids.

        :param dag_id: the id of the DAG.
        """
        asked = "select task_id, operator, state, try_number from task_instance where dag_id = ?"
        rows = ask(self.home, asked, dag_id)
        return {a: TaskInstance(task_id=a, operator=b or "", state=c, tries=d) for a, b, c, d in rows}

    def import_error(self, dag_id: str) -> str:
        """Why the file of a DAG could not be read; empty where it could.

        :param dag_id: the id of the DAG.
        """
        rows = ask(self.home, "select stacktrace from import_error where filename like ?", f"%{dag_id}.py")
        return str(rows[0][0]) if rows else ""

    def wait(self, is_so: Callable[[], object]) -> bool:
        """Wait until a condition comes true, and return whether it has.

        The wait ends, too, when no task of this Airflow has changed its state for as long as one task may take.

        :param is_so: asked again and again.
        """
        seen, changed, holds = self._all_states(), time.monotonic(), False

        def is_over() -> bool:
            nonlocal seen, changed, holds
            now, states, holds = time.monotonic(), self._all_states(), bool(is_so())
            if states != seen:
                seen, changed = states, now
            return holds or now - changed > self._timeout

        wait_until(is_over, timeout=_MANY * self._timeout, every=_POLL)
        return holds

    def _all_states(self) -> list[Any]:
        return ask(self.home, "select dag_id, task_id, state, try_number from task_instance order by 1, 2")

    def clear(self, dag_id: str, task_id: str) -> None:
        """Clear one task of the run of a DAG, without the tasks before and behind it, as a user does in the UI.

        :param dag_id: the id of the DAG.
        :param task_id: the id of the task.
        :raises ServerError: Airflow refuses.
        """
        body = {"dry_run": False, "only_failed": False, "dag_run_id": self._run_id(dag_id), "task_ids": [task_id]}
        self._change("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def mark_failed(self, dag_id: str, task_id: str) -> None:
        """Mark one task of the run of a DAG as failed, as a user does in the UI. If the task runs, Airflow ends it.

        :param dag_id: the id of the DAG.
        :param task_id: the id of the task.
        :raises ServerError: Airflow refuses.
        """
        path = f"dags/{dag_id}/dagRuns/{quote(self._run_id(dag_id))}/taskInstances/{quote(task_id)}"
        self._change("PATCH", path, {"new_state": "failed"})

    def _change(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        try:
            call_api(self._port, method, path, body, is_repeatable=True)
        except HTTPError as error:
            raise ServerError(f"{method} {path}: {error}: {error.read().decode()}\n{logs(self.home)}") from error

    def _run_id(self, dag_id: str) -> str:
        return str(ask(self.home, "select run_id from dag_run where dag_id = ?", dag_id)[0][0])

    def task_process(self, pid: int) -> psutil.Process:
        """The process of the task that has started another process: a child of a worker of the executor.

        :param pid: the PID of the process that the task has started.
        :raises ServerError: no task of this Airflow has started it.
        """
        above = psutil.Process(pid).parents()
        place = next((number for number, each in enumerate(above) if each.pid == self._scheduler.pid), 0)
        if place < 2:
            raise ServerError(f"No task of this Airflow has started {pid}: above it are {above}.")
        return above[place - 2]

    def log(self, dag_id: str) -> str:
        """The warnings and errors that the tasks of a DAG have logged.

        :param dag_id: the id of the DAG.
        """
        folder = self.home / "logs" / f"dag_id={dag_id}"
        told = {file: troubles(file.read_text(errors="replace")) for file in sorted(folder.rglob("*.log"))}
        return "\n".join(f"{file.parent.name}: {line}" for file, lines in told.items() for line in lines)


def ask(home: Path, statement: str, *values: object) -> list[Any]:
    """The rows that Airflow's database answers with.

    :param home: its AIRFLOW_HOME.
    :param statement: a statement of SQL.
    :param *values: the values of its parameters.
    """
    with closing(sqlite3.connect(home / "airflow.db", timeout=_LOCKED)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def troubles(log: str) -> list[str]:
    """The last warnings and errors in the log of a task, with their exceptions.

    :param log: lines of JSON, as Airflow 3 writes them; other lines are skipped.
    """
    found = []
    for text in log.splitlines():
        with suppress(ValueError):
            line: Any = json.loads(text)
            if isinstance(line, dict) and line.get("level") in ("warning", "error", "critical"):
                errors = [f"{each.get('exc_type')}: {each.get('exc_value')}" for each in line.get("error_detail") or ()]
                found.append(": ".join([str(line.get("event")), *errors])[:_LONGEST_LINE])
    return found[-_MOST_LINES:]


def logs(folder: Path) -> str:
    """The end of each log below a folder.

    :param folder: may be missing.
    """
    files = sorted(folder.rglob("*.log"))
    return "\n".join(f"--- {file.relative_to(folder)}\n{file.read_text(errors='replace')[-_SHOWN:]}" for file in files)


def write_home(home: Path, database: Path, *, named: str, plans: Plans) -> None:
    """Fill an AIRFLOW_HOME with a database, a file for each DAG, and the settings by which the adapter begins.

    :param home: an empty folder.
    :param database: a database of Airflow that is migrated and empty; it is copied.
    :param named: the adapter, as ``open_adapter`` takes it.
    :param plans: id of each DAG -> what its file says.
    """
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(home / "airflow.db")) as target:
        source.backup(target)
    for name in ("config", "dags", "logs", "plugins"):
        (home / name).mkdir()
    settings = _SETTINGS.format(package=_PACKAGE, named=named)
    (home / "config" / "airflow_local_settings.py").write_text(settings, encoding="utf-8")
    for dag_id, plan in plans.items():
        text = _DAG_FILE.format(package=_PACKAGE, named=named, plan=plan)
        (home / "dags" / f"{dag_id}.py").write_text(text, encoding="utf-8")


def environment_of(home: Path) -> dict[str, str]:
    """The environment variables of each process of an Airflow.

    :param home: the AIRFLOW_HOME.
    """
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout={_LOCKED:.0f}",
        # Files that the implementation keeps are for this run alone.
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "PYTHONWARNINGS": "ignore",
        # Airflow and its DAG files see the packages that the suite sees.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


@contextmanager
def served_airflow(
    home: Path, database: Path, *, named: str, plans: Plans, variables: Mapping[str, str], timeout: float
) -> Iterator[ServedAirflow]:
    """Within this block an Airflow runs each of its DAGs once, side by side.

    :param home: an empty folder.
    :param database: a database of Airflow that is migrated and empty; it is copied.
    :param named: the adapter, as ``open_adapter`` takes it.
    :param plans: id of each DAG -> what its file says.
    :param variables: environment variables of its processes, beside those of this process.
    :param timeout: seconds that one task may take.
    :raises ServerError: the servers do not start.
    """
    write_home(home, database, named=named, plans=plans)
    port = free_port()
    environment = {
        **environment_of(home),
        **server_variables(port, executor="LocalExecutor", parallelism=PARALLELISM),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # Seconds after which a task learns that a user has marked it.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        **variables,
    }

    def server(*words: str) -> Any:
        command = [sys.executable, "-m", "airflow", *words]
        return running_server(command, environment=environment, log=home / f"{words[0]}.log")

    with ExitStack() as stack:
        # Both take seconds: the DAG files are read while the API server starts.
        reading = stack.enter_context(server("dags", "reserialize"))
        stack.enter_context(server("api-server"))
        if code := reading.wait(_LONGEST_START):
            raise ServerError(f"Airflow does not read its DAG files (exit code {code}).\n{logs(home)}")
        # A task that cannot reach the API server when it begins has lost one of its tries.
        if not wait_until(lambda: accepts(port), timeout=_LONGEST_START, every=_POLL):
            raise ServerError(f"The API server does not answer within {_LONGEST_START:.0f} s.\n{logs(home)}")
        # Neither process serves logs: a log server would listen on every address.
        stack.enter_context(server("triggerer", "--skip-serve-logs"))
        scheduler = stack.enter_context(server("scheduler", "--skip-serve-logs"))
        stack.enter_context(terminating_scheduler(scheduler, grace=_GRACE))
        yield ServedAirflow(home, port, psutil.Process(scheduler.pid), timeout)


@dataclass(frozen=True, kw_only=True)
class ParsedFile:
    """A DAG file that Airflow's DAG processor has parsed until its DAG appeared.

    :param dag: the DAG as Airflow has stored it, as text; None: it has not appeared.
    :param errors: the import error of each parse that failed, in order.
    :param log: the end of the processor's log, where not all DAGs have appeared.
    """

    dag: str | None
    errors: tuple[str, ...]
    log: str = ""

    def __str__(self) -> str:
        if self.dag is not None:
            return f"it has appeared after {len(self.errors)} parses that failed"
        last = "\n".join("".join(self.errors[-1:]).splitlines()[-_MOST_LINES:]) or f"no import error\n{self.log}"
        return f"{len(self.errors)} parses have failed, the last one with:\n{last}"


def parsed_files(
    home: Path, database: Path, *, named: str, plans: Plans, variables: Mapping[str, str], timeout: float
) -> dict[str, ParsedFile]:
    """Let the DAG processor of the installed Airflow parse DAG files until each DAG appears, or ``PARSES`` have failed.

    :param home: an empty folder.
    :param database: a database of Airflow that is migrated and empty; it is copied.
    :param named: the adapter, as ``open_adapter`` takes it.
    :param plans: id of each DAG -> what its file says.
    :param variables: environment variables of the processor, beside those of this process.
    :param timeout: seconds for all of it, where that is longer than ``PARSES`` parses take.
    :returns: id of each DAG -> its file.
    :raises ServerError: the processor has ended by itself.
    """
    write_home(home, database, named=named, plans=plans)
    environment = {**environment_of(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **variables}
    for section in ("DAG_PROCESSOR", "SCHEDULER"):  # of Airflow 3, of Airflow 2
        environment[f"AIRFLOW__{section}__MIN_FILE_PROCESS_INTERVAL"] = str(_BETWEEN_PARSES)
    # Airflow 2 has no DAG processor of its own on SQLite: there it is a child of the scheduler.
    words = ["scheduler", "--skip-serve-logs"] if _is_before_3() else ["dag-processor"]
    command = [sys.executable, "-m", "airflow", *words]
    errors: dict[str, dict[str, str]] = {dag_id: {} for dag_id in plans}
    dags: dict[str, str] = {}
    with (
        running_server(command, environment=environment, log=home / "processor.log") as processor,
        terminating_scheduler(processor, grace=_GRACE),
    ):

        def is_over() -> bool:
            # Errors are read before DAGs: a DAG that appears meanwhile has no error any longer.
            for dag_id, found in errors.items():
                # Each parse that fails writes a new timestamp.
                asked = "select timestamp, stacktrace from import_error where filename like ?"
                found.update(ask(home, asked, f"%{dag_id}.py"))
            dags.update(ask(home, "select dag_id, data from serialized_dag"))
            is_all_there = all(dag_id in dags or len(errors[dag_id]) >= PARSES for dag_id in plans)
            if not is_all_there and processor.poll() is not None:
                raise ServerError(f"Airflow's DAG processor has ended with {processor.returncode}.\n{logs(home)}")
            return is_all_there

        wait_until(is_over, timeout=max(timeout, PARSES * _LONGEST_PARSE), every=_POLL)
    log = "" if dags.keys() >= plans.keys() else logs(home)
    return {
        dag_id: ParsedFile(dag=dags.get(dag_id), errors=tuple(found.values()), log=log)
        for dag_id, found in errors.items()
    }
