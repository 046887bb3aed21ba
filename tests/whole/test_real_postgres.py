"""A dbt project on a real PostgreSQL behind an Airflow Connection: it runs, and nobody gets to see the password."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest

from cosmos_venv import (
    DbtDag,
    ExecutionConfig,
    ExecutionMode,
    InvocationMode,
    LoadMode,
    ProfileConfig,
    ProjectConfig,
    RenderConfig,
)
from cosmos_venv.compat import AirflowException
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping
from pytest_cosmos_venv import CosmosAirflow
from tests.installed import DBT, IS_CI, install_from_wheels, needs_dbt
from tests.postgres import IS_MISSING, Postgres

DEADLINE = 60.0
TASKS = ["piers_seed", "staging.run", "staging.test", "mart_run"]

pytestmark = [
    pytest.mark.long,
    needs_dbt,
    pytest.mark.skipif(IS_MISSING and not IS_CI, reason="no PostgreSQL in .cache/envs: make test makes it"),
]


@pytest.fixture
def harbor(dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project with a test; whatever is written for it, is written below ``tmp_path``."""
    (dbt_project / "profiles.yml").unlink()
    (dbt_project / "models" / "schema.yml").write_text(
        "models: [{name: staging, columns: [{name: id, data_tests: [unique]}]}]\n"
    )
    (tmp_path / "temp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    install_from_wheels(monkeypatch)
    return dbt_project


def files_with(secret: str, *folders: Path) -> tuple[list[str], int]:
    """The files below the folders that hold the secret, and how many were read. Installed packages are not."""
    found, count = [], 0
    for folder in folders:
        for place, children, names in os.walk(folder):
            children[:] = [name for name in children if name != "site-packages"]
            for path in (Path(place, name) for name in names):
                if path.is_file():
                    count += 1
                    found += [str(path)] if secret.encode() in path.read_bytes() else []
    return found, count


class Witness:
    """Looks, while dbt's folder is there, at everything that somebody else could read."""

    def __init__(self, secret: str, folder: Path) -> None:
        self.secret = secret
        self.folder = folder
        self.files: list[str] = []
        self.profiles: list[str] = []
        self.command_lines: set[str] = set()

    def look(self, _project_dir: str, **_: Any) -> None:
        """A callback of operators."""
        self.files += files_with(self.secret, self.folder)[0]
        self.profiles += [path.read_text() for path in self.folder.rglob("profiles.yml")]

    @contextmanager
    def watching_processes(self) -> Iterator[None]:
        """Within this block the command lines of all processes below this one are collected."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                for process in psutil.Process().children(recursive=True):
                    try:
                        self.command_lines.add(" ".join(process.cmdline()))
                    except psutil.Error:  # gone
                        continue

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def harbor_dag(project: Path, mode: ExecutionMode, environments: Path, schema: str, witness: Witness) -> DbtDag:
    """The whole way: listed by dbt, seeded, run and tested in a schema of its own."""
    mapping = PostgresUserPasswordProfileMapping("warehouse", {"schema": schema})
    listing: dict[str, Any] = {}
    running: dict[str, Any] = {"virtualenv_dir": environments}
    arguments: dict[str, Any] = {"py_requirements": ["dbt-core~=1.11.0", "dbt-postgres"]}
    if mode is ExecutionMode.LOCAL:
        listing = {"dbt_executable_path": DBT, "invocation_mode": InvocationMode.SUBPROCESS}
        running, arguments = {"dbt_executable_path": DBT}, {}
    return DbtDag(
        dag_id=schema,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(project),
        profile_config=ProfileConfig("harbor", "dev", profile_mapping=mapping),
        execution_config=ExecutionConfig(execution_mode=mode, **running),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS, **listing),
        operator_args={"callback": witness.look, **arguments},
    )


@pytest.mark.parametrize("mode", [ExecutionMode.LOCAL, ExecutionMode.VIRTUALENV], ids=lambda mode: mode.value)
def test_a_project_is_built_and_the_password_is_nowhere_to_be_read(
    mode: ExecutionMode,
    harbor: Path,
    postgres: Postgres,
    kept_directory: Path,
    cosmos_airflow: CosmosAirflow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.connection)
    witness = Witness(postgres.password, tmp_path)

    with witness.watching_processes():
        dag = harbor_dag(harbor, mode, kept_directory, f"of_{mode.value}", witness)
        outcome = cosmos_airflow.run(dag)

    said = "".join(capfd.readouterr()) + "".join(task.log for task in outcome.tasks.values())
    files, count = files_with(postgres.password, tmp_path, kept_directory, cosmos_airflow.home.path)
    with closing(sqlite3.connect(cosmos_airflow.home.database)) as database:
        rendered = str(database.execute("select * from rendered_task_instance_fields").fetchall())
    assert outcome.succeeded
    assert list(outcome.tasks) == TASKS
    assert postgres.rows(f"table of_{mode.value}.mart") == [["1", "North"]]
    assert len(witness.profiles) == len(TASKS)
    assert all("env_var(''COSMOS_CONN_POSTGRES_PASSWORD'')" in text for text in witness.profiles), witness.profiles[0]
    assert (files, witness.files) == ([], [])
    assert count >= 10  # the log of dbt ls, profile and workspace are gone by then
    assert "compiled/harbor/models/staging.sql" in rendered
    assert postgres.password not in rendered
    assert [line for line in witness.command_lines if postgres.password in line] == []
    # The first task of a kept environment starts dbt; those after it are forked, and have no command line of their own.
    started = {"seed", "run", "test"} if mode is ExecutionMode.LOCAL else {"seed"}
    assert started <= {word for line in witness.command_lines for word in line.split()}
    assert "Completed successfully" in said
    assert postgres.password not in said
    assert "COSMOS_CONN_POSTGRES_PASSWORD" not in os.environ
    assert not list((tmp_path / "temp").iterdir())


def test_a_wrong_password_is_told_in_postgres_own_words(
    harbor: Path, postgres: Postgres, cosmos_airflow: CosmosAirflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Postgres(postgres.port, "not-that-one")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", wrong.connection)
    dag = harbor_dag(harbor, ExecutionMode.LOCAL, tmp_path, "of_nobody", Witness(wrong.password, tmp_path))

    outcome = cosmos_airflow.run(dag)

    assert outcome.tasks["piers_seed"].state == "failed"
    assert 'password authentication failed for user "crane"' in str(outcome.exception)
    assert wrong.password not in outcome.tasks["piers_seed"].log


def sleeping_queries(postgres: Postgres) -> int:
    """How many queries the server runs that sleep, by its own account."""
    found = postgres.rows(
        "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep%' "
        "and pid <> pg_backend_pid()"
    )
    return int(found[0][0])


@pytest.mark.usefixtures("no_other_servers")
@pytest.mark.parametrize("warm", ["off", "require"])
def test_a_kill_ends_the_query_in_the_database(
    warm: str, harbor: Path, postgres: Postgres, kept_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.connection)
    (harbor / "models" / "sleeper.sql").write_text(
        "{{ config(materialized='table') }} select pg_sleep(600)::text as slept"
    )
    mapping = PostgresUserPasswordProfileMapping("warehouse", {"schema": f"of_a_kill_{warm}"})
    operator = DbtRunVirtualenvOperator(
        task_id="run",
        project_dir=harbor,
        profile_config=ProfileConfig("harbor", "dev", profile_mapping=mapping),
        select=["sleeper"],
        virtualenv_dir=kept_directory,
        py_requirements=["dbt-core~=1.11.0", "dbt-postgres"],
        warm_dbt=warm,
    )

    def kill_once_it_sleeps() -> int:
        deadline = time.monotonic() + DEADLINE
        while not (count := sleeping_queries(postgres)):
            assert time.monotonic() < deadline, "the query has not begun"
        operator.on_kill()
        return count

    with ThreadPoolExecutor() as pool:
        killer = pool.submit(kill_once_it_sleeps)
        with pytest.raises(AirflowException, match="Task run was killed"):
            operator.execute({})

    assert killer.result() == 1
    assert sleeping_queries(postgres) == 0, "dbt has cancelled it before it ended"
