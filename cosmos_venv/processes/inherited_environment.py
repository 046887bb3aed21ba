"""The environment variables that a process started from code which Airflow runs inherits.

Airflow's DAG processor, workers and triggerer set variables for their own process before they run user code. A child
that inherits these variables is no such process: with the forbidden database address ``import airflow`` fails in it on
every Airflow 3 ("Could not parse SQLAlchemy URL"). In 0.2.0 no DAG file that asked dbt for its nodes was imported by a
real DAG processor for that reason.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_DATABASE = frozenset({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__SQL_ALCHEMY_CONN"})
# Airflow 3 in block_orm_access of its supervisor, Airflow 2 with [core] database_access_isolation.
_FORBIDDEN = frozenset({"airflow-db-not-allowed:///", "none://"})
# The side of Airflow that its process is on, the DAG and task that it parses a file for, the channel to its supervisor,
# and under run_as_user the whole order to the task. A child would take them for its own.
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


def leave_airflows_process() -> None:
    """Take the variables that Airflow has set for its own process out of this one, which a task of Airflow started."""
    for name, value in list(os.environ.items()):
        if _is_airflows_own(name, value):
            del os.environ[name]


def _is_airflows_own(name: str, value: str) -> bool:
    return name in _OF_ONE_PROCESS or (name in _DATABASE and value in _FORBIDDEN)
