"""The interface to an Airflow of either major version, and the one that is installed.

No other module of this folder asks for the version: ``airflow2`` and ``airflow3`` implement the interface.
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
    """The parts of Airflow that differ between its major versions, as far as the fixtures need them."""

    def prepare_runs(self) -> None:
        """Import modules and create objects that every run needs, without threads or connections, before processes
        fork.
        """

    def renew_after_fork(self) -> None:
        """Recreate the objects with threads of their own, because a fork copies no threads."""

    def shared_by_tasks(self) -> AbstractContextManager[None]:
        """Let all tasks of a run share the API server and the pydantic models that Airflow would make for each task."""

    def make_known(self, dag: Any) -> None:
        """Write the DAG into the database, where a run of the DAG expects it.

        :param dag: a DAG.
        """

    def test_arguments(self, logical_date: datetime | None, conf: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the arguments of ``dag.test()``.

        :param logical_date: the logical date of the run; None: the present.
        :param conf: the configuration of the run; None: none.
        """

    def error_of(self, returned: Any) -> BaseException | None:
        """Return the exception that ended a task; None where the task succeeded or the exception was raised.

        :param returned: the return value of Airflow's function that ran the task.
        """

    def execution(self) -> tuple[ModuleType, str]:
        """Return the function that executes a prepared task: its module and its name."""

    def events_into(self, take: Callable[[str, dict[str, Any]], None]) -> AbstractContextManager[None]:
        """Hand log events that do not go through Python's logging to a function, for the length of the block.

        :param take: the function; it gets level and event.
        """

    def instance_without_airflow(self, task: Any, run_id: str, when: datetime) -> tuple[Any, Any]:
        """Return task instance and DAG run of a task that is executed with nothing of Airflow around it.

        :param task: the operator.
        :param run_id: the id of the run.
        :param when: the moment of the run.
        """

    def termination(self) -> type[BaseException] | None:
        """Return the exception that is raised in a task when SIGTERM tells it to end; None where the task goes on."""

    def exported(self, context: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the variables that Airflow puts into the environment of a task: ``AIRFLOW_CTX_DAG_ID`` and so on.

        :param context: the context of the task.
        """

    def timetable_of(self, dag: Any) -> Any:
        """Return the timetable of a DAG, as a scheduler has it.

        :param dag: a DAG.
        """

    def xcoms(self, dag_id: str, run_id: str) -> Sequence[tuple[TaskKey, str, Any]]:
        """Return task, key and value of each XCom of a run.

        :param dag_id: the id of the DAG.
        :param run_id: the id of the run.
        """

    def assets(self, dag_id: str, run_id: str) -> Sequence[tuple[TaskKey, EmittedAsset]]:
        """Return the assets that tasks of a run have updated, in that order, each with its task.

        :param dag_id: the id of the DAG.
        :param run_id: the id of the run.
        """

    def variables_in(self, store: VariableStore) -> AbstractContextManager[None]:
        """Keep Variables in a store of the test, for the length of the block.

        :param store: the store.
        """


@cache
def this_airflow() -> Airflow:
    """Return the interface to the Airflow that is installed. Airflow is imported on first use."""
    if (installed_airflow() or "").startswith("2."):
        from pytest_cosmos_venv.airflow.airflow2 import Airflow2

        return Airflow2()
    from pytest_cosmos_venv.airflow.airflow3 import Airflow3

    return Airflow3()
