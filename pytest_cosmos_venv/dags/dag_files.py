"""Building DAG files, again and again, in this process.

``DagBag`` itself writes files and opens connections, which would count as side effects of the DAG file. So a file is
run as Airflow runs it, but without ``DagBag``.
"""

from __future__ import annotations

import re
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from pytest_cosmos_venv.airflow_release import installed_airflow
from pytest_cosmos_venv.errors import ToolkitMisuse

NAME_OF_DAG_FILE = "cosmos_dag_file"
"""``__name__`` of a file that ``file_builder`` builds."""
NO_DAG = "builds no DAG that Airflow would find"
# The frames of a traceback above the DAG file, which belong to this tool and to Python.
_OWN_FRAMES = re.compile(
    r'  File "(?:<frozen runpy>|[^"]*pytest_cosmos_venv/dag(?:s|_checks)/[^"]*|[^"]*/runpy\.py)".*\n(?:    .*\n)*'
)


def import_first(name: str, *modules: str) -> Any:
    """Return a class of Airflow from the first module that has it; its modules moved between Airflow 2 and 3.

    :param name: the name of the class.
    :param *modules: the modules, the newest first.
    :raises ToolkitMisuse: Airflow is not installed, or has no such class.
    """
    reasons = []
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            reasons.append(str(error))
    raise ToolkitMisuse(f"Airflow's {name} cannot be imported here: {reasons[-1]}.")


@cache
def processor_variables(airflow: str | None = None) -> Mapping[str, str]:
    """Return the environment variables that Airflow's DAG processor sets before it imports a DAG file.

    Airflow 3 forbids its database to user code: ``block_orm_access`` in ``airflow/sdk/execution_time/supervisor.py``.
    Since 3.1 ``_parse_file_entrypoint`` in ``airflow/dag_processing/processor.py`` says that the process is a client.
    Airflow 2 sets none.

    :param airflow: a release of Airflow, such as ``3.1.8``; None: the installed one.
    """
    release = Version(airflow or installed_airflow() or "0").release
    if release < (3,):
        return {}
    names = ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__SQL_ALCHEMY_CONN")
    context = {"_AIRFLOW_PROCESS_CONTEXT": "client"} if release >= (3, 1) else {}
    return {**dict.fromkeys(names, "airflow-db-not-allowed:///"), **context}


@contextmanager
def as_in_the_processor() -> Iterator[None]:
    """Set ``processor_variables`` within this block: a process that starts in it inherits them, as in Airflow."""
    variables = processor_variables()
    if variables:
        # The processor has imported Airflow before: with these variables its import fails, as in a child that inherits
        # them.
        import_module("airflow")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def built(build: Callable[[], list[Any]]) -> tuple[list[Any], str | None]:
    """Return the DAGs of a file, and why it cannot be imported; None where it can.

    :param build: the function that ``file_builder`` gives.
    """
    try:
        return build(), None
    except ToolkitMisuse as error:
        return [], None if NO_DAG in str(error) else str(error)
    except (Exception, SystemExit):  # noqa: BLE001 - a DAG file may raise anything
        return [], _OWN_FRAMES.sub("", traceback.format_exc())


@contextmanager
def file_builder(file: Path, dags_folder: Path | None = None) -> Iterator[Callable[[], list[Any]]]:
    """Yield a function that builds the DAGs of a file. During the block the file can import modules beside it.

    :param file: the DAG file.
    :param dags_folder: the folder from which it imports; None: its own.
    :raises ToolkitMisuse: when the function is called, and the file builds no DAG.
    """
    folder = str((dags_folder or file.parent).resolve())
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
    """Whether a value is a DAG, of any class.

    :param value: any value.
    """
    return hasattr(value, "task_dict") and hasattr(value, "dag_id") and not isinstance(value, type)


def _build(file: Path) -> list[Any]:
    with _registered() as registered, as_in_the_processor():
        variables = runpy.run_path(str(file), run_name=NAME_OF_DAG_FILE)
    dags = {id(value): value for value in (*variables.values(), *registered) if is_dag(value)}
    if not dags:
        raise ToolkitMisuse(f"{file} {NO_DAG}.")
    return list(dags.values())


@contextmanager
def _registered() -> Iterator[list[Any]]:
    """Collect the DAGs of ``with DAG(...):`` and of ``@dag``, which Airflow finds in no variable."""
    context = import_first("DagContext", "airflow.sdk.definitions._internal.contextmanager", "airflow.models.dag")
    found: list[Any] = []
    kept = context.current_autoregister_module_name, context.autoregistered_dags
    context.current_autoregister_module_name, context.autoregistered_dags = NAME_OF_DAG_FILE, set()
    try:
        yield found
        found.extend(sorted((dag for dag, _ in context.autoregistered_dags), key=lambda dag: str(dag.dag_id)))
    finally:
        context.current_autoregister_module_name, context.autoregistered_dags = kept
