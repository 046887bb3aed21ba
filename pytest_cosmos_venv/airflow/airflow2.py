"""How is it done on Airflow 2 (2.10 and later)?"""

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
    """See ``versions.Airflow``."""

    def prepare_runs(self) -> None:
        from airflow.models import dag, dataset, taskinstance, xcom  # type: ignore[attr-defined, unused-ignore] # noqa: F401
        from sqlalchemy.orm import configure_mappers

        configure_mappers()

    def renew_after_fork(self) -> None:
        """It has no threads."""

    def make_known(self, dag: Any) -> None:
        """Without it the datasets of a DAG have no rows, and Airflow drops their events."""
        dag.sync_to_db()

    def test_arguments(self, logical_date: datetime | None, conf: Mapping[str, Any] | None) -> dict[str, Any]:
        return {"execution_date": logical_date, "run_conf": conf}

    def error_of(self, returned: Any) -> BaseException | None:  # noqa: ARG002 - the interface is for both
        """It is raised, not returned."""
        return None

    def execution(self) -> tuple[ModuleType, str]:
        from airflow.models import taskinstance

        return taskinstance, "_execute_task"

    def events_into(self, take: Callable[[str, dict[str, Any]], None]) -> AbstractContextManager[None]:  # noqa: ARG002
        """Everything goes through Python's logging."""
        return nullcontext()

    def instance_alone(self, task: Any, run_id: str, when: datetime) -> tuple[Any, Any]:
        """Rows that no database has seen."""
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
        """No ``except Exception`` catches it, but in the releases that have no class for it."""
        from airflow import exceptions

        errors: Any = exceptions
        kind: type[BaseException] = getattr(errors, "AirflowTaskTerminated", errors.AirflowException)
        return kind

    def exported(self, context: Mapping[str, Any]) -> Mapping[str, str]:
        from airflow.utils import operator_helpers

        variables: Mapping[str, str] = cast("Any", operator_helpers).context_to_airflow_vars(
            context, in_env_var_format=True
        )
        return variables

    def xcoms(self, dag_id: str, run_id: str) -> Sequence[tuple[TaskKey, str, Any]]:
        from airflow.models.xcom import XCom
        from airflow.utils.session import create_session

        model: Any = XCom
        with create_session() as session:
            # Columns: a whole row is deserialised when it is loaded, without asking a custom backend.
            query = session.query(model.dag_id, model.run_id, model.task_id, model.map_index, model.key, model.value)
            rows = query.filter_by(dag_id=dag_id, run_id=run_id).all()
            return [(TaskKey(row.task_id, row.map_index), row.key, model.deserialize_value(row)) for row in rows]

    def assets(self, dag_id: str, run_id: str) -> Sequence[tuple[TaskKey, EmittedAsset]]:
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
        """Airflow reads through its secrets backends, the last of which is the database, and writes to the database."""
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
    """As SQLAlchemy raises it when the database is gone."""
    from sqlalchemy.exc import OperationalError

    return OperationalError(f"{verb} ... variable", {}, sqlite3.OperationalError("cosmos_variables.outage()"))
