"""Parsing a DAG file as a worker does for one task, in this process, with the worker's variables set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import DAG

_CONTEXT = "_AIRFLOW_PARSING_CONTEXT_{}_ID"


def parse_in_worker(monkeypatch: pytest.MonkeyPatch, dag_file: Path, dag_id: str, task_id: str) -> Any:
    """Parse a DAG file as a worker does for a task, and return the DAG after the worker has looked the task up."""
    from airflow.sdk.execution_time import task_runner

    with monkeypatch.context() as patch:
        patch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
        patch.setenv(_CONTEXT.format("DAG"), dag_id)
        patch.setenv(_CONTEXT.format("TASK"), task_id)
        dag = parse(dag_file, dag_id)
        # The lookup must come from task_runner.parse: cosmos-venv checks the calling module.
        code = compile("def parse():\n    return dag.task_dict[task_id]\n", task_runner.__file__, "exec")
        exec(code, names := {**vars(task_runner), "dag": dag, "task_id": task_id})  # noqa: S102
        names["parse"]()
        return dag


def parse(dag_file: Path, dag_id: str) -> Any:
    """Parse a DAG file as Airflow's DAG processor does, and return the DAG."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef, unused-ignore]
    bag = DagBag(dag_folder=dag_file, safe_mode=False, load_op_links=False)
    assert not bag.import_errors, bag.import_errors
    return bag.dags[dag_id]


def made_of(dag: DAG) -> set[str]:
    """Ids of the tasks that exist already; the lookup does not create further tasks."""
    return {task.task_id for task in dict.values(dag.task_dict)}
