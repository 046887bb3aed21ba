"""The interface on Airflow 2, from 2.10 on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

from pytest_cosmos_venv.airflow.outcomes import EmittedAsset, TaskKey

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.variables import VariableStore


class Airflow2:
    """The interface ``versions.Airflow`` on Airflow 2."""

    def prepare_runs(self) -> None:
        """Import the models, and have SQLAlchemy connect them."""
        from airflow.models import dag, dataset, taskinstance, xcom  # type: ignore[attr-defined, unused-ignore] # noqa: F401
        from sqlalchemy.orm import configure_mappers

        configure_mappers()

    def renew_after_fork(self) -> None:
        """Do nothing: this Airflow has no threads."""

    def shared_by_tasks(self) -> AbstractContextManager[None]:
        """Return a block that changes nothing: these tasks ask the database and check no template fields."""
        return nullcontext()

    def make_known(self, dag: Any) -> None:
        """Write the DAG into the database; else its datasets have no rows, and Airflow drops their events.

        :param dag: a DAG.
        """
        dag.sync_to_db()

    def test_arguments(self, logical_date: datetime | None, conf: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the arguments of ``dag.test()``.

        :param logical_date: the logical date of the run; None: the present.
        :param conf: the configuration of the run; None: none.
        """
        return {"execution_date": logical_date, "run_conf": conf}

    def error_of(self, returned: Any) -> BaseException | None:  # noqa: ARG002 - the interface is for both
        """Return None: the exception of a task is raised, not returned.

        :param returned: has no effect.
        """
        return None

    def execution(self) -> tuple[ModuleType, str]:
        """Return module and name of the function that executes a task."""
        from airflow.models import taskinstance

        return taskinstance, "_execute_task"

    def events_into(self, take: Callable[[str, dict[str, Any]], None]) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing: everything goes through Python's logging.

        :param take: has no effect.
        """
        return nullcontext()

    def instance_without_airflow(self, task: Any, run_id: str, when: datetime) -> tuple[Any, Any]:
        """Return task instance and DAG run as rows that no database has seen.

        :param task: the operator.
        :param run_id: the id of the run.
        :param when: the moment of the run.
        """
        from airflow.models import TaskInstance
        from airflow.models.dagrun import DagRun

        instance, run = cast("Any", TaskInstance)(task, run_id=run_id, state="running"), cast("Any", DagRun)
        instance.try_number, instance.start_date = 1, when
        instance.dag_run = run(
            task.dag_id,
            run_id,
            execution_date=when,
            start_date=when,
            external_trigger=True,
            conf={},
            state="running",
            run_type="manual",
            data_interval=(when, when),
        )
        return instance, instance.dag_run

    def termination(self) -> type[BaseException] | None:
        """Return ``AirflowTaskTerminated``, which no ``except Exception`` catches; ``AirflowException`` in releases
        without it.
        """
        from airflow import exceptions

        errors: Any = exceptions
        kind: type[BaseException] = getattr(errors, "AirflowTaskTerminated", errors.AirflowException)
        return kind

    def exported(self, context: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the variables that Airflow puts into the environment of a task.

        :param context: the context of the task.
        """
        from airflow.utils import operator_helpers

        variables: Mapping[str, str] = cast("Any", operator_helpers).context_to_airflow_vars(
            context, in_env_var_format=True
        )
        return variables

    def timetable_of(self, dag: Any) -> Any:
        """Return the timetable of a DAG, as a scheduler has it.

        :param dag: a DAG.
        """
        return dag.timetable

    def xcoms(self, dag_id: str, run_id: str) -> Sequence[tuple[TaskKey, str, Any]]:
        """Return task, key and value of each XCom of a run.

        :param dag_id: the id of the DAG.
        :param run_id: the id of the run.
        """
        from airflow.models.xcom import XCom
        from airflow.utils.session import create_session

        model: Any = XCom
        with create_session() as session:
            # Select columns: loading a whole row would deserialise the value without asking a custom XCom backend.
            query = session.query(model.dag_id, model.run_id, model.task_id, model.map_index, model.key, model.value)
            rows = query.filter_by(dag_id=dag_id, run_id=run_id).all()
            return [(TaskKey(row.task_id, row.map_index), row.key, model.deserialize_value(row)) for row in rows]

    def assets(self, dag_id: str, run_id: str) -> Sequence[tuple[TaskKey, EmittedAsset]]:
        """Return the datasets that tasks of a run have updated, each with its task.

        :param dag_id: the id of the DAG.
        :param run_id: the id of the run.
        """
        from airflow.models.dataset import DatasetEvent  # type: ignore[import-not-found, unused-ignore]
        from airflow.utils.session import create_session

        with create_session() as session:
            found = session.query(DatasetEvent).filter_by(source_dag_id=dag_id, source_run_id=run_id)
            return [
                (
                    TaskKey(event.source_task_id, event.source_map_index),
                    EmittedAsset(name=event.dataset.uri, uri=event.dataset.uri, extra=dict(event.extra or {})),
                )
                for event in found.order_by(DatasetEvent.id)
            ]

    @contextmanager
    def variables_in(self, store: VariableStore) -> Iterator[None]:
        """Keep Variables in a store of the test, for the length of the block.

        Airflow reads through its secrets backends, the last of which is the database, and writes to the database.

        :param store: the store.
        """
        from airflow.models.variable import Variable
        from airflow.secrets.metastore import MetastoreBackend

        def get(_: Any, key: str, *__: Any, **___: Any) -> str | None:
            return store.read(key, failure=_outage("SELECT"))

        def write(key: str, value: Any, description: str | None = None, serialize_json: bool = False, **_: Any) -> None:
            del description
            text = json.dumps(value, indent=2) if serialize_json else str(value)
            store.write(key, text, failure=_outage("INSERT"))

        def update(key: str, value: Any, serialize_json: bool = False, **_: Any) -> None:
            if Variable.get_variable_from_secrets(key=key) is None:
                raise KeyError(f"Variable {key} does not exist")
            write(key, value, serialize_json=serialize_json)

        def delete(key: str, **_: Any) -> int:
            return int(store.delete(key, failure=_outage("DELETE")))

        with (
            mock.patch.object(MetastoreBackend, "get_variable", get),
            mock.patch.object(Variable, "set", staticmethod(write)),
            mock.patch.object(Variable, "update", staticmethod(update)),
            mock.patch.object(Variable, "delete", staticmethod(delete)),
        ):
            yield


def _outage(verb: str) -> Exception:
    """Return the error that SQLAlchemy raises when the database is gone."""
    from sqlalchemy.exc import OperationalError

    return OperationalError(f"{verb} ... variable", {}, sqlite3.OperationalError("cosmos_airflow.variables.outage()"))
