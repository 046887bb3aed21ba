"""The Airflow of the demo, which keeps everything in the demo's folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.demo_display import Display, TaskOutcome

if TYPE_CHECKING:
    from airflow.sdk import DAG

BUNDLE = "dags-folder"
REASON_LINES = 20


class DemoFailed(Exception):
    """The demo failed. The text is for the person at the terminal; the exit code is 1."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folder of all that this demo keeps, one for each Python version, beside the checkout."""

    folder: Path
    dags: Path
    dag_id: str

    @property
    def airflow_home(self) -> Path:
        return self.folder / "airflow"

    @property
    def database(self) -> Path:
        return self.folder / "harbor.duckdb"

    @property
    def log(self) -> Path:
        return self.folder / "logs" / f"{self.dag_id}.log"

    def variables(self) -> dict[str, str]:
        """The settings of Airflow as environment variables; nothing is written to the user's own Airflow."""
        return {
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(self.folder / "cache"),
            # Warm starts end with the demo, or soon after it.
            "AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT_IDLE": "15",
            "AIRFLOW_CONN_HARBOR_DUCKDB": json.dumps({"conn_type": "duckdb", "host": str(self.database)}),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        }


def set_up(place: Place) -> None:
    """Point this process at the demo's Airflow; settings of another Airflow in the shell must not reach it."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]
    os.environ.update(place.variables())
    place.airflow_home.mkdir(parents=True, exist_ok=True)


def migrate(place: Place) -> None:
    """Make or upgrade Airflow's SQLite database, once for each version of Airflow."""
    from airflow import __version__
    from airflow.utils.db import initdb

    done_for = place.airflow_home / "migrated-to"
    if done_for.is_file() and done_for.read_text(encoding="utf-8") == __version__:
        return
    initdb()
    done_for.write_text(__version__, encoding="utf-8")


def load(place: Place) -> DAG:
    """Parse the DAG file as Airflow does, and make the DAG known to Airflow.

    :raises DemoFailed: when the file cannot be imported, with the end of the traceback.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager: Any = DagBundlesManager
    manager().sync_bundles_to_db()
    # No time-out: the first parse waits here until the managed environment is built, so that one can watch it.
    os.environ["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"] = "0"
    bag = BundleDagBag(place.dags, bundle_path=place.dags, bundle_name=BUNDLE)
    for file, error in bag.import_errors.items():
        raise DemoFailed(f"{file} cannot be imported:\n{last_lines(error)}")
    if place.dag_id not in bag.dags:
        raise DemoFailed(f"There is no DAG {place.dag_id!r} in {place.dags}, only {sorted(bag.dags)}.")
    sync_bag_to_db(bag, BUNDLE, None)
    # dag.test() parses every configured bundle once more. It was done a moment ago, and dbt ls takes seconds.
    os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = "[]"
    return bag.dags[place.dag_id]


@contextmanager
def warming_up() -> Iterator[None]:
    """Warm up the API server that dag.test() runs in this process, beside the block: its first request takes seconds.

    The imports are done before the block. The thread of the server only computes, while the block waits for dbt ls.
    """
    from airflow.sdk.api.client import Client
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    server = in_process_api_server()

    def ask() -> None:
        # The client of Airflow's tasks: its version of the API is the one that the server has to build.
        Client(base_url="http://in-process.invalid./", token="", transport=server.transport).get("health")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def building_ahead(place: Place) -> Iterator[None]:
    """Build the environments that only tasks need, beside the block: the snapshot stays on dbt 1.10.

    The tasks run one after the other, so a core is free. A task that comes too early waits for the build.
    """
    command: list[str | Path] = [Path(sys.executable).parent / "cosmos-venv", "env", "warm", place.dags]
    with place.log.with_name("env-warm.log").open("w", encoding="utf-8") as log:
        builder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        builder.wait()


def run(dag: DAG, display: Display) -> tuple[list[TaskOutcome], dict[str, str]]:
    """Run every task to its end, in this process. Returns the outcomes, and why tasks failed."""
    reasons: dict[str, str] = {}

    def begins(context: Any) -> None:
        display.doing(f"running {context['task'].task_id}")

    def fails(context: Any) -> None:
        reasons[context["task"].task_id] = last_lines(str(context.get("exception") or "no reason given"))

    tasks: list[Any] = list(dag.tasks)
    for task in tasks:
        task.on_execute_callback = [*task.on_execute_callback, begins]
        task.on_failure_callback = [*task.on_failure_callback, fails]
    dag_run: Any = dag.test()
    instances = sorted(dag_run.get_task_instances(), key=lambda found: (found.start_date is None, found.start_date))
    outcomes = [
        TaskOutcome(
            task_id=found.task_id,
            operator=found.operator,
            dbt=next(iter(getattr(dag.get_task(found.task_id), "py_requirements", [])), "–"),
            state=str(found.state or "none"),
            seconds=found.duration,
        )
        for found in instances
    ]
    return outcomes, reasons


def last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-REASON_LINES:])
