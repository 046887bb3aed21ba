"""An Airflow as people deploy it: each server a process of its own, its database in PostgreSQL, its caches cold.

The servers get the variables that a deployment would give them and none of those of the tests. The product is found as
an installed distribution, with its entry points.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from pytest_cosmos_venv.airflow_servers import (
    accepts,
    call_api,
    ending_what_it_started,
    free_port,
    running_server,
    server_variables,
)
from tests.installed import ENVIRONMENTS, IS_CI, ROOT, WHEELS, site_packages_of
from tests.machine_lock import only_airflow
from tests.postgres import IS_MISSING, Postgres
from tests.waiting import wait_until
from tests.warm_servers import stop_servers

DEADLINE = 900.0
_POLL = 0.5
_CALLS_BY_THE_COMMAND_LINE = """
import json, sys
from airflow.api.client.local_client import Client
from airflow.models import DagModel

for dag_id in json.loads(sys.argv[1]):
    DagModel.get_dagmodel(dag_id).set_is_paused(is_paused=False)
    Client(None, None).trigger_dag(dag_id=dag_id, run_id="by-hand")
"""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A release line of Airflow.

    :param name: such as ``3.3``.
    :param environment: name of the environment that has it, with a driver for PostgreSQL.
    :param is_proof: whether .ci/run always runs its tests; else ``make test-all`` does.
    """

    name: str
    environment: str
    is_proof: bool = False

    @property
    def python(self) -> Path:
        return ENVIRONMENTS / self.environment / "bin" / "python"

    @property
    def is_2(self) -> bool:
        return self.name.startswith("2.")

    @property
    def of_the_processor(self) -> str:
        """The begin of the names of variables that set an option of the DAG processor."""
        return "AIRFLOW__SCHEDULER__" if self.is_2 else "AIRFLOW__DAG_PROCESSOR__"

    @property
    def has_no_release(self) -> bool:
        """Whether the line cannot be installed on this Python."""
        python = sys.version_info[:2]
        return python >= (3, 13) if self.name in ("2.11", "3.0") else python < (3, 11) and self.name == "3.4"

    def parameter(self) -> Any:
        """The parameter for a test that takes a line."""
        is_missing = IS_MISSING or not self.python.exists()
        marks = [
            pytest.mark.skipif(
                self.has_no_release or (is_missing and not IS_CI),
                reason=f"no {self.environment} or postgres in .cache/envs: make test makes those that this Python has",
            ),
            *([pytest.mark.proof] if self.is_proof else []),
        ]
        return pytest.param(self, id=f"airflow-{self.name}", marks=marks)


LINES = (
    Line(name="3.3", environment="celery3", is_proof=True),
    Line(name="2.11", environment="celery2", is_proof=True),
    Line(name="3.0", environment="airflow30"),
    Line(name="3.1", environment="airflow31"),
    Line(name="3.2", environment="airflow32"),
    Line(name="3.4", environment="airflow34"),
)
EACH_LINE = [line.parameter() for line in LINES]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """An Airflow with a home of its own, whose servers are started one by one.

    :param line: the Airflow.
    :param folder: everything that it writes goes here.
    :param short: a folder with a short path, for sockets.
    :param postgres: the server and database that it has to itself.
    :param port: of the API server.
    :param shared: environment variables that all of its servers have in common, among them one secret.
    """

    line: Line
    folder: Path
    short: Path
    postgres: Postgres
    port: int
    shared: dict[str, str]

    @property
    def home(self) -> Path:
        return self.folder / "airflow"

    @property
    def dags(self) -> Path:
        """Where DAG files lie that have no versions."""
        return self.home / "dags"

    @property
    def bundle(self) -> Path:
        """Where DAG files lie that Airflow 3 keeps versions of."""
        return self.folder / "bundle"

    def given(self, server: str) -> dict[str, str]:
        """The environment variables that a server is started with; each server has caches of its own.

        :param server: name of the server, such as ``dag-processor``.
        """
        database = f"postgresql+psycopg2://{self.postgres.address}"
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            f"{self.line.of_the_processor}PARSING_PROCESSES": "2",
            # The two cores may be busy with other tests.
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "60",
            "AIRFLOW__CORE__DAG_FILE_PROCESSOR_TIMEOUT": "180",
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
            "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(self.folder / f"cache-of-{server}"),
            "TMPDIR": str(self.short),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "PYTHONPATH": os.pathsep.join([str(self.folder / "site"), str(ROOT)]),
            "PYTHONWARNINGS": "ignore",
            "XDG_RUNTIME_DIR": str(self.short),
            **dict.fromkeys(("PIP_FIND_LINKS", "UV_FIND_LINKS"), str(WHEELS)),
            **dict.fromkeys(("PIP_NO_INDEX", "UV_NO_INDEX"), "1"),
            **({} if self.line.is_2 else {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": self._bundles()}),
            **self.shared,
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        }

    def _bundles(self) -> str:
        local = "airflow.dag_processing.bundles.local.LocalDagBundle"
        copied = "tests.deployed.copied_bundle.CopiedBundle"
        return json.dumps(
            [
                {"name": "dags-folder", "classpath": local, "kwargs": {}},
                {"name": "copied", "classpath": copied, "kwargs": {"origin": str(self.bundle), "refresh_interval": 5}},
            ]
        )

    def prepare(self) -> None:
        """Make its folders and its database."""
        for folder in (self.dags, self.bundle, self.folder / "site"):
            folder.mkdir(parents=True, exist_ok=True)
        install_product(self.folder / "site")
        self.airflow("db", "migrate")

    def airflow(self, *words: str) -> str:
        """The output of a command of Airflow."""
        return self.python("-m", "airflow", *words)

    def python(self, *words: str) -> str:
        """The output of a program of its Python."""
        done = subprocess.run(
            [self.line.python, *words],
            env=self.given("command-line"),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextmanager
    def running(self, *words: str, seconds_between_parses: int = 20) -> Iterator[psutil.Process]:
        """One of its servers, which ends with the block and with all that it has started.

        :param words: of its command line.
        :param seconds_between_parses: how often a DAG processor parses a file.
        """
        command: list[str | Path] = [self.line.python, "-m", "airflow", *words]
        log = self.home / f"{words[0]}.log"
        interval = {f"{self.line.of_the_processor}MIN_FILE_PROCESS_INTERVAL": str(seconds_between_parses)}
        with (
            running_server(command, environment=self.given(words[0]) | interval, log=log) as process,
            ending_what_it_started(process),
        ):
            yield psutil.Process(process.pid)

    @contextmanager
    def servers(self) -> Iterator[None]:
        """All servers. The API server answers before the others start.

        The DAG processor parses each file once: again and again would take a core that the tasks need.
        """
        with ExitStack() as opened:
            if not self.line.is_2:
                opened.enter_context(self.running("api-server"))
                self.wait_until(lambda: accepts(self.port), "the API server answers")
            opened.enter_context(self.running("dag-processor", seconds_between_parses=3600))
            for server in ("scheduler", "triggerer"):
                opened.enter_context(self.running(server, "--skip-serve-logs"))
            yield

    def trigger(self, dag_ids: Sequence[str]) -> None:
        """Unpause DAGs and trigger each once: as the UI of Airflow 3 and the command line of Airflow 2 do it."""
        if self.line.is_2:
            self.python("-c", _CALLS_BY_THE_COMMAND_LINE, json.dumps(list(dag_ids)))
            return
        for dag_id in dag_ids:
            call_api(self.port, "PATCH", f"dags/{dag_id}", {"is_paused": False}, is_repeatable=True)
            call_api(self.port, "POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "dag_run_id": "by-hand"})

    def dag_ids(self) -> set[str]:
        """The DAGs that the scheduler can run."""
        return {row[0] for row in self.postgres.rows("select dag_id from serialized_dag")}

    def run_states(self) -> dict[str, str]:
        """The states of the runs by DAG id."""
        return {row[0]: row[1] for row in self.postgres.rows("select dag_id, state from dag_run")}

    def task_states(self, dag_id: str) -> dict[str, str]:
        """The states of the tasks of a DAG by task id."""
        rows = self.postgres.rows(f"select task_id, state from task_instance where dag_id = '{dag_id}'")  # noqa: S608
        return {row[0]: row[1] for row in rows}

    def logs(self, most: int = 4000) -> str:
        """The ends of the logs of servers, tasks and detached processes, for an assertion that fails."""
        files = sorted(self.folder.rglob("*.log"))
        return "\n".join(f"--- {file}\n{file.read_text(errors='replace')[-most:]}" for file in files)

    def wait_until(self, has_happened: Callable[[], bool], what: str) -> None:
        """Wait for an event.

        :raises AssertionError: when it does not come in time, with the logs.
        """
        wait_until(has_happened, lambda: f"{what}\n{self.logs()}", seconds=DEADLINE)


@contextmanager
def deployed(line: Line, folder: Path, postgres: Postgres) -> Iterator[Stack]:
    """A stack that is prepared; no server runs yet.

    :param line: the Airflow.
    :param folder: of its files.
    :param postgres: gives it a database.
    """
    # The path of a socket has 107 characters at most.
    with only_airflow(), TemporaryDirectory(prefix="cv-", dir="/tmp", ignore_cleanup_errors=True) as short:
        own = postgres.apart(f"airflow{line.name.replace('.', '')}")
        port = free_port()
        shared = server_variables(port, executor="LocalExecutor")
        stack = Stack(line=line, folder=folder, short=Path(short), postgres=own, port=port, shared=shared)
        stack.prepare()
        try:
            yield stack
        finally:
            stop_servers(short)
            end_detached(folder)


def end_detached(folder: Path) -> None:
    """End the detached processes that have their files below a folder: they are no children of a server.

    :param folder: the folder.
    """
    for file in folder.rglob("*.pid"):
        with suppress(ValueError, psutil.NoSuchProcess):
            process = psutil.Process(int(file.read_text()))
            if str(file.parent) in process.cmdline():
                process.kill()


def install_product(folder: Path) -> None:
    """Make a folder for ``PYTHONPATH`` in which the product is a distribution with its entry points.

    :param folder: must exist.
    """
    installed = site_packages_of(ROOT / ".venv")
    assert installed is not None
    (about,) = installed.glob("cosmos_venv-*.dist-info")
    shutil.copytree(about, folder / about.name)
    (folder / "cosmos_venv").symlink_to(ROOT / "cosmos_venv")
