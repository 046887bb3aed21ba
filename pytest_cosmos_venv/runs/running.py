"""Running a DAG or one operator to its end, in this process, with and without Airflow around it.

With Airflow, ``dag.test()`` runs the tasks one by one. Several processes, such as the contenders of a race, may run
DAGs in one database at once. Each process holds kernel locks on bytes of a file beside the database; the locks end with
the process.

Without Airflow, the tasks are executed in topological order, which takes a tenth of the time. There are no rendered
templates, XComs, assets and retries. States follow the trigger rule ``all_success``.
"""

from __future__ import annotations

import fcntl
import inspect
import itertools
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict
from unittest import mock

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.airflow import clock, home
from pytest_cosmos_venv.airflow.clock import instant_of
from pytest_cosmos_venv.airflow.home import prepare_this_process, runs_file
from pytest_cosmos_venv.airflow.outcomes import (
    DagOutcome,
    EmittedAsset,
    TaskKey,
    TaskOutcome,
    TaskRecord,
)
from pytest_cosmos_venv.airflow.task_context import context_without_airflow, dag_around, export
from pytest_cosmos_venv.airflow.task_log import TaskLog, collecting, handlers_kept
from pytest_cosmos_venv.airflow.versions import Airflow, this_airflow
from pytest_cosmos_venv.environments.virtualenv_dirs import refuse_foreign_directories
from pytest_cosmos_venv.errors import AlreadyTaken, RecordDict, ToolkitMisuse
from pytest_cosmos_venv.runs.turns import Waiting, in_turns

if TYPE_CHECKING:
    from typing_extensions import Unpack

_TURN = 0
_FIRST_RUN = 1
_FAILED = ("failed", "up_for_retry")
_NUMBERS = itertools.count(1)


class RunOptions(TypedDict, total=False):
    """The options of a run.

    :param logical_date: a moment, or a string such as ``2026-01-01``, in UTC unless it names a time zone; None: now.
    :param run_id: the id of the run; None: Airflow makes one up.
    :param conf: the configuration of the run; ``params`` take their values from it.
    """

    logical_date: datetime | str | None
    run_id: str | None
    conf: Mapping[str, Any] | None


class Attempts(Protocol):
    """The interface by which the faults of a test happen in the tries of a run."""

    def around(self, dag: Any) -> AbstractContextManager[None]:
        """Surround a run.

        :param dag: the DAG that runs within the block.
        """

    def trying(self, key: TaskKey, number: int, log: TaskLog) -> AbstractContextManager[None]:
        """Surround one try of a task.

        :param key: the task.
        :param number: the number of the try, from 1.
        :param log: the log of the try.
        """


@contextmanager
def run_beside_others(database: Path, dag_id: str, when: datetime | None) -> Iterator[Callable[[], None]]:
    """Wait until no other process is starting a run, then run a DAG within the block.

    Two processes that register the same DAG at once both insert its row, and one of them fails with IntegrityError.

    :param database: the SQLite file of Airflow's database.
    :param dag_id: the id of the DAG.
    :param when: the logical date of the run; None: Airflow takes the present time.
    :returns: a function to call when the run has begun, so that other processes may start runs.
    :raises ToolkitMisuse: another process runs this DAG for this date: ``dag.test()`` would delete the other run.
    """
    descriptor = os.open(runs_file(database), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, _TURN)
        if when is not None:
            _claim(descriptor, dag_id, when)
        yield lambda: fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _TURN)
    finally:
        os.close(descriptor)


def _claim(descriptor: int, dag_id: str, when: datetime) -> None:
    run = f"{dag_id}\0{when.isoformat()}".encode()
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _FIRST_RUN + zlib.crc32(run))
    except (BlockingIOError, PermissionError):
        raise AlreadyTaken(
            f"Another process is running DAG {dag_id!r} for {when.isoformat()}, and Airflow has one run for a logical "
            "date: give each of them a logical_date of its own, or none."
        ) from None


@dataclass
class _Try:
    """The last error, the logs, the duration and the number of tries of one task."""

    error: BaseException | None = None
    texts: list[str] = field(default_factory=list)
    seconds: float = 0.0
    count: int = 0


def run_dag(dag: Any, *, attempts: Attempts | None = None, **options: Unpack[RunOptions]) -> DagOutcome:
    """Run a DAG to its end.

    :param dag: a DAG.
    :param attempts: lets the faults of the test happen in its runs; None: the test has no faults.
    :param **options: see ``RunOptions``.
    :raises ToolkitMisuse: ``dag`` is no DAG, the run would have no tasks, or another run has this id or date.
    """
    if not hasattr(dag, "test") or not hasattr(dag, "tasks"):
        raise ToolkitMisuse(
            f"cosmos_airflow.run runs a DAG or an operator, and this is neither: {dag!r}. Of a DAG file: "
            "cosmos_airflow.load(file).run()."
        )
    return _run(dag, None, attempts, **options)


def run_task(operator: Any, *, attempts: Attempts | None = None, **options: Unpack[RunOptions]) -> TaskOutcome:
    """Run one operator to its end. An operator without a DAG gets one.

    :param operator: an operator; other tasks of its DAG do not run.
    :param attempts: lets the faults of the test happen in its runs; None: the test has no faults.
    :param **options: see ``RunOptions``.
    :raises ToolkitMisuse: ``operator`` is no operator or a mapped one; or as for ``run_dag``.
    """
    if not hasattr(operator, "task_id") or not hasattr(operator, "has_dag"):
        raise ToolkitMisuse(
            f"cosmos_airflow.run runs a DAG or an operator, and this is neither: {operator!r}. Call it to make one."
        )
    if _is_mapped(operator):
        raise ToolkitMisuse(
            f"cosmos_airflow.run runs one task, and {operator.task_id!r} is mapped into several: run its DAG."
        )
    if not operator.has_dag():
        dag_around(operator)
    outcome = _run(operator.dag, operator.task_id, attempts, **options)
    return outcome.tasks[operator.task_id]


def _run(
    dag: Any,
    only: str | None,
    attempts: Attempts | None,
    *,
    logical_date: datetime | str | None = None,
    run_id: str | None = None,
    conf: Mapping[str, Any] | None = None,
) -> DagOutcome:
    """Run all tasks of a DAG, or only the task with an id; the other tasks are then marked as successful."""
    airflow = this_airflow()
    when = clock.now() if logical_date is None else instant_of(logical_date, parameter="logical_date")
    _refuse_an_empty_run(dag, when)
    refuse_foreign_directories(task for task in dag.tasks if only in {None, task.task_id})
    prepare_this_process()
    arguments = airflow.test_arguments(when, conf)
    others = [task_id for task_id in dag.task_ids if task_id != only]
    if only is not None and others:
        arguments["mark_success_pattern"] = "|".join(map(re.escape, others))
    began = real_time.monotonic()
    with (
        nullcontext() if attempts is None else attempts.around(dag),
        _surroundings(dag, run_id),
        airflow.shared_by_tasks(),
        run_beside_others(home.sqlite_file(), dag.dag_id, when) as begun,
        # Other processes wait until the first task begins: by then this run has inserted the rows that all runs share.
        _watching(dag, airflow, begun, attempts) as tries,
        in_turns(dag, stuck=lambda task_id, index, error: setattr(tries[TaskKey(task_id, index)], "error", error)),
    ):
        if run_id is not None:
            _refuse_a_second_run(dag.dag_id, run_id)
        airflow.make_known(dag)
        dag_run = dag.test(**arguments)
    return DagOutcome(
        dag_id=dag.dag_id,
        run_id=dag_run.run_id,
        logical_date=dag_run.logical_date,
        state=_state(dag_run),
        tasks=_task_outcomes(airflow, dag_run, tries),
        duration=real_time.monotonic() - began,
    )


def _refuse_an_empty_run(dag: Any, when: datetime | None) -> None:
    """Refuse a run before the start date: Airflow gives it no tasks, and a run without tasks succeeds."""
    now = when or datetime.now(timezone.utc)
    starts = [task.start_date or dag.start_date for task in dag.tasks]
    if starts and all(start is not None and start > now for start in starts):
        raise ToolkitMisuse(
            f"DAG {dag.dag_id!r} starts on {min(starts).isoformat()}, so that a run for {now.isoformat()} has no "
            "tasks, and succeeds: give a later logical_date, or an earlier start_date."
        )


def _refuse_a_second_run(dag_id: str, run_id: str) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    model: Any = DagRun
    with create_session() as session:
        found = session.query(model.id).filter_by(dag_id=dag_id, run_id=run_id).first()
    if found:
        raise AlreadyTaken(
            f"run_id={run_id!r}: DAG {dag_id!r} has a run of this id already: give another one, or none."
        )


@contextmanager
def _surroundings(dag: Any, run_id: str | None) -> Iterator[None]:
    """Restore at the end of the block everything that a run changes in this process and in its DAG."""
    with ExitStack() as stack:
        # Airflow does its own work, such as making pydantic models and waiting, in real time.
        stack.enter_context(clock.paused())
        stack.enter_context(handlers_kept())
        stack.enter_context(_retried_at_once(dag))
        if run_id is not None:
            from airflow.models.dagrun import DagRun

            stack.enter_context(mock.patch.object(DagRun, "generate_run_id", staticmethod(lambda *_, **__: run_id)))
        yield


@contextmanager
def variables_kept() -> Iterator[None]:
    """Restore the environment variables at the end of the block; in production they end with the task's process.

    Tasks set ``AIRFLOW_CTX_*`` and the password that Cosmos hands to dbt, which the next test must not find.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _retried_at_once(dag: Any) -> Iterator[None]:
    """Retry tasks at once: no test waits the five minutes that Airflow lets pass between two tries by default."""
    with ExitStack() as stack:
        for task in dag.tasks:
            values = {"retry_delay": timedelta(0), "retry_exponential_backoff": False}
            if _is_mapped(task):
                stack.enter_context(mock.patch.dict(task.partial_kwargs, values))
                continue
            for name, value in values.items():
                stack.callback(setattr, task, name, getattr(task, name))
                setattr(task, name, value)
        yield


@contextmanager
def _watching(
    dag: Any, airflow: Airflow, begun: Callable[[], None], attempts: Attempts | None
) -> Iterator[dict[TaskKey, _Try]]:
    """Within the block, collect logs and errors of tasks, and apply the test's clock inside tasks.

    :param begun: called before each task.
    :param attempts: lets the faults of the test happen in its runs; None: the test has no faults.
    """
    tries: dict[TaskKey, _Try] = {}
    # dag.test() calls _run_task of its own module; the module differs between releases of Airflow.
    beside: Any = sys.modules[inspect.unwrap(type(dag).test).__module__]
    run_one = beside._run_task

    def watched(*arguments: Any, ti: Any, **options: Any) -> Any:
        begun()
        key = TaskKey(ti.task_id, ti.map_index)
        seen = tries.setdefault(key, _Try())
        log, began = TaskLog(), real_time.monotonic()
        seen.error, seen.count = None, seen.count + 1
        try:
            with (
                variables_kept(),
                collecting(log),
                airflow.events_into(log.take_event),
                attempts.trying(key, seen.count, log) if attempts else nullcontext(),
            ):
                returned = run_one(*arguments, ti=ti, **options)
            seen.error = airflow.error_of(returned) or log.logged_exception
        except Waiting:
            seen.count -= 1  # the same try starts again in the next turn
            raise
        except BaseException as error:
            seen.error = error
            # On Airflow 2 AirflowTaskTimeout is no Exception and would end dag.test(); the task has its state already.
            if type(error).__name__ == "AirflowTaskTimeout":
                return None
            raise
        finally:
            seen.seconds += real_time.monotonic() - began
            seen.texts.append(log.text)
        return returned

    with mock.patch.multiple(beside, _run_task=watched), clock.resumed_during(*airflow.execution()):
        yield tries


def _task_outcomes(airflow: Airflow, dag_run: Any, tries: Mapping[TaskKey, _Try]) -> dict[str, TaskOutcome]:
    run = dag_run.dag_id, dag_run.run_id
    xcoms: dict[TaskKey, dict[str, Any]] = {}
    for key, name, value in airflow.xcoms(*run):
        xcoms.setdefault(key, {})[name] = value
    assets: dict[TaskKey, list[EmittedAsset]] = {}
    for key, asset in airflow.assets(*run):
        assets.setdefault(key, []).append(asset)
    order = {key: number for number, key in enumerate(tries)}
    states = {TaskKey(each.task_id, each.map_index): _state(each) for each in dag_run.get_task_instances()}
    outcomes: dict[str, TaskOutcome] = TaskRecord()
    for key in sorted(states, key=lambda key: (order.get(key, len(order)), key)):
        seen = tries.get(key, _Try())
        label = key.task_id if key.map_index < 0 else f"{key.task_id}[{key.map_index}]"
        outcomes[label] = TaskOutcome(
            task_id=label,
            state=states[key],
            exception=seen.error if states[key] in _FAILED else None,
            log="".join(seen.texts),
            xcoms=RecordDict(xcoms.get(key, {}), what="XCom of this task"),
            assets=tuple(assets.get(key, ())),
            tries=seen.count,
            duration=seen.seconds,
        )
    return outcomes


def _is_mapped(operator: Any) -> bool:
    return hasattr(operator, "partial_kwargs")


def _state(thing: Any) -> str:
    return str(getattr(thing.state, "value", thing.state) or "none")


def run_without_airflow(dag: Any) -> DagOutcome:
    """Execute the tasks of a DAG one after the other, with nothing of Airflow around them.

    :param dag: a DAG.
    """
    began, run_id = real_time.monotonic(), f"alone-{next(_NUMBERS)}"
    tasks: dict[str, TaskOutcome] = TaskRecord()
    for task in dag.topological_sort():
        before = {tasks[task_id].state for task_id in task.upstream_task_ids} - {"success"}
        if before:
            state = "skipped" if before == {"skipped"} else "upstream_failed"
            tasks[task.task_id] = TaskOutcome(task_id=task.task_id, state=state)
        else:
            tasks[task.task_id] = _execute(task, run_id)
    state = "success" if all(each.state in ("success", "skipped") for each in tasks.values()) else "failed"
    duration = real_time.monotonic() - began
    return DagOutcome(dag_id=dag.dag_id, run_id=run_id, logical_date=None, state=state, tasks=tasks, duration=duration)


def _execute(task: Any, run_id: str) -> TaskOutcome:
    airflow, log, began = this_airflow(), TaskLog(), real_time.monotonic()
    error: BaseException | None = None
    with variables_kept(), collecting(log), airflow.events_into(log.take_event):
        context = context_without_airflow(task, run_id)
        export(context)
        try:
            task.execute(context)
        except Exception as raised:  # noqa: BLE001 - every exception of a task is its outcome
            error = raised
    is_skipped = error is not None and type(error).__name__ == "AirflowSkipException"
    return TaskOutcome(
        task_id=task.task_id,
        state="success" if error is None else "skipped" if is_skipped else "failed",
        exception=None if is_skipped else error,
        log=f"{log.text}{'' if error is None else f'{type(error).__name__}: {error}'}",
        tries=1,
        duration=real_time.monotonic() - began,
    )
