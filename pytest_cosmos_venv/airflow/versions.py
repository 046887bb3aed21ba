"""The interface to an Airflow, and which one this is.

Which Airflow is this? The only file of the room that asks; what differs is behind one interface.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from pytest_cosmos_venv.airflow.outcomes import EmittedAsset, TaskKey
from pytest_cosmos_venv.airflow_release import installed_airflow

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.variables import VariableStore


class Airflow(Protocol):
    """What the fixtures need of Airflow and what is another matter in each major version."""

    def prepare_runs(self) -> None:
        """Import and make what every run needs, without a thread or a connection, for processes that fork later."""

    def renew_after_fork(self) -> None:
        """Make anew what runs in threads, which the fork has not copied."""

    def make_known(self, dag: Any) -> None:
        """Write the DAG into the database, which a run of it takes for granted."""

    def test_arguments(self, logical_date: datetime | None, conf: Mapping[str, Any] | None) -> dict[str, Any]:
        """For ``dag.test()``."""

    def error_of(self, returned: Any) -> BaseException | None:
        """What ended a task, of what Airflow's function that ran it returned."""

    def execution(self) -> tuple[ModuleType, str]:
        """Module and name of Airflow's function that executes a task which is ready to."""

    def events_into(self, take: Callable[[str, dict[str, Any]], None]) -> AbstractContextManager[None]:
        """For the length of the block: log events that do not go through Python's logging also go to ``take``."""

    def instance_alone(self, task: Any, run_id: str, when: datetime) -> tuple[Any, Any]:
        """Task instance and DAG run of a task that is executed with nothing of Airflow around it."""

    def termination(self) -> type[BaseException] | None:
        """What it raises in a task that is told to end by SIGTERM; None where the task goes on."""

    def exported(self, context: Mapping[str, Any]) -> Mapping[str, str]:
        """What Airflow puts into the environment of a task with this context: ``AIRFLOW_CTX_DAG_ID`` and so on."""

    def xcoms(self, dag_id: str, run_id: str) -> Sequence[tuple[TaskKey, str, Any]]:
        """Task, key and value of each XCom of a run."""

    def assets(self, dag_id: str, run_id: str) -> Sequence[tuple[TaskKey, EmittedAsset]]:
        """The assets that tasks of a run have updated, in that order."""

    def variables_in(self, store: VariableStore) -> AbstractContextManager[None]:
        """For the length of the block: Variables are kept in ``store``."""


@cache
def this_airflow() -> Airflow:
    """The one that is installed. Imports Airflow on first use."""
    if (installed_airflow() or "").startswith("2."):
        from pytest_cosmos_venv.airflow.airflow2 import Airflow2

        return Airflow2()
    from pytest_cosmos_venv.airflow.airflow3 import Airflow3

    return Airflow3()
