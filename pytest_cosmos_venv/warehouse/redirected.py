"""Redirection of the dbt tasks of a user's DAG to the DuckDB file of a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.warehouse.duckdb_warehouse import PROFILE, DuckDBWarehouse

_ADAPTER_OR_CORE = ("dbt-", "dbt_")
_SUBPROCESS = "subprocess"


@contextmanager
def redirected(work: Any, warehouse: DuckDBWarehouse, *, folder: Path) -> Iterator[None]:
    """Make the dbt tasks of a DAG, or one dbt operator, use a warehouse within the block.

    The tasks get the warehouse's profile and dbt in place of their own. A task that makes a virtual environment
    installs the warehouse's requirements instead of its dbt packages.

    :param work: the DAG, loaded or not, or the operator; it is changed, and restored at the end of the block.
    :param warehouse: the warehouse.
    :param folder: the folder in which virtual environments are made and kept, in one folder for each implementation.
    :raises ToolkitMisuse: the DAG has no dbt task.
    """
    tasks = [task for task in getattr(work, "tasks", [work]) if getattr(task, "profile_config", None) is not None]
    if not tasks:
        raise ToolkitMisuse(f"{work!r} has no task that runs dbt: there is nothing to lead to DuckDB.")
    virtualenv_dir = folder / type(tasks[0].profile_config).__module__.partition(".")[0]
    folder.mkdir(parents=True, exist_ok=True)  # astronomer-cosmos makes only the last folder of the path
    before: list[tuple[Any, str, Any]] = []
    try:
        for task in tasks:
            for name, value in _changes(task, warehouse, virtualenv_dir).items():
                before.append((task, name, getattr(task, name)))
                setattr(task, name, value)
        yield
    finally:
        for task, name, value in reversed(before):
            setattr(task, name, value)


def _changes(task: Any, warehouse: DuckDBWarehouse, virtualenv_dir: Path) -> Mapping[str, Any]:
    changes: dict[str, Any] = {
        # The ProfileConfig of the implementation that made the task.
        "profile_config": type(task.profile_config)(
            profile_name=PROFILE,
            target_name=warehouse.project.target,
            profiles_yml_filepath=warehouse.profiles_yml,
        )
    }
    if hasattr(task, "py_requirements"):
        others = [each for each in task.py_requirements or () if not each.lower().startswith(_ADAPTER_OR_CORE)]
        changes["py_requirements"] = [*warehouse.dbt.requirements, *others]
        changes["virtualenv_dir"] = virtualenv_dir
    elif hasattr(task, "dbt_executable_path"):
        changes["dbt_executable_path"] = str(warehouse.dbt.dbt)
        mode = getattr(task, "invocation_mode", None)
        if mode is not None:
            changes["invocation_mode"] = type(mode)(_SUBPROCESS)  # DBT_RUNNER would run the dbt beside Airflow
    return changes
