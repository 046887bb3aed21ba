"""How is a DAG run with nothing of Airflow around its tasks? Each is executed in this process, after those before it.

This costs a tenth of ``dag.test()``. What Airflow itself makes of a task is not to be had: rendered templates, XComs,
assets, retries. Of its states there are those that follow from how the tasks end, as with the rule ``all_success``.
"""

from __future__ import annotations

import itertools
from typing import Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.airflow.outcomes import DagOutcome, TaskOutcome
from pytest_cosmos_venv.airflow.running import variables_kept
from pytest_cosmos_venv.airflow.task_log import TaskLog, listening
from pytest_cosmos_venv.airflow.told import context_alone, export
from pytest_cosmos_venv.airflow.versions import this_airflow
from pytest_cosmos_venv.errors import RecordDict

_NUMBERS = itertools.count(1)


def run_alone(dag: Any) -> DagOutcome:
    """Execute its tasks one after the other."""
    began, run_id = real_time.monotonic(), f"alone-{next(_NUMBERS)}"
    tasks: dict[str, TaskOutcome] = RecordDict(what="task of this run")
    for task in dag.topological_sort():
        before = {tasks[task_id].state for task_id in task.upstream_task_ids} - {"success"}
        if before:
            state = "skipped" if before == {"skipped"} else "upstream_failed"
            tasks[task.task_id] = TaskOutcome(task_id=task.task_id, state=state)
        else:
            tasks[task.task_id] = _execute(task, run_id)
    state = "success" if all(each.state in ("success", "skipped") for each in tasks.values()) else "failed"
    duration = real_time.monotonic() - began
    return DagOutcome(dag_id=dag.dag_id, run_id=run_id, logical_date=None, state=state, tasks=tasks, duration=duration)


def _execute(task: Any, run_id: str) -> TaskOutcome:
    airflow, log, began = this_airflow(), TaskLog(), real_time.monotonic()
    error: BaseException | None = None
    with variables_kept(), listening(log), airflow.events_into(log.take_event):
        context = context_alone(task, run_id)
        export(context)
        try:
            task.execute(context)
        except Exception as raised:  # noqa: BLE001 - whatever a task raises is what came of it
            error = raised
    is_skipped = error is not None and type(error).__name__ == "AirflowSkipException"
    return TaskOutcome(
        task_id=task.task_id,
        state="success" if error is None else "skipped" if is_skipped else "failed",
        exception=None if is_skipped else error,
        log=f"{log.text}{'' if error is None else f'{type(error).__name__}: {error}'}",
        tries=1,
        duration=real_time.monotonic() - began,
    )
