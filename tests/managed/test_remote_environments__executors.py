"""One remote store for Airflow's own executors: Celery workers on two hosts, and a fresh pod for each task."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pytest_cosmos_venv.airflow_servers import running_server
from tests.managed.own_host import __file__ as host_program
from tests.operators.executors import VARIABLES as STACK_VARIABLES
from tests.operators.executors import AirflowOnPostgres, Running, Stack, running_stack
from tests.operators.real_scheduler import api_server, logs, prepared, running, states_of_only_run, wait_until
from tests.postgres import Postgres
from tests.redis import started_redis

CELERY = Stack(release=3, executor="CeleryExecutor")
PODS = Stack(release=3, executor="tests.managed.pod_executor.PodExecutor")

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can give a process host and disks of its own"),
]

DAG_FILE = """
from datetime import datetime, timezone
from airflow.sdk import DAG
from cosmos_venv import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator

FOLDER, ENVIRONMENTS = {folder!r}, {environments!r}

with DAG("harbor", schedule="@once", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as harbor:
    before = None
    for name, queue in {tasks!r}:
        task = DbtRunVirtualenvOperator(
            task_id=name,
            queue=queue,
            project_dir=FOLDER + "/harbor",
            profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=FOLDER + "/harbor/profiles.yml"),
            virtualenv_dir=ENVIRONMENTS,
            py_requirements=["dbt-core~=1.11.0", "dbt-duckdb~=1.11.0"],
            install_deps=False,
            vars={{"path": FOLDER + "/" + name + ".duckdb"}},
        )
        if {in_order!r} and before is not None:
            before >> task
        before = task
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that all hosts have: DAGs, the project, the key, the storage."""
    project = tmp_path / "harbor"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: harbor\nversion: '1.0'\nprofile: harbor\n")
    (project / "profiles.yml").write_text(
        "harbor: {target: dev, outputs: {dev: {type: duckdb, path: \"{{ var('path') }}\"}}}\n"
    )
    (project / "models" / "piers.sql").write_text("select 1 as id")
    (tmp_path / "key").write_text("the key of all workers")
    (tmp_path / "key").chmod(0o600)
    return tmp_path


def variables(folder: Path) -> dict[str, str]:
    return {
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__COSMOS_VENV__REMOTE_ENVIRONMENT_DIR": f"file://{folder}/storage",
        "AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE": str(folder / "key"),
        "AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT": "off",
    }


def log_of(airflow: AirflowOnPostgres, task_id: str) -> str:
    files = (airflow.folder / "airflow" / "logs").rglob(f"task_id={task_id}/attempt=*.log")
    return "\n".join(file.read_text() for file in sorted(files))


@contextmanager
def worker_on_host(airflow: AirflowOnPostgres, name: str, *, disks: str) -> Iterator[None]:
    """A Celery worker on a host of its own, which takes tasks of the queue of its name."""
    log = airflow.folder / "airflow" / f"{name}.log"
    options = ["--queues", name, "--celery-hostname", name, "--skip-serve-logs", "--without-gossip", "--without-mingle"]
    pid_file = ["--pid", str(airflow.folder / "airflow" / f"{name}.pid")]
    command: list[str | Path] = [airflow.python, "-m", "airflow", "celery", "worker", *options, *pid_file]
    host: list[str | Path] = [airflow.python, host_program, name, disks, *command]
    with running_server(host, environment=airflow.environment, log=log):
        wait_until(lambda: " ready." in log.read_text(), f"the worker {name} is ready", airflow)
        yield


@pytest.mark.parametrize("stack", [CELERY.parameter()])
@pytest.mark.parametrize(
    "has_shared_disk",
    [pytest.param(False, id="own-disks"), pytest.param(True, id="shared-disk", marks=pytest.mark.exhaustive)],
)
def test_a_celery_worker_uses_what_a_worker_of_another_host_has_built(
    stack: Stack, has_shared_disk: bool, folder: Path, short_folder: Path, postgres: Postgres
) -> None:
    environments = folder / "environments"
    # Without a shared disk the second task begins when the first worker has built, else both at once.
    source = DAG_FILE.format(
        folder=str(folder),
        environments=str(environments),
        tasks=[("first", "amber"), ("second", "basil")],
        in_order=not has_shared_disk,
    )
    own = short_folder / "own"
    own.mkdir()
    disks = str(own if has_shared_disk else f"{own}:{environments}")
    airflow = AirflowOnPostgres(
        python=stack.folder / "bin" / "python",
        folder=folder,
        variables={**STACK_VARIABLES, **variables(folder), "TMPDIR": str(own)},
        postgres=postgres.apart("airflow_hosts"),
    )
    with ExitStack() as resources:
        airflow.variables["AIRFLOW__CELERY__BROKER_URL"] = resources.enter_context(
            started_redis(stack.programs, short_folder)
        )
        airflow = prepared(airflow, source, executor=stack.executor)
        resources.enter_context(api_server(airflow))
        resources.enter_context(running(airflow, "scheduler"))
        for name in ("amber", "basil"):
            resources.enter_context(worker_on_host(airflow, name, disks=disks))
        airflow.ask("update dag set is_paused = false")
        states = states_of_only_run(airflow, "harbor")

        assert states == {"first": "success", "second": "success"}, logs(airflow)
        told = {name: log_of(airflow, name) for name in states}
        assert sum("Creating the virtualenv" in text for text in told.values()) == 1, told
        if has_shared_disk:
            assert not any("Fetched " in text for text in told.values())
        else:
            assert re.search(r"Fetched .* MB .*; built by amber at ", told["second"]), told
            assert not list(environments.iterdir()), "each host has a disk of its own"


@pytest.mark.parametrize("stack", [PODS.parameter()])
def test_each_pod_fetches_what_the_first_one_has_built(
    stack: Stack, folder: Path, short_folder: Path, postgres: Postgres
) -> None:
    environments, own = folder / "environments", short_folder / "own"
    own.mkdir()
    tasks = [("first", "default"), ("second", "default"), ("third", "default")]
    source = DAG_FILE.format(folder=str(folder), environments=str(environments), tasks=tasks, in_order=True)
    more = {"POD_DISKS": f"{own}:{environments}:{folder}/cache", "TMPDIR": str(own), **variables(folder)}

    with running_stack(
        stack, source, folder=folder, short=short_folder, postgres=postgres, variables=more
    ) as running_airflow:
        told = told_by_each(running_airflow)

    assert "Creating the virtualenv" in told["first"]
    for name in ("second", "third"):
        assert "Creating the virtualenv" not in told[name]
        assert re.search(r"Fetched .* MB .*; built by pod-\d+-first at ", told[name]), told[name]
    assert not environments.exists() or not list(environments.iterdir())


def told_by_each(stack: Running) -> dict[str, str]:
    """The logs of the tasks of the only run, all of which succeed."""
    stack.unpause("harbor")
    states = states_of_only_run(stack.airflow, "harbor")
    assert set(states.values()) == {"success"}, logs(stack.airflow)
    return {name: log_of(stack.airflow, name) for name in states}
