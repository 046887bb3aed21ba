"""The snapshot of task ids: a task that gets another id loses its history, and nobody is told by Airflow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_cosmos_venv.dag_checks.record import DagRecord, Task
from pytest_cosmos_venv.errors import ToolkitMisuse

FOLDER = "cosmos-snapshots"
"""The folder of snapshots beside the DAG files."""
UPDATE = "--cosmos-update-snapshots"

Ids = Mapping[str, Mapping[str, "str | None"]]
"""DAG id -> task id -> what the task is for, such as ``model.harbor.mart run``; None where it is for no dbt node."""


def snapshot_file(dag_file: Path) -> Path:
    """Return the file of a DAG file's snapshot.

    :param dag_file: the DAG file.
    """
    return dag_file.parent / FOLDER / f"{dag_file.stem}.task_ids.json"


def ids_of(record: DagRecord) -> Ids:
    """Return the task ids of a file, in order.

    :param record: the record of the file.
    """
    return {
        dag: {name: _purpose(record.tasks[dag][name]) for name in sorted(record.tasks[dag])}
        for dag in sorted(record.tasks)
    }


def read_snapshot(dag_file: Path) -> Ids | None:
    """Return the ids that are stored; None where there is no snapshot.

    :param dag_file: the DAG file.
    :raises ToolkitMisuse: the snapshot cannot be read.
    """
    file = snapshot_file(dag_file)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["dags"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ToolkitMisuse(f"{file} is no snapshot of task ids: write it anew with {UPDATE}.") from None
    if not isinstance(found, dict) or not all(isinstance(tasks, dict) for tasks in found.values()):
        raise ToolkitMisuse(f"{file} is no snapshot of task ids: write it anew with {UPDATE}.")
    return found


def write_snapshot(dag_file: Path, ids: Ids) -> Path:
    """Store the ids, and return the file. It is not touched where it says the same already.

    :param dag_file: the DAG file.
    :param ids: the ids.
    """
    file = snapshot_file(dag_file)
    text = json.dumps({"dags": ids}, indent=2) + "\n"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return file


def differences(stored: Ids, now: Ids) -> list[str]:
    """Return a line for each id that has changed, is gone or is new.

    :param stored: the ids of the snapshot.
    :param now: the ids of the file.
    """
    return [*_of_dags(stored, now), *(line for dag in stored if dag in now for line in _of_dag(stored[dag], now[dag]))]


def _of_dags(stored: Ids, now: Ids) -> Iterator[str]:
    for dag in stored:
        if dag not in now:
            same = [name for name in now if name not in stored and set(now[name].values()) == set(stored[dag].values())]
            yield f"DAG renamed: {dag} -> {same[0]}" if same else f"DAG gone: {dag}"
    yield from (f"DAG new: {dag}" for dag in now if dag not in stored)


def _of_dag(stored: Mapping[str, str | None], now: Mapping[str, str | None]) -> Iterator[str]:
    gone = {name: stored[name] for name in stored if name not in now}
    new = {name: now[name] for name in now if name not in stored}
    for name, purpose in gone.items():
        same = [other for other, its in new.items() if its == purpose and purpose is not None]
        if same:
            del new[same[0]]
            yield f"renamed: {name} -> {same[0]} ({purpose}): its history stays under the old id"
        else:
            yield f"gone: {name} ({purpose or 'no dbt node'})"
    yield from (f"new: {name} ({purpose or 'no dbt node'})" for name, purpose in new.items())


def _purpose(task: Task) -> str | None:
    return None if task.node is None else f"{task.node} {task.command or task.kind}"
