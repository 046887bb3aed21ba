"""Tries of tasks in child processes, which can be killed for real, and the scheduler's work after a worker has died.

The scheduler misses the heartbeat and fails the try, which may be retried. The callback is then called in another
process than the task's. ``dag.test()`` has no scheduler, so this module calls the same functions of Airflow.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, TypeVar
from unittest import mock

from pytest_cosmos_venv.airflow.home import prepare_this_process
from pytest_cosmos_venv.airflow.outcomes import portable
from pytest_cosmos_venv.airflow.task_log import TaskLog
from pytest_cosmos_venv.airflow_release import installed_airflow
from pytest_cosmos_venv.fake_dbt.whole_writes import write_whole

_Value = TypeVar("_Value")
RunInChild = Callable[[Callable[[], Any]], Any]
_RETRY_CALLBACK_SINCE = (3, 3)
"""Earlier releases of Airflow 3 call ``on_failure_callback`` for each lost worker, even if a retry follows."""

_NOT_BEGUN = ("scheduled", "queued")


@contextmanager
def tries_carried_by(carrier: Callable[[], RunInChild | None]) -> Iterator[None]:
    """Let tries of tasks run in child processes within the block.

    :param carrier: called before each try; it returns the function that runs the try in a child process, or None to
        run the try in this process.
    """
    if (installed_airflow() or "").startswith("2."):
        with _tries_of_airflow_2(carrier):
            yield
    else:
        with _tries_of_airflow_3(carrier):
            yield


@contextmanager
def _tries_of_airflow_3(carrier: Callable[[], RunInChild | None]) -> Iterator[None]:
    from airflow.sdk.execution_time import supervisor

    real = supervisor.run_task_in_process

    def run(ti: Any, task: Any, **options: Any) -> Any:
        run_in_child = carrier()
        if run_in_child is None:
            return real(ti=ti, task=task, **options)

        def work() -> tuple[Any, Any, BaseException | None]:
            done = real(ti=ti, task=task, **options)
            return done.ti.state, _pickled_or_none(done.msg), done.error and portable(done.error)

        try:
            state, message, error = run_in_child(work)
        except WorkerLost as lost:
            state, message, error = _settle_airflow_3(ti, task, str(lost)), None, lost
        return SimpleNamespace(ti=SimpleNamespace(state=state, task=task), msg=message, error=error)

    with mock.patch.object(supervisor, "run_task_in_process", run):
        yield


def _pickled_or_none(value: Any) -> Any:
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001 - pickling raises whatever the object does
        return None
    return value


def _settle_airflow_3(ti: Any, task: Any, error: str) -> Any:
    """Fail the try of a lost worker, and have its callback called; return the state of the task."""
    import structlog
    from airflow.dag_processing import processor
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
    with create_session() as session:
        row: Any = session.query(TaskInstance).filter_by(**place).one()
        request = _callback_request(row, error)
        row.task = _scheduler_operator(task)
        row.handle_failure(error=error, session=session)
        state = row.state
    processors: Any = processor
    bag = SimpleNamespace(dags={task.dag_id: task.dag})
    processors._execute_task_callbacks(bag, request, structlog.get_logger("airflow.processor"))
    return state


def _scheduler_operator(task: Any) -> Any:
    """Return the scheduler's form of an operator; Airflow 3.0 has only one form of operators."""
    from airflow.serialization import serialized_objects

    make = getattr(serialized_objects, "create_scheduler_operator", None)
    return task if make is None else make(task)


def _callback_request(row: Any, error: str) -> Any:
    """Return the request of the scheduler for a callback, before the row is changed."""
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun, TIRunContext
    from airflow.callbacks.callback_requests import TaskCallbackRequest

    version = row.dag_version
    options: dict[str, Any] = {}
    if tuple(map(int, (installed_airflow() or "").split(".")[:2])) >= _RETRY_CALLBACK_SINCE:
        is_retried = row.max_tries > 0 and row.try_number <= row.max_tries
        options["task_callback_type"] = "up_for_retry" if is_retried else "failed"
    return TaskCallbackRequest(
        filepath=row.dag_model.relative_fileloc or "",
        bundle_name=version.bundle_name if version else "dags-folder",
        bundle_version=None,
        ti=row,
        msg=error,
        context_from_server=TIRunContext(
            dag_run=DagRun.model_validate(row.dag_run, from_attributes=True),
            max_tries=row.max_tries,
            variables=[],
            connections=[],
            xcom_keys_to_clear=[],
        ),
        **options,
    )


@contextmanager
def _tries_of_airflow_2(carrier: Callable[[], RunInChild | None]) -> Iterator[None]:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    model: Any = TaskInstance
    run_model: Any = DagRun
    real = model._run_raw_task

    def run(ti: Any, *arguments: Any, session: Any, **options: Any) -> Any:
        run_in_child = None if options.get("mark_success") else carrier()
        if run_in_child is None:
            return real(ti, *arguments, session=session, **options)
        run_key, key, task = {"dag_id": ti.dag_id, "run_id": ti.run_id}, (ti.task_id, ti.map_index), ti.task
        # Saving a row needs the table of users, which this provider maps. Import it here, once for all children.
        if find_spec("airflow.providers.fab") is not None:
            import_module("airflow.providers.fab.auth_manager.models")
        # Uncommitted changes of this process would keep the database locked for the child.
        session.commit()

        def work() -> Any:
            with create_session() as own:
                # The same query as in dag.test(): other queries would load rows of tables that are not mapped.
                rows = own.query(run_model).filter_by(**run_key).one().get_task_instances(session=own)
                row = next(each for each in rows if (each.task_id, each.map_index) == key)
                row.task = task
                return _pickled_or_none(real(row, *arguments, session=own, **options))

        try:
            return run_in_child(work)
        except WorkerLost as lost:
            session.expire_all()
            ti.refresh_from_db(session=session)
            ti.task = task
            ti.handle_failure(error=str(lost), session=session)
            session.commit()
            raise
        except Exception:
            # dag.test() would run a task that stays scheduled again and again, for ever.
            session.expire_all()
            ti.refresh_from_db(session=session)
            if str(ti.state) in _NOT_BEGUN:
                ti.set_state("failed", session=session)
                session.commit()
            raise
        finally:
            session.expire_all()
            ti.refresh_from_db(session=session)
            ti.task = task

    with mock.patch.object(model, "_run_raw_task", run):
        yield


class WorkerLost(Exception):
    """The process of a task was killed, so no code of the task could handle it.

    Airflow learns of the kill by the missing heartbeat.
    """


class WorkerFailed(WorkerLost):
    """The process of a task ended by itself and left no result that its parent can read."""


def run_in_child(
    work: Callable[[], _Value], *, folder: Path, log: TaskLog, surroundings: AbstractContextManager[object]
) -> _Value:
    """Run a function in a child process; return its value or raise its exception.

    :param work: the function. Its value must be picklable.
    :param folder: a folder for the child's output.
    :param log: the log of the try, which gets what the child logs, even if it is killed.
    :param surroundings: entered in the child, around the function.
    :raises WorkerLost: a signal has ended the child.
    :raises WorkerFailed: the child ended before the function did, or what it returned cannot be pickled.
    """
    text, result = folder / "log", folder / "result"
    text.touch()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pid = os.fork()
    if pid == 0:
        _work_as_child(work, text, result, log, surroundings)
    try:
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        log.print(text.read_text(encoding="utf-8", errors="replace"))
    if os.WIFSIGNALED(status):
        raise WorkerLost(f"the process of the task was ended by {signal.Signals(os.WTERMSIG(status)).name}")
    if not result.exists():
        code = os.WEXITSTATUS(status)
        raise WorkerFailed(f"the process of the task ended with exit code {code} before its work was done")
    has_succeeded, value = pickle.loads(result.read_bytes())  # noqa: S301 - written by our own child
    if not has_succeeded:
        raise value
    found: _Value = value
    return found


def _work_as_child(
    work: Callable[[], object],
    text: Path,
    result: Path,
    log: TaskLog,
    surroundings: AbstractContextManager[object],
) -> NoReturn:
    """Do the work, write the result and call ``os._exit``: pytest's exit handlers belong to the parent."""
    try:
        prepare_this_process()
        with text.open("a", encoding="utf-8") as stream:
            log.stream_to(stream)
            try:
                with surroundings:
                    found = True, work()
            except BaseException as error:  # noqa: BLE001 - it is raised in the parent
                found = False, portable(error)
            write_whole(result, _pickled(found))
            for each in (sys.stdout, sys.stderr):
                each.flush()
        os._exit(0)
    finally:
        os._exit(1)


def _pickled(found: tuple[bool, object]) -> bytes:
    """Return the result of the work as bytes that the parent can unpickle."""
    try:
        data = pickle.dumps(found)
        pickle.loads(data)  # noqa: S301 - made here
    except Exception as error:  # noqa: BLE001 - pickling raises whatever the object does
        said = f"what the task returned cannot be pickled: {type(error).__name__}: {error}"
        return pickle.dumps((False, WorkerFailed(said)))
    return data
