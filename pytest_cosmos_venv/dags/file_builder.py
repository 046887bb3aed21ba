"""How is a DAG file built again and again in this process? As Airflow does it, without what Airflow does besides.

``DagBag``, which the command asks, writes and connects itself: that would count as the file's own doing.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.dags.airflow_names import first_of
from pytest_cosmos_venv.errors import ToolkitMisuse

_MODULE = "cosmos_dag_file"


@contextmanager
def file_builder(file: Path) -> Iterator[Callable[[], list[Any]]]:
    """What builds the DAGs of the file; for the length of the block it can import what lies beside it.

    :raises ToolkitMisuse: when it is called: the file builds no DAG.
    """
    folder = str(file.resolve().parent)
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield lambda: _build(file)
    finally:
        sys.path.remove(folder)
        # The next test may have a file of the same name elsewhere.
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None)).startswith(f"{folder}/"):
                del sys.modules[name]


def is_dag(value: Any) -> bool:
    """Is it a DAG, of whatever class?"""
    return hasattr(value, "task_dict") and hasattr(value, "dag_id") and not isinstance(value, type)


def _build(file: Path) -> list[Any]:
    with _registered() as registered:
        variables = runpy.run_path(str(file), run_name=_MODULE)
    dags = {id(value): value for value in (*variables.values(), *registered) if is_dag(value)}
    if not dags:
        raise ToolkitMisuse(f"{file} builds no DAG that Airflow would find.")
    return list(dags.values())


@contextmanager
def _registered() -> Iterator[list[Any]]:
    """The DAGs of ``with DAG(...):`` and of ``@dag``, which Airflow finds in no variable."""
    context = first_of("DagContext", "airflow.sdk.definitions._internal.contextmanager", "airflow.models.dag")
    found: list[Any] = []
    kept = context.current_autoregister_module_name, context.autoregistered_dags
    context.current_autoregister_module_name, context.autoregistered_dags = _MODULE, set()
    try:
        yield found
        found.extend(sorted((dag for dag, _ in context.autoregistered_dags), key=lambda dag: str(dag.dag_id)))
    finally:
        context.current_autoregister_module_name, context.autoregistered_dags = kept
