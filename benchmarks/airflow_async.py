"""Benchmark of a model as a query of ExecutionMode.AIRFLOW_ASYNC, beside dbt-bigquery. Prints a table and stores it.

    DBT_WITH_BIGQUERY=path/to/dbt .cache/envs/providers/bin/python -m benchmarks.airflow_async [--rounds 5]

The Python has Google's provider, and the dbt has dbt-bigquery. Both send their queries to the local server of the
toolkit, where each query takes ``SECONDS``. A task is a fork of a process that has imported Airflow, as in Airflow's
workers. The work of the workers themselves comes on top in each mode, and is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.harness import Bench, Row, main
from cosmos_venv.compat import TaskDeferred
from cosmos_venv.config import ProfileConfig
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt.bigquery.statement import CompiledModel, compiled_models
from cosmos_venv.operators.airflow_async import DbtRunAirflowAsyncOperator
from cosmos_venv.operators.local import DbtCompileLocalOperator, DbtRunLocalOperator
from tests.bigquery_server import BigQueryServer

LOOK = 0.05  # seconds between two looks at the processes of dbt
HUNDRED = 100
SECONDS = 30.0  # that each query takes


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one model costs a worker.

    :param slot: seconds for which a slot is held.
    :param cpu: seconds of CPU, of dbt and its server too.
    """

    slot: float
    cpu: float


class Ti:
    """The part of Airflow's task instance that a task needs."""

    dag_id, task_id, run_id, try_number, map_index = "shop", "model", "one", 1, -1

    def xcom_push(self, key: str, value: object) -> None:
        """Forget it."""


@contextlib.contextmanager
def watched(dbt: Path) -> Iterator[Callable[[], float]]:
    """Watch the CPU seconds of all processes of a dbt; yields a function that returns those used in the block."""
    seen: dict[tuple[int, float], float] = {}
    is_over = threading.Event()
    folder = str(dbt.parent.parent)

    def look() -> None:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(folder in word for word in process.cmdline()):
                    times = process.cpu_times()
                    seen[process.pid, process.create_time()] = times.user + times.system

    def look_on() -> None:
        while not is_over.wait(LOOK):
            look()

    look()
    before = dict(seen)  # a server has imported dbt already
    thread = threading.Thread(target=look_on)
    thread.start()
    try:
        yield lambda: sum(used - before.get(each, 0.0) for each, used in list(seen.items()))
    finally:
        is_over.set()
        thread.join()


def in_a_process(work: Callable[[], object]) -> Cost:
    """The cost of some work in a process of its own, which forks from this one."""
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError("The task has failed: see above.")
    return Cost(slot=time.monotonic() - begun, cpu=usage.ru_utime + usage.ru_stime)


def context_of(task: Any) -> dict[str, Any]:
    """The context of a task without a run."""
    return {"ti": Ti(), "task_instance": Ti(), "logical_date": None, "run_id": "one", "dag_run": None, "task": task}


def query(task: Any, model: CompiledModel) -> Cost:
    """A model as a query: the process that sends the query, and the process that goes on when the query has ended."""

    def send() -> None:
        with contextlib.suppress(TaskDeferred):
            task._query_of(context_of(task)).start(model)

    first = in_a_process(send)
    second = in_a_process(lambda: task._done("job", model.table, model.sql, context_of(task)))
    return Cost(slot=first.slot + second.slot, cpu=first.cpu + second.cpu)


def by_dbt(task: Any, dbt: Path) -> Cost:
    """A model by dbt run, from the beginning of its task to the end of its query."""
    with watched(dbt) as cpu:
        cost = in_a_process(lambda: task.execute(context_of(task)))
        time.sleep(2 * LOOK)
        return Cost(slot=cost.slot, cpu=max(cost.cpu, cpu()))


def models(bench: Bench) -> list[Row]:
    """The cost of models in each way; a round is a model."""
    folder, dbt = bench.folder, Path(os.environ["DBT_WITH_BIGQUERY"]).absolute()
    os.environ |= {"AIRFLOW__COSMOS_VENV__CACHE_DIR": str(folder / "cache"), "DO_NOT_TRACK": "1"}
    server = BigQueryServer()
    server.start()
    os.environ |= {**server.environ, "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": server.connection}
    project = folder / "project"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: shop\nversion: '1.0'\nprofile: shop\n")
    names = [f"model_{number}" for number in range(HUNDRED)]
    for name in names:
        (project / "models" / f"{name}.sql").write_text("{{ config(materialized='table') }}\nselect 1 as id\n")
    profile = {"shop": {"target": "dev", "outputs": {"dev": server.profile()}}}
    (folder / "profiles.yml").write_text(json.dumps(profile))
    shared: dict[str, Any] = {"profile_config": ProfileConfig("shop", "dev", folder / "profiles.yml")}
    of_dbt = {
        **shared,
        "project_dir": project,
        "dbt_executable_path": dbt,
        "invocation_mode": InvocationMode.SUBPROCESS,
        "emit_datasets": False,
        "should_store_compiled_sql": False,
    }
    manifest = folder / "manifest.json"

    def keep(path: str, **_: object) -> None:
        manifest.write_bytes((Path(path) / "target" / "manifest.json").read_bytes())

    compiled = in_a_process(
        lambda: DbtCompileLocalOperator(task_id="setup", callback=keep, **of_dbt).execute(context_of(None))  # type: ignore[arg-type]
    )
    ids = [f"model.shop.{name}" for name in names[: bench.rounds]]
    compiled_ones = compiled_models(manifest.read_bytes(), ids, full_refresh=False)
    server.when("create or replace", seconds=SECONDS)
    costs: dict[str, list[Cost]] = {}
    costs["a query of AIRFLOW_ASYNC"] = [
        query(
            DbtRunAirflowAsyncOperator(task_id="m", model_unique_id=each.unique_id, emit_datasets=False, **shared), each
        )
        for each in compiled_ones
    ]
    for how, warm in (("dbt run, LOCAL, warm", "auto"), ("dbt run, LOCAL, not warm", "off")):
        # The first command of a server imports dbt.
        for name in names[: bench.rounds + 1]:
            task = DbtRunLocalOperator(task_id="m", select=name, warm_dbt=warm, **of_dbt)
            costs.setdefault(how, []).append(by_dbt(task, dbt))
        costs[how] = costs[how][1:]
    server.close()
    rows = []
    for how, found in costs.items():
        slot, cpu = (median(getattr(each, name) for each in found) for name in ("slot", "cpu"))
        figures = f"CPU of the worker {cpu:.1f} s; slots for {HUNDRED} models {HUNDRED * slot / 60:.0f} min"
        rows.append(Row(how, figures, slot, unit="s of a slot"))
    what = f"compiling {HUNDRED} models once, before the queries"
    rows.append(Row(what, f"CPU of the worker {compiled.cpu:.1f} s", compiled.slot, unit="s of a slot"))
    return rows


if __name__ == "__main__":
    how, title = "Medians of {rounds} models.", f"Models as queries of BigQuery, each of {SECONDS:g} s"
    sys.exit(main("airflow-async", title, {"models": models}, rounds=5, how=how, description=__doc__))
