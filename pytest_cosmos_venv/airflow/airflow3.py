"""The interface on Airflow 3."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from pytest_cosmos_venv.airflow.outcomes import EmittedAsset, TaskKey

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.variables import VariableStore


_BUNDLE = "dags-folder"
_NEEDED_BY_RUNS = (
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.bundles.manager",
    "airflow.dag_processing.dagbag",  # since 3.2
    "airflow.models.dagbag",
    "airflow.models.renderedtifields",
    "airflow.models.xcom",
    "airflow.sdk.execution_time.task_runner",
    "airflow.serialization.serialized_objects",
)
_OF_THE_PARENT: list[object] = []


class Airflow3:
    """The interface ``versions.Airflow`` on Airflow 3."""

    def prepare_runs(self) -> None:
        """Import the modules of a run, create the in-process API server, and send it a first request.

        These steps take most of the time. The request runs in this thread, since the server's own thread would not
        survive a fork.
        """
        import asyncio
        from importlib import import_module
        from importlib.util import find_spec

        import httpx
        from airflow.sdk.execution_time import supervisor
        from sqlalchemy.orm import configure_mappers

        for name in _NEEDED_BY_RUNS:
            if find_spec(name) is not None:
                import_module(name)
        configure_mappers()
        api = supervisor.in_process_api_server()

        async def ask() -> None:
            # The path does not exist: the server would call the function of an existing path in a thread.
            async with httpx.AsyncClient(transport=api.atransport, base_url="http://in-process/") as client:
                await client.get("nowhere")

        asyncio.run(ask())

    def renew_after_fork(self) -> None:
        """Create the API server anew from Airflow 3.3 on, where Airflow keeps it with its thread.

        Before 3.3, ``shared_by_tasks`` keeps the server for one run.
        """
        from airflow.sdk.execution_time import supervisor

        server: Any = supervisor.in_process_api_server
        if not hasattr(server, "cache_info") or not server.cache_info().currsize:
            return
        former = server()
        # Kept alive: when Python freed the server, it would wait for its thread, which the fork has not copied.
        _OF_THE_PARENT.append(former)
        server.cache_clear()
        server()._app = former.app

    @contextmanager
    def shared_by_tasks(self) -> Iterator[None]:
        """Let all tasks of a run share one API server and one model that checks template fields, during the block.

        Airflow 3.3 keeps its API server by itself. Earlier releases make a server for each task: it takes seconds, and
        leaves a thread.
        """
        from airflow.sdk.execution_time import supervisor, task_runner

        server: Any = supervisor.in_process_api_server
        with ExitStack() as stack:
            if not hasattr(server, "cache_info"):
                stack.enter_context(mock.patch.object(supervisor, "in_process_api_server", functools.cache(server)))
            # Airflow makes the model anew for each template field: for a dbt task that is five milliseconds.
            if hasattr(task_runner, "TypeAdapter"):
                model = functools.cache(task_runner.TypeAdapter)
                stack.enter_context(mock.patch.object(task_runner, "TypeAdapter", model))
            yield

    def make_known(self, dag: Any) -> None:
        """Write the row of a DAG into the database. Without it Airflow refuses a DAG that is in no dags folder, as "not
        serialized".

        :param dag: a DAG.
        """
        from airflow.dag_processing.bundles.manager import DagBundlesManager

        manager: Any = DagBundlesManager
        manager().sync_bundles_to_db()
        if dag.relative_fileloc is None:
            dag.relative_fileloc = dag.fileloc  # as Airflow does it when it imports a file; 3.0 cannot do without
        bag = SimpleNamespace(
            dags={dag.dag_id: dag},
            import_errors={},
            dag_warnings=set(),
            bundle_path=None,
            file_last_changed={},
            dag_source_codes={},  # 3.4 reads the source of a DAG that is not there from its file
        )
        _sync_bag()(bag, _BUNDLE, None)

    def test_arguments(self, logical_date: datetime | None, conf: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the arguments of ``dag.test()``.

        :param logical_date: the logical date of the run; None: the present.
        :param conf: the configuration of the run; None: none.
        """
        # Passing None would mean a run without a logical date.
        return {"run_conf": conf, **({} if logical_date is None else {"logical_date": logical_date})}

    def error_of(self, returned: Any) -> BaseException | None:
        """Return the exception that ended a task; None where it succeeded.

        :param returned: the return value of Airflow's function that ran the task.
        """
        error: BaseException | None = getattr(returned, "error", None)
        return error

    def execution(self) -> tuple[ModuleType, str]:
        """Return module and name of the function that executes a task."""
        from airflow.sdk.execution_time import task_runner

        return task_runner, "_execute_task"

    @contextmanager
    def events_into(self, take: Callable[[str, dict[str, Any]], None]) -> Iterator[None]:
        """Hand the events of structlog, through which a task logs, to a function.

        Every logger shares one list of processors; the last one writes.

        :param take: the function; it gets level and event.
        """
        import structlog

        def tee(_: Any, level: str, event: Any) -> Any:
            # Skip the log of Airflow's API server, which runs in this process: its events have a correlation id.
            if "correlation_id" not in event:
                take(level, dict(event))
            return event

        processors: list[Any] = structlog.get_config()["processors"]
        processors.insert(max(len(processors) - 1, 0), tee)
        try:
            yield
        finally:
            if tee in processors:
                processors.remove(tee)

    def instance_without_airflow(self, task: Any, run_id: str, when: datetime) -> tuple[Any, Any]:
        """Return stand-ins for task instance and DAG run: only the task runner has real ones.

        :param task: the operator.
        :param run_id: the id of the run.
        :param when: the moment of the run.
        """

        run = SimpleNamespace(
            dag_id=task.dag_id,
            run_id=run_id,
            logical_date=when,
            run_after=when,
            start_date=when,
            end_date=None,
            data_interval_start=when,
            data_interval_end=when,
            run_type="manual",
            state="running",
            conf={},
            clear_number=0,
            consumed_asset_events=[],
        )
        return StandInTaskInstance(task=task, run_id=run_id, start_date=when), run

    def termination(self) -> type[BaseException] | None:
        """Return None: a task goes on."""
        return None

    def exported(self, context: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the variables that Airflow puts into the environment of a task.

        :param context: the context of the task.
        """
        from airflow.sdk.execution_time.context import context_to_airflow_vars

        return context_to_airflow_vars(context, in_env_var_format=True)

    def timetable_of(self, dag: Any) -> Any:
        """Return the timetable of a DAG, as a scheduler has it.

        :param dag: a DAG.
        """
        try:
            from airflow.serialization.encoders import coerce_to_core_timetable
        except ImportError:  # up to 3.1 there is one kind of timetable
            return dag.timetable
        return coerce_to_core_timetable(dag.timetable)

    def xcoms(self, dag_id: str, run_id: str) -> Sequence[tuple[TaskKey, str, Any]]:
        """Return task, key and value of each XCom of a run.

        :param dag_id: the id of the DAG.
        :param run_id: the id of the run.
        """
        from airflow.models.xcom import XComModel
        from airflow.sdk.execution_time.xcom import XCom
        from airflow.utils.session import create_session

        with create_session() as session:
            rows: Any = session.query(XComModel).filter_by(dag_id=dag_id, run_id=run_id).all()
            return [(TaskKey(row.task_id, row.map_index), row.key, XCom.deserialize_value(row)) for row in rows]

    def assets(self, dag_id: str, run_id: str) -> Sequence[tuple[TaskKey, EmittedAsset]]:
        """Return the assets that tasks of a run have updated, each with its task.

        :param dag_id: the id of the DAG.
        :param run_id: the id of the run.
        """
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session

        with create_session() as session:
            found: Any = session.query(AssetEvent).filter_by(source_dag_id=dag_id, source_run_id=run_id)
            return [
                (
                    TaskKey(event.source_task_id, event.source_map_index),
                    EmittedAsset(name=event.asset.name, uri=event.asset.uri, extra=dict(event.extra or {})),
                )
                for event in found.order_by(AssetEvent.id)
            ]

    @contextmanager
    def variables_in(self, store: VariableStore) -> Iterator[None]:
        """Keep Variables in a store of the test, for the length of the block.

        A task asks its supervisor for Variables, over a channel. During the block the test has such a channel too.

        :param store: the store.
        """
        from airflow.sdk.execution_time import supervisor, task_runner

        channel = _Channel(store)
        real = supervisor.InProcessSupervisorComms.send

        def send(comms: Any, msg: Any) -> Any:
            return channel.answer(msg) if channel.knows(msg) else real(comms, msg)

        with (
            mock.patch.object(supervisor.InProcessSupervisorComms, "send", send),
            mock.patch.object(task_runner, "SUPERVISOR_COMMS", channel, create=True),
        ):
            yield


class _Channel:
    """A channel that answers as a task's supervisor does, for Variables only.

    :param store: the Variables.
    """

    def __init__(self, store: VariableStore) -> None:
        from airflow.sdk.execution_time import comms

        self._store = store
        self._answers: dict[str, Callable[[Any], Any]] = {
            "GetVariable": self._get,
            "PutVariable": self._put,
            "DeleteVariable": self._delete,
            "GetVariableKeys": self._keys,
        }
        self._comms: Any = comms

    def knows(self, msg: Any) -> bool:
        return type(msg).__name__ in self._answers

    def answer(self, msg: Any) -> Any:
        return self._answers[type(msg).__name__](msg)

    def send(self, msg: Any) -> Any:
        # Outside of a task only Variables are answered, and there is no log in which to mask a secret.
        if self.knows(msg):
            return self.answer(msg)
        return None if type(msg).__name__ == "MaskSecret" else self._error("GENERIC_ERROR", {"message": "no task runs"})

    async def asend(self, msg: Any) -> Any:
        return self.send(msg)

    def _get(self, msg: Any) -> Any:
        if self._store.reads_are_denied:
            return self._error(
                "PERMISSION_DENIED", {"status_code": 403, "message": "cosmos_airflow.variables.outage(denied=True)"}
            )
        value = self._store.read(msg.key, failure=self._outage())
        if value is None:
            return self._error("VARIABLE_NOT_FOUND", {"key": msg.key})
        return self._comms.VariableResult(key=msg.key, value=value)

    def _put(self, msg: Any) -> None:
        self._store.write(msg.key, msg.value, failure=self._outage())

    def _delete(self, msg: Any) -> Any:
        self._store.delete(msg.key, failure=self._outage())
        return self._comms.OKResponse(ok=True)

    def _keys(self, msg: Any) -> Any:
        keys = [key for key in self._store.keys(failure=self._outage()) if key.startswith(msg.prefix or "")]
        page = keys[msg.offset : msg.offset + msg.limit]
        return self._comms.VariableKeysResult(keys=page, total_entries=len(keys))

    def _outage(self) -> Exception:
        """Return the error that the channel raises when the API server cannot be reached or fails."""
        from airflow.sdk.exceptions import AirflowRuntimeError

        detail = {"status_code": 503, "message": "cosmos_airflow.variables.outage()"}
        return AirflowRuntimeError(self._error("API_SERVER_ERROR", detail))

    def _error(self, kind: str, detail: dict[str, Any]) -> Any:
        from airflow.sdk.exceptions import ErrorType

        known = ErrorType.__members__.get(kind, ErrorType.GENERIC_ERROR)  # not each release has all of them
        return self._comms.ErrorResponse(error=known, detail=detail)


def _sync_bag() -> Callable[..., None]:
    try:
        from airflow.dag_processing.dagbag import sync_bag_to_db
    except ImportError:  # 3.1 has it elsewhere, 3.0 as a method
        from airflow.models import dagbag

        module: Any = dagbag
        return getattr(module, "sync_bag_to_db", None) or module.DagBag.sync_to_db  # type: ignore[no-any-return]
    return sync_bag_to_db


@dataclass
class StandInTaskInstance:
    """The part of a task instance for which a task may ask; on Airflow 3 only the task runner has real ones.

    :param task: the operator.
    :param run_id: the id of the run.
    :param start_date: the moment at which the try began.
    :param try_number: the number of the try, from 1.
    :param map_index: the index of a mapped task; -1: it is not mapped.
    :param hostname: the name of the host.
    :param state: the state, as Airflow names it.
    :param end_date: None: the task still runs.
    :param xcom_push: a function with the arguments of Airflow's method of this name.
    :param xcom_pull: a function with the arguments of Airflow's method of this name.
    :param get_template_context: a function that returns the context.
    """

    task: Any
    run_id: str
    start_date: datetime
    try_number: int = 1
    map_index: int = -1
    hostname: str = "localhost"
    state: str = "running"
    end_date: datetime | None = None
    xcom_push: Any = None
    xcom_pull: Any = None
    get_template_context: Any = field(default=None, repr=False)

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return str(self.task.task_id)

    @property
    def dag_id(self) -> str:
        """The id of the DAG."""
        return str(self.task.dag_id)

    @property
    def max_tries(self) -> int:
        """The number of retries that the task has."""
        return int(self.task.retries or 0)
