"""The environment variables that a child process inherits from code that Airflow runs.

Airflow's DAG processor, workers and triggerer set variables for their own process before they run user code. A child
that inherits these variables is no such process. On every Airflow 3 ``import airflow`` fails in it with the forbidden
database address ("Could not parse SQLAlchemy URL"). So in 0.2.0 a real DAG processor could import no DAG file that
asked dbt for its nodes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping

_DATABASE = frozenset({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__SQL_ALCHEMY_CONN"})
# Airflow 3 in block_orm_access of its supervisor, Airflow 2 with [core] database_access_isolation.
_FORBIDDEN = frozenset({"airflow-db-not-allowed:///", "none://"})
# These give the side of Airflow that its process is on, the DAG and task that it parses a file for, and the channel to
# its supervisor. Under run_as_user one of them holds the whole order to the task. A child would take them for its own.
_OF_ONE_PROCESS = frozenset(
    {
        "_AIRFLOW_PROCESS_CONTEXT",
        "_AIRFLOW_PARSING_CONTEXT_DAG_ID",
        "_AIRFLOW_PARSING_CONTEXT_TASK_ID",
        "_AIRFLOW__REEXECUTED_PROCESS",
        "_AIRFLOW__STARTUP_MSG",
        "_AIRFLOW_FORK_EXEC",
        "__AIRFLOW_SUPERVISOR_FD",
    }
)


def inherited_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables without those that Airflow has set for its own process.

    A database address that a deployment gave by a variable is not put back: Airflow 3 keeps it from user code.

    :param environ: those of this process.
    """
    return {name: value for name, value in environ.items() if not _is_airflows_own(name, value)}


def without_user_code(environ: Mapping[str, str], folders: Collection[str]) -> dict[str, str]:
    """Return the variables for a dbt: without the folders of DAG files on ``PYTHONPATH``.

    dbt imports each top-level module whose name begins with ``dbt_`` as a plugin. A DAG file ``dbt_orders.py`` is no
    plugin.

    :param environ: the variables.
    :param folders: as for ``outside_of``.
    """
    if "PYTHONPATH" not in environ:
        return dict(environ)
    kept = outside_of(environ["PYTHONPATH"].split(os.pathsep), folders)
    return {**environ, "PYTHONPATH": os.pathsep.join(kept)}


def outside_of(path: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Return the entries of a search path that are not among the folders.

    :param path: such as ``sys.path``.
    :param folders: folders of the user's code.
    """
    excluded = {os.path.realpath(folder) for folder in folders}
    return [entry for entry in path if not entry or os.path.realpath(entry) not in excluded]


def leave_airflows_process() -> None:
    """Remove the variables that Airflow has set for its task process from this process, which the task has started."""
    for name, value in list(os.environ.items()):
        if _is_airflows_own(name, value):
            del os.environ[name]


def _is_airflows_own(name: str, value: str) -> bool:
    return name in _OF_ONE_PROCESS or (name in _DATABASE and value in _FORBIDDEN)
