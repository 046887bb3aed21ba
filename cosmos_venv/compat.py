"""The names and services of Airflow 2.10 and later and of Airflow 3, and the differences between these releases.

No other module asks which Airflow this is. Importing this module imports Airflow.

Private names of Airflow stand here alone, each with the releases in which it was seen. A test looks for each of them in
each release, and names the missing ones: ``test_compat__private_names.py``.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy as shallow_copy
from datetime import datetime, timedelta, timezone
from functools import cache
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID
from weakref import WeakKeyDictionary

import airflow

AIRFLOW_VERSION: str = airflow.__version__
_RELEASE = tuple(int(part) for part in AIRFLOW_VERSION.split(".")[:2])
if _RELEASE < (2, 10):
    raise ImportError(f"cosmos-venv needs Airflow 2.10 or later; this is Airflow {AIRFLOW_VERSION}. Upgrade Airflow.")
_MASKERS = ("airflow.sdk.log", "airflow.sdk.execution_time.secrets_masker", "airflow.utils.log.secrets_masker")
_SHORTEST_MASKED = 5
# Private, seen in 2.11 to 3.4: Airflow imports a DAG file under a name that begins so.
_NAME_OF_A_DAG_FILE = "unusual_prefix_"
_SHARED: WeakKeyDictionary[ModuleType, dict[Any, Any]] = WeakKeyDictionary()
_UUID_WITH_TIME, _BITS_AFTER_TIME = 7, 80
_BEFORE_THE_BEGIN = 60.0
_COPIED = frozenset({dict, list, set})
_MOST_EVENTS = 100
# The suffix of an option that says where its value comes from. Compiled on first use: each parse for a task imports
# this file.
_SOURCE_OF_OPTION = "_(?:cmd|secret)$"
IS_AIRFLOW_3 = not AIRFLOW_VERSION.startswith("2.")
ASSET_URIS_HAVE_SLASHES = IS_AIRFLOW_3
ASSETS_NEED_AN_ALIAS = IS_AIRFLOW_3
"""Whether a running task can emit assets only through an alias, which Airflow learns from the task itself."""
DAGS_HAVE_VERSIONS = IS_AIRFLOW_3
"""Whether Airflow keeps the former states of a DAG, and shows a version for each."""


def _first(name: str, *modules: str) -> Any:
    """The name from the first module that has it. The newest module comes first: an old one may be deprecated."""
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"Airflow {AIRFLOW_VERSION} has {name} in none of {', '.join(modules)}")


if TYPE_CHECKING:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG, BaseOperator, BaseOperatorLink, Connection, Context, Param, TaskGroup
    from airflow.sdk.bases.sensor import BaseSensorOperator, PokeReturnValue
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        DuplicateTaskIdFound,
        TaskDeferred,
    )
else:
    DAG = _first("DAG", "airflow.sdk", "airflow.models.dag")
    Param = _first("Param", "airflow.sdk", "airflow.models.param")
    TaskGroup = _first("TaskGroup", "airflow.sdk", "airflow.utils.task_group")
    BaseOperator = _first("BaseOperator", "airflow.sdk", "airflow.models.baseoperator")
    AirflowException = _first("AirflowException", "airflow.sdk.exceptions", "airflow.exceptions")
    AirflowFailException = _first("AirflowFailException", "airflow.sdk.exceptions", "airflow.exceptions")
    AirflowSkipException = _first("AirflowSkipException", "airflow.sdk.exceptions", "airflow.exceptions")
    AirflowNotFoundException = _first("AirflowNotFoundException", "airflow.sdk.exceptions", "airflow.exceptions")
    AirflowRescheduleException = _first("AirflowRescheduleException", "airflow.sdk.exceptions", "airflow.exceptions")
    AirflowSensorTimeout = _first("AirflowSensorTimeout", "airflow.sdk.exceptions", "airflow.exceptions")
    DuplicateTaskIdFound = _first("DuplicateTaskIdFound", "airflow.sdk.exceptions", "airflow.exceptions")
    TaskDeferred = _first("TaskDeferred", "airflow.sdk.exceptions", "airflow.exceptions")

    # Few tasks need them, and each task imports this file: BaseOperatorLink alone took 2 ms of 45.
    _WHEN_ASKED = {
        "BaseOperatorLink": ("airflow.sdk", "airflow.models.baseoperatorlink"),
        "BaseSensorOperator": ("airflow.sdk", "airflow.sensors.base"),
        "EmptyOperator": ("airflow.providers.standard.operators.empty", "airflow.operators.empty"),
        "PokeReturnValue": ("airflow.sdk", "airflow.sensors.base"),
    }

    def __getattr__(name: str) -> Any:
        if name not in _WHEN_ASKED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = _first(name, *_WHEN_ASKED[name])
        return globals()[name]


# Airflow's own names, which other modules import from here.
__all__ = [
    "DAG",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "DuplicateTaskIdFound",
    "EmptyOperator",
    "Param",
    "PokeReturnValue",
    "TaskDeferred",
    "TaskGroup",
]


class FrameNames:
    """Names of modules and functions of this Airflow release that look into a DAG, as stack frames show them.

    A worker makes one task of a DAG, and makes the other tasks as soon as code looks for them
    (``rendering/one_task/partial.py``). A look by Airflow itself does not count where Airflow needs only the tasks that
    exist. The names are private, seen in 3.2 and 3.3. On Airflow 2 no task is made alone, see ``running_task``.

    :cvar definitions: packages of DAGs, groups and tasks; the first frame outside of these packages does the look.
    :cvar importers: modules that look through each imported DAG.
    :cvar circles: the function that searches tasks for cycles, in ``definitions`` or ``importers``.
    :cvar group_circles: the function that searches groups for cycles; empty: there is none.
    :cvar adding: functions that look for a task only to see whether its id is free.
    :cvar naming: the function that gives the task of a decorated function a free id.
    :cvar named: the local variable with that id in the frame of ``naming``.
    :cvar ordering: functions by which ``a >> b`` looks at all ids, to find out whether both tasks are in one DAG.
    :cvar runner: the module that runs a task.
    :cvar running: functions of ``runner`` that look through a DAG, to find the task to run or mapped tasks.
    """

    definitions: tuple[str, ...] = ("airflow.sdk.definitions", "airflow.sdk.bases", "airflow.models", "cosmos_venv")
    importers: tuple[str, ...] = ("airflow.dag_processing", "airflow.utils.dag_cycle_tester")
    if _RELEASE < (3, 2):  # seen in 3.0 and 3.1: the module that imports DAG files stands among the models
        definitions = ("airflow.sdk.definitions", "airflow.sdk.bases", "airflow.models.dag", "cosmos_venv")
        importers = ("airflow.models.dagbag", *importers)
    circles, group_circles = "check_cycle", ""
    if _RELEASE >= (3, 4):  # seen in 3.4: check_cycle gives detect_cycle a lambda that looks up a task, not the DAG
        definitions = ("airflow.sdk._shared.dagnode", *definitions)
        circles, group_circles = "<lambda>", "_warn_task_group_cycles"
    adding = frozenset({"add_task", "_convert__dag", "add", "_check_for_group_id_collisions"})
    naming, named = "get_unique_task_id", "tg_task_id"
    ordering = frozenset({"_set_relatives", "__hash__", "__eq__"})
    runner = "airflow.sdk.execution_time.task_runner"
    running = frozenset({"parse", "_register_deserialization_allowed_classes", "_push_xcom_if_needed"})


TASKS_START_AS_TRIGGERS = tuple(int(each) for each in re.findall(r"\d+", AIRFLOW_VERSION)[:3]) >= (3, 3, 2)
"""Whether a task can begin and end in the triggerer without a worker, and is tried again when it has failed there.

``start_from_trigger`` is switched off in 3.1.8 to 3.2.2, and a failure in the triggerer is final before 3.3.2.
"""
ARE_FRAME_NAMES_SEEN = _RELEASE <= (3, 4)
"""Whether these names were seen in this release.

A later release may use one of the names for something else. Then a user's code that looks at the DAG finds one task.
"""


def get_connection(conn_id: str) -> Connection:
    """The Airflow Connection of an id.

    :param conn_id: its id.
    :raises AirflowNotFoundException: when there is none.
    """
    connection: Connection = _first("BaseHook", "airflow.sdk", "airflow.hooks.base").get_connection(conn_id)
    return connection


def variable(name: str) -> str | None:
    """The text of an Airflow Variable; None when there is none.

    :param name: its name.
    """
    value: str | None = _first("Variable", "airflow.sdk", "airflow.models").get(name, None)
    return value


def set_variable(name: str, text: str, description: str) -> None:
    """Set an Airflow Variable; raises whatever Airflow and its backend raise.

    :param name: its name.
    :param text: its new text.
    :param description: shown beside it in the web interface.
    """
    _first("Variable", "airflow.sdk", "airflow.models").set(name, text, description=description)


def forget_variable(name: str) -> None:
    """Delete an Airflow Variable in a running task; raises whatever Airflow raises.

    :param name: its name.
    """
    _first("Variable", "airflow.sdk", "airflow.models").delete(name)


def task_state(context: Context | Mapping[str, Any]) -> Any:
    """Airflow's store in which a running task keeps values for its later tries (3.3 and later); None: there is none.

    It has ``get``, ``set`` and ``delete``. Airflow deletes it with the run, and lets no other task read it.

    :param context: the task's context.
    """
    return context.get("task_state_store")


def stored_variables(prefix: str) -> dict[str, str | None]:
    """The Variables of Airflow's own store by name; None for a text that cannot be decrypted.

    Not for a running task: on Airflow 3 it has no database.

    :param prefix: the beginning of their names.
    """
    model = import_module("airflow.models").Variable
    with import_module("airflow.utils.session").create_session() as session:
        found = session.query(model).filter(model.key.startswith(prefix, autoescape=True)).order_by(model.key)
        return {each.key: each.val for each in found}


def delete_variables(names: Iterable[str]) -> None:
    """Delete Variables of Airflow's own store. Not for a running task, as ``stored_variables``.

    :param names: their names.
    """
    model = import_module("airflow.models").Variable
    with import_module("airflow.utils.session").create_session() as session:
        session.query(model).filter(model.key.in_(list(names))).delete(synchronize_session=False)


def count(metric: str, tags: Mapping[str, str]) -> None:
    """Count one more in Airflow's own metrics, where they are switched on. Never fails.

    :param metric: its name, without the prefix that Airflow gives to all.
    :param tags: names and values that the metric carries.
    """
    with suppress(Exception):  # whatever a backend raises: a metric must fail no task
        _first("Stats", "airflow.sdk.observability.stats", "airflow.stats").incr(metric, tags=dict(tags))


def mask_in_logs(secret: str) -> None:
    """Have Airflow show ``***`` in place of a text in the task's log, as for a Connection's password.

    :param secret: the text; a text of fewer than five letters is left out, since Airflow does not mask it and would say
        so each time.
    """
    if len(secret) < _SHORTEST_MASKED:
        return
    _first("mask_secret", *_MASKERS)(secret)


def masked(text: str) -> str:
    """A text as Airflow shows it in the log of this task: without the secrets that it knows.

    :param text: a text of dbt.
    """
    return str(_first("redact", *_MASKERS)(text)) if text else ""


def context_variables(context: Context | Mapping[str, Any]) -> dict[str, str]:
    """The variables that Airflow itself exports of a task's context (``AIRFLOW_CTX_DAG_ID`` and so on).

    :param context: the task's context; an empty context has no variables.
    """
    if not context:
        return {}
    export = _first("context_to_airflow_vars", "airflow.sdk.execution_time.context", "airflow.utils.operator_helpers")
    return dict(export(context, in_env_var_format=True))


def allow_mapping_of(cls: type[BaseOperator], names: Iterable[str]) -> None:
    """Let ``partial`` and ``expand`` take parameters of an operator that no constructor has in its signature.

    A class without a constructor of its own shares the wrapper that Airflow made for its first base. Then ``partial``
    of the base takes the parameters too, and its constructor refuses them.

    :param cls: the class of the operator.
    :param names: the parameters.
    """
    # Private, seen in 2.11 to 3.4.
    cls.__init__._BaseOperatorMeta__param_names |= set(names)  # type: ignore[attr-defined]


def running_task() -> tuple[str, str] | None:
    """Ids of the DAG and of the task for which this process parses a DAG file; None when it parses none for a task.

    Airflow gives the ids in environment variables, which stay there, also for processes that the task starts. So they
    count only in a process that Airflow's supervisor has started for a task. None on Airflow 2, where the process of a
    task itself looks at the states of the tasks before.
    """
    if not IS_AIRFLOW_3:
        return None
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    # Private, seen in 3.0 to 3.4.
    if getattr(runner, "SUPERVISOR_COMMS", None) is None:
        return None
    context = import_module("airflow.sdk.definitions.context").get_parsing_context()
    return (context.dag_id, context.task_id) if context.dag_id and context.task_id else None


def task_states(task_ids: Sequence[str], *, dag_id: str, run_id: str, map_index: int) -> dict[str, str | None]:
    """Airflow's states of tasks of a run; None for a task that has no state yet.

    It can be called on a worker and, in a thread of its own, in the triggerer.

    :param task_ids: the tasks.
    :param dag_id: the DAG.
    :param run_id: the run.
    :param map_index: index of the tasks in a mapped group; -1: the tasks are not mapped.
    """
    if not IS_AIRFLOW_3:
        return _states_in_database(task_ids, dag_id=dag_id, run_id=run_id, map_index=map_index)
    runtime: Any = import_module("airflow.sdk.execution_time.task_runner").RuntimeTaskInstance
    found = runtime.get_task_states(dag_id=dag_id, task_ids=list(task_ids), run_ids=[run_id]).get(run_id) or {}
    # A mapped task is in the answer with its index after its id.
    states = {each: found.get(each, found.get(f"{each}_{map_index}")) for each in task_ids}
    return {each: None if state is None else str(getattr(state, "value", state)) for each, state in states.items()}


def _states_in_database(task_ids: Sequence[str], *, dag_id: str, run_id: str, map_index: int) -> dict[str, str | None]:
    ti = import_module("airflow.models.taskinstance").TaskInstance
    with import_module("airflow.utils.session").create_session() as session:
        rows = session.query(ti.task_id, ti.map_index, ti.state).filter(
            ti.dag_id == dag_id, ti.run_id == run_id, ti.task_id.in_(task_ids)
        )
        found = {task_id: state for task_id, index, state in rows if index in (-1, map_index)}
    return {each: None if found.get(each) is None else str(found[each]) for each in task_ids}


def skip_tasks(task_ids: Sequence[str], context: Mapping[str, Any]) -> None:
    """Let Airflow skip tasks of the run that have not begun, without a worker. On Airflow 3 this ends the calling task.

    :param task_ids: the tasks, which are not mapped.
    :param context: Airflow's context of the task that calls it.
    :raises DownstreamTasksSkipped: on Airflow 3, which skips them and has the task succeed.
    """
    if IS_AIRFLOW_3:
        raise _first("DownstreamTasksSkipped", "airflow.sdk.exceptions", "airflow.exceptions")(tasks=list(task_ids))
    ti = import_module("airflow.models.taskinstance").TaskInstance
    now = datetime.now(timezone.utc)
    run: Any = context["dag_run"]
    with import_module("airflow.utils.session").create_session() as session:
        session.query(ti).filter(
            ti.dag_id == run.dag_id, ti.run_id == run.run_id, ti.task_id.in_(task_ids), ti.state.is_(None)
        ).update({"state": "skipped", "start_date": now, "end_date": now}, synchronize_session=False)


def try_requested_at(context: Mapping[str, Any]) -> float:
    """When the present try of a task was requested, in seconds since 1970.

    A try is requested when Airflow makes the run, when the previous try fails, or when somebody clears the task.

    The try begins later: a minute later where many triggers start at once. Airflow 3 gives each try an id, a UUID of
    version 7, which holds the time of the request. Airflow 2 knows only the begin of a try: a minute earlier counts.

    :param context: Airflow's context of the task, of which ``ti`` is enough.
    """
    ti: Any = context["ti"]
    found = getattr(ti, "id", None)
    with suppress(ValueError):
        each = found if isinstance(found, UUID) else UUID(str(found))
        if each.version == _UUID_WITH_TIME:
            return (each.int >> _BITS_AFTER_TIME) / 1000
    begun = getattr(ti, "start_date", None)
    with suppress(Exception):  # the task may have been rescheduled since
        rescheduled = import_module("airflow.models.taskreschedule").TaskReschedule
        with import_module("airflow.utils.session").create_session() as session:
            first = rescheduled.query_for_task_instance(ti, session=session).first()
            begun = first.start_date if first is not None else begun
    return (begun.timestamp() if isinstance(begun, datetime) else time.time()) - _BEFORE_THE_BEGIN


def xcom(key: str, *, dag_id: str, run_id: str, task_id: str, map_index: int) -> Any:
    """An XCom of a task; None where there is none. It can be called where ``task_states`` can.

    :param key: of the XCom.
    :param dag_id: the DAG.
    :param run_id: the run.
    :param task_id: the task that has pushed it.
    :param map_index: index of that task; -1: the task is not mapped.
    """
    model = _first("XCom", "airflow.sdk.execution_time.xcom", "airflow.models.xcom")
    return model.get_one(key=key, dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)


def time_trigger(seconds: float) -> Any:
    """Airflow's own trigger for a time in the future.

    :param seconds: until then.
    """
    homes = ("airflow.providers.standard.triggers.temporal", "airflow.triggers.temporal")
    return _first("TimeDeltaTrigger", *homes)(timedelta(seconds=seconds))


def is_typed_command() -> bool:
    """Whether this process is a command such as ``airflow dags test DAG``, which a user has typed and waits for.

    These are the commands ``airflow dags`` and ``airflow tasks``, which import DAG files in their own process, under
    the same time-out as the DAG processor. ``airflow tasks run``, with which Airflow 2 starts tasks, does not count.
    Nor do commands that serve (``scheduler``, ``dag-processor``, ``celery worker``).
    """
    program, *words = sys.argv or [""]
    name = Path(program)
    is_airflow = name.name == "airflow" or name == Path(airflow.__file__).with_name("__main__.py")
    return is_airflow and len(words) > 1 and words[0] in ("dags", "tasks") and words[:2] != ["tasks", "run"]


def dag_to_run() -> str | None:
    """Id of the DAG for whose task this process imports a DAG file; None when it imports no file for a task.

    For Airflow 3 see ``running_task``. An executor of Airflow 2 runs ``airflow tasks run`` in a process of its own.
    LocalExecutor and Celery run it in a fork, with the id of the DAG in an environment variable.
    """
    if IS_AIRFLOW_3:
        running = running_task()
        return None if running is None else running[0]
    found: str | None = import_module("airflow.utils.dag_parsing_context").get_parsing_context().dag_id
    return found or next(iter(sys.argv[3:4] if sys.argv[1:3] == ["tasks", "run"] else ()), None)


def run_began() -> float | None:
    """The start of the DAG run for whose task this process imports a DAG file, in seconds since 1970.

    Airflow sets a new start when a run that has ended is cleared. None: this process imports no file for a task, or
    Airflow does not know the start.
    """
    # Private, seen in 2.11 and 3.0 to 3.4.
    place, name = (FrameNames.runner, "what") if IS_AIRFLOW_3 else ("airflow.cli.commands.task_command", "args")
    frame = _nearest_frame(lambda each: each.f_globals.get("__name__") == place and name in each.f_locals)
    if frame is None:
        return None
    order: Any = frame.f_locals[name]
    if IS_AIRFLOW_3:
        runs = [order.ti_context.dag_run]
    else:
        runs = import_module("airflow.models.dagrun").DagRun.find(
            dag_id=order.dag_id, run_id=order.execution_date_or_run_id
        )
    began: list[datetime] = [run.start_date for run in runs if run.start_date is not None]
    return began[0].timestamp() if began else None


@contextmanager
def import_time_out_paused(*, for_task: bool) -> Iterator[None]:
    """Pause Airflow's time-out of a DAG file's import within this block, for a command that a user types, and for a
    task. Afterwards the remaining seconds run.

    A user can end the wait, and a task can be killed. A task that waited for half of the time-out lost its try where
    dbt ls took longer on a busy worker. The DAG processor has more files to parse.

    The time-out is the only ``ITIMER_REAL`` timer of the process, with a signal handler of Airflow. A timer with
    another handler, such as pytest-timeout's, is not paused.

    :param for_task: whether the task that this process runs needs the result.
    """
    handler = signal.getsignal(signal.SIGALRM)
    is_of_airflow = (getattr(handler, "__module__", None) or "").startswith("airflow.")
    if not (is_of_airflow and (for_task or is_typed_command())):
        yield
        return
    seconds, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, seconds, interval)


def parsed_file() -> Path | None:
    """The DAG file that Airflow imports now; None when it imports no file, or a file in a zip archive."""
    frame = _frame_of_a_dag_file()
    file = None if frame is None else Path(frame.f_code.co_filename)
    return file if file is not None and file.is_file() else None


def shared_by_import() -> dict[Any, Any] | None:
    """A dict for values that the DAGs and groups of one DAG file share; None while Airflow imports no DAG file.

    Each import of a file has a dict of its own. The dict is kept until another file is imported, or the module is gone.
    """
    frame = _frame_of_a_dag_file()
    module = None if frame is None else sys.modules.get(str(frame.f_globals["__name__"]))
    if frame is None or module is None or vars(module) is not frame.f_globals:
        return None
    if module not in _SHARED:  # the dict of another file may hold a manifest: 75 MB at 15,000 nodes
        _SHARED.clear()
    return _SHARED.setdefault(module, {})


def _frame_of_a_dag_file() -> FrameType | None:
    return _nearest_frame(lambda each: str(each.f_globals.get("__name__", "")).startswith(_NAME_OF_A_DAG_FILE))


def _nearest_frame(is_wanted: Callable[[FrameType], bool]) -> FrameType | None:
    """Return the frame of the nearest caller that is wanted; None where no caller is."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_wanted(frame):
        frame = frame.f_back
    return frame


def is_task_or_group(value: object) -> bool:
    """Whether a value can stand in a DAG: a task, mapped or not, a group, or the result of a decorated function.

    :param value: any object.
    """
    mapped = _first("MappedOperator", "airflow.sdk.definitions.mappedoperator", "airflow.models.mappedoperator")
    argument = _first("XComArg", "airflow.sdk.definitions.xcom_arg", "airflow.models.xcom_arg")
    return isinstance(value, (BaseOperator, TaskGroup, mapped, argument))


def set_relatives(task: BaseOperator | TaskGroup, others: Any, *, upstream: bool) -> None:
    """Draw edges between a task or a group and others.

    :param task: the task or group.
    :param others: tasks or groups, one or a list.
    :param upstream: whether the others come before.
    """
    task._set_relatives(others, upstream=upstream)  # private, seen in 2.11 to 3.4


def next_poke_interval(sensor: BaseSensorOperator, began: float) -> float:
    """The seconds until a sensor pokes for the second time.

    :param sensor: the sensor.
    :param began: when it has begun, in seconds since 1970.
    """
    seconds: float = sensor._get_next_poke_interval(began, lambda: time.time() - began, 1)  # private, 2.11 to 3.4
    return seconds


def dag_of(value: Any) -> DAG | None:
    """The DAG that a task or a group stands in; None where it stands in none.

    :param value: a value that ``is_task_or_group`` accepts.
    """
    if isinstance(value, TaskGroup):
        return value.dag
    task = getattr(value, "operator", value)
    dag: DAG | None = task.get_dag()
    return dag


def is_mapped(task_group: TaskGroup | None) -> bool:
    """Whether a group, or a group around it, is mapped.

    :param task_group: the group; None: the DAG itself, which is not mapped.
    """
    return task_group is not None and next(iter(task_group.iter_mapped_task_groups()), None) is not None


def can_be_copied(task: BaseOperator) -> bool:
    """Whether ``TaskCopier`` can copy this task: a copy must equal what the constructor would make at the same place.

    False on Airflow 2, where the outlets of a task hold the task's own id. False where making the task has drawn edges:
    for an ``XComArg`` among its arguments, or within the block of a setup task.

    :param task: a task that was made by its constructor.
    """
    if not IS_AIRFLOW_3 or task.upstream_task_ids:
        return False
    # Private since 3.1: seen to 3.4. Airflow 2.11 and 3.0 have it in airflow.utils.
    setup = _first(
        "SetupTeardownContext", "airflow.sdk.definitions._internal.setup_teardown", "airflow.utils.setup_teardown"
    )
    return not setup.active


@cache
def _arguments_of_airflow() -> frozenset[str]:
    """Airflow's own arguments of a task, without the arguments that differ between copies.

    Cached: a DAG may have a copier for each task, and reading the signature takes 0.1 ms.
    """
    return frozenset(signature(BaseOperator.__init__).parameters) - {"task_id", "task_group", "dag", "doc_md"}


class TaskCopier:
    """Makes copies of a task, under other ids, in the same DAG. No constructor runs, and no edge comes along.

    :param task: the task that is copied, as its constructor has made it.
    """

    def __init__(self, task: BaseOperator) -> None:
        self._kind = type(task)
        # Values that the class has are left out, and empty values that it makes when they are read: together they would
        # take half of the memory of a task.
        state = {name: value for name, value in vars(task).items() if not self._is_of_the_class(name, value)}
        self._dag: DAG = state["_dag"]  # private, seen in 2.11 to 3.4; so is _BaseOperator__init_kwargs
        # Airflow compares fields of its own with these arguments. All arguments were 0.4 KB a task.
        arguments = state["_BaseOperator__init_kwargs"]
        compared = arguments.keys() & _arguments_of_airflow()
        state["_BaseOperator__init_kwargs"] = {name: arguments[name] for name in compared}
        # As the constructor does, give each task its own lists, dicts and sets: a task may be changed alone.
        self._own = [(name, value.copy().copy) for name, value in state.items() if type(value) in _COPIED]
        self._shared = {name: value for name, value in state.items() if type(value) not in _COPIED}
        self._params = task.params
        # Private, seen in 3.0 to 3.4.
        self._validate = import_module("airflow.sdk.definitions._internal.node").validate_key

    def _is_of_the_class(self, name: str, value: object) -> bool:
        default = getattr(self._kind, name, _COPIED)
        return default is value or (getattr(default, "makes_empty", False) and not value)

    def copy(self, label: str, task_group: TaskGroup | None, changes: Mapping[str, Any]) -> BaseOperator:
        """The task once more.

        :param label: the id of the copy within its group.
        :param task_group: the group of the copy; None: the DAG itself.
        :param changes: attributes that differ, each an argument of the same name.
        :raises Exception: the errors of Airflow for an id that is invalid, or that the DAG has already.
        """
        copy: BaseOperator = object.__new__(self._kind)
        state, group = vars(copy), task_group or self._dag.task_group
        state.update(self._shared)
        for name, fresh in self._own:
            state[name] = fresh()
        task_id = group.child_id(label)  # type: ignore[no-untyped-call]
        state.update(changes, task_id=task_id, params=shallow_copy(self._params), task_group=None)
        self._validate(task_id)
        group.add(copy)
        state["task_group"] = group  # group.add has set a weak reference; the constructor keeps a strong one
        self._dag.add_task(copy)
        return copy


def show_rendered_fields(operator: BaseOperator, context: Context | Mapping[str, Any]) -> None:
    """Let Airflow show an operator's template fields as they are now, and not as they were before it ran.

    :param operator: the operator, in its running task.
    :param context: the task's context.
    """
    if IS_AIRFLOW_3:
        operator.overwrite_rtif_after_execution = True
        return
    if "ti" in context:
        fields = import_module("airflow.models.renderedtifields").RenderedTaskInstanceFields
        fields(ti=context["ti"], render_templates=False).write()


def asset(uri: str) -> Any:
    """The asset (Airflow 2: dataset) of a URI.

    :param uri: the URI, which Airflow 3 keeps as the asset's name as well.
    :raises ValueError: when Airflow, or the provider of its scheme, does not take the URI.
    """
    if IS_AIRFLOW_3:
        return import_module("airflow.sdk").Asset(uri)
    return import_module("airflow.datasets").Dataset(uri)


def asset_alias(name: str) -> Any:
    """The asset alias (Airflow 2: dataset alias) of a name.

    :param name: its name.
    """
    if IS_AIRFLOW_3:
        return import_module("airflow.sdk").AssetAlias(name)
    return import_module("airflow.datasets").DatasetAlias(name)


_WITH_KEYS = {"CronPartitionTimetable", "PartitionedAssetTimetable", "PartitionedAtRuntime"}


def asset_schedule(uris: Iterable[str], *, is_partitioned: bool) -> Any:
    """The schedule of a DAG that runs when each of some assets has been updated.

    :param uris: URIs of the assets, at least one.
    :param is_partitioned: whether the runs that update the assets have partition keys. Then the DAG runs once for each
        key that all assets have.
    """
    assets = [asset(uri) for uri in uris]
    if not is_partitioned:
        return assets
    sdk: Any = import_module("airflow.sdk")
    return sdk.PartitionedAssetTimetable(assets=sdk.AssetAll(*assets))


def is_partitioned(schedule: object) -> bool:
    """Whether the runs of a schedule have partition keys (Airflow 3.2 and later). Assets of such runs start only DAGs
    whose schedules use the keys, too.

    :param schedule: as a DAG takes it.
    """
    # The timetables of the Task SDK have no attribute that says so.
    names = {each.__name__ for each in type(schedule).__mro__}
    return bool(_WITH_KEYS & names) or bool(getattr(schedule, "partitioned", False))


def awaited_uris(dag: DAG) -> list[str]:
    """The URIs of the assets that the schedule of a DAG names, without the assets of aliases, which are not known.

    :param dag: the DAG.
    """
    timetable: Any = dag.timetable
    condition = getattr(timetable, "asset_condition" if IS_AIRFLOW_3 else "dataset_condition", None)
    found, left = [], [condition]
    while left:
        each = left.pop()
        found += [uri] if (uri := getattr(each, "uri", None)) else []
        left += getattr(each, "objects", ())
    return found


def add_outlets(operator: BaseOperator, outlets: Iterable[Any]) -> None:
    """Let an operator have further outlets after its own, each once.

    :param operator: the operator.
    :param outlets: assets and aliases.
    """
    # A new list, since tasks of a DAG may share the old one. No set: Airflow 2 has outlets that are not hashable.
    own = list(operator.outlets or [])
    operator.outlets = [*own, *(outlet for outlet in outlets if outlet not in own)]


def asset_events(context: Context | Mapping[str, Any], alias: Any) -> Any:
    """Airflow's accessor of the running task for events of an alias; None where the context has none.

    :param context: the task's context.
    :param alias: the alias through which Airflow learns of the updated assets.
    """
    events = context.get("outlet_events")
    if events is None:
        return None
    if not IS_AIRFLOW_3:
        _store_alias(alias.name)
    return events[alias]


def newest_event_extras(asset: Any) -> list[Mapping[str, Any]]:
    """The ``extra`` of the newest events of an asset, the last event first. For a running task.

    :param asset: the asset; an asset that Airflow does not know has no events.
    """
    if not IS_AIRFLOW_3:
        models = import_module("airflow.models.dataset")
        event, dataset = models.DatasetEvent, models.DatasetModel
        with import_module("airflow.utils.session").create_session() as session:
            rows = session.query(event.extra).join(dataset, dataset.id == event.dataset_id)
            newest = rows.filter(dataset.uri == asset.uri).order_by(event.timestamp.desc(), event.id.desc())
            return [extra or {} for (extra,) in newest.limit(_MOST_EVENTS)]
    found = import_module("airflow.sdk.execution_time.context").InletEventsAccessors([asset])[asset]
    if hasattr(found, "limit"):
        found = found.ascending(False).limit(_MOST_EVENTS)
    else:  # Airflow 3.0 and 3.1 give all, the oldest first
        found = list(found)[: -_MOST_EVENTS - 1 : -1]
    return [event.extra or {} for event in found]


def _store_alias(name: str) -> None:
    """Store an alias. Airflow 2 fails a task whose alias it does not know, and stores no alias of a mapped task."""
    model = import_module("airflow.models.dataset").DatasetAliasModel
    try:
        with import_module("airflow.utils.session").create_session() as session:
            if session.query(model).filter(model.name == name).first() is None:
                session.add(model(name=name))
    except import_module("sqlalchemy.exc").IntegrityError:
        return  # another task of the same mapping was first


def openlineage_namespace() -> str | None:
    """The namespace under which Airflow's OpenLineage provider reports tasks; None where it is not active."""
    from importlib.util import find_spec

    try:
        if find_spec("airflow.providers.openlineage") is None:
            return None
    except ImportError:
        return None
    conf = import_module("airflow.providers.openlineage.conf")
    return None if conf.is_disabled() else str(conf.namespace())


def object_storage_path(url: str, conn_id: str | None) -> Any:
    """A path in any storage that Airflow can reach by a URL. A local folder counts as a storage, too.

    :param url: the URL.
    :param conn_id: id of the connection; None: the default one of that storage.
    """
    return _first("ObjectStoragePath", "airflow.sdk", "airflow.io.path")(url, conn_id=conn_id)


def to_boolean(value: object) -> bool:
    """A boolean, or the text that a template rendered to, as Airflow reads it: true, t, yes, y, 1, on.

    :param value: the boolean or the text; for anything else its truth value counts.
    """
    if isinstance(value, str):
        from airflow.utils.strings import to_boolean as read

        return read(value.strip())
    return bool(value)


def dags_folder() -> Path:
    """Airflow's ``[core] dags_folder``, which it puts on ``sys.path``."""
    from airflow.configuration import conf

    return Path(conf.get("core", "dags_folder"))


def folders_of_user_code(dag: object) -> list[str]:
    """The folders that Airflow puts on ``sys.path`` for DAG files: for DAGs, plugins and configuration, and the bundle
    of a DAG.

    :param dag: the DAG that runs; the path of its file shows the folder of its bundle. None: there is no such DAG.
    """
    from airflow.configuration import AIRFLOW_HOME, conf

    found = [str(dags_folder()), conf.get("core", "plugins_folder"), f"{AIRFLOW_HOME}/config"]
    file, in_bundle = str(getattr(dag, "fileloc", "")), str(getattr(dag, "relative_fileloc", None) or "")
    if in_bundle and file.endswith(f"/{in_bundle}"):
        found.append(file.removesuffix(f"/{in_bundle}"))
    return found


def dag_files_below(folder: Path) -> list[Path]:
    """The files below a folder that Airflow would import, by ``.airflowignore`` and safe mode.

    :param folder: the folder.
    """
    # Airflow 2 adds its example DAGs by default.
    more = {} if IS_AIRFLOW_3 else {"include_examples": False}
    listed = import_module("airflow.utils.file").list_py_file_paths(str(folder), safe_mode=is_safe_mode(), **more)
    return sorted(map(Path, listed))


def configured_options(section: str) -> list[str]:
    """Names of the options of a section that are set in the configuration file or by environment variables.

    :param section: the section's name, in small letters.
    """
    from airflow.configuration import conf

    # getsection() returns nothing for a section that no file and no provider names, although conf.get() reads the
    # environment variables of the section.
    prefix = f"AIRFLOW__{section.upper()}__"
    by_variables = [name[len(prefix) :].lower() for name in os.environ if name.startswith(prefix)]
    return [re.sub(_SOURCE_OF_OPTION, "", name) for name in (*(conf.getsection(section) or {}), *by_variables)]


def is_safe_mode() -> bool:
    """Whether Airflow parses only files in which certain words occur: ``[core] dag_discovery_safe_mode``."""
    from airflow.configuration import conf

    return bool(conf.getboolean("core", "dag_discovery_safe_mode", fallback=True))


def venv_install_method() -> Literal["auto", "uv", "pip"]:
    """The value of Airflow's own ``[standard] venv_install_method``, where it exists; ``auto`` elsewhere."""
    from airflow.configuration import conf

    said = str(conf.get("standard", "venv_install_method", fallback="auto")).strip().lower()
    return "uv" if said == "uv" else "pip" if said == "pip" else "auto"


def prepare_virtualenv(directory: str, *, python: str, system_site_packages: bool, requirements: Sequence[str]) -> None:
    """Make a virtual environment as Airflow does it, with uv or pip, each command and its output in the log.

    :param directory: the folder of the environment.
    :param python: the interpreter that it is made with.
    :param system_site_packages: whether it sees the packages of that interpreter.
    :param requirements: words for ``pip install``.
    :raises subprocess.CalledProcessError: when a command fails.
    """
    modules = ("airflow.providers.standard.utils.python_virtualenv", "airflow.utils.python_virtualenv")
    _first("prepare_virtualenv", *modules)(
        venv_directory=directory,
        python_bin=python,
        system_site_packages=system_site_packages,
        requirements=list(requirements),
    )


def dags_made_by(module: ModuleType) -> list[DAG]:
    """Execute a module, and return the DAGs that it makes, by id, as Airflow's importer collects them.

    They are the DAGs among the module's globals, and the DAGs that a ``with DAG(...)`` block or a call of an ``@dag``
    function registers.

    Exceptions of the module are passed on.

    :param module: the module, which is in ``sys.modules`` but not yet executed.
    """
    # Private, seen in 3.0 to 3.4. Airflow 2.11 has it beside its DAG.
    context = _first("DagContext", "airflow.sdk.definitions._internal.contextmanager", "airflow.models.dag")
    context.autoregistered_dags.clear()
    context.current_autoregister_module_name = module.__name__
    try:
        module.__spec__.loader.exec_module(module)  # type: ignore[union-attr]
        registered = [dag for dag, _ in context.autoregistered_dags]
    finally:
        context.current_autoregister_module_name = None
        context.autoregistered_dags.clear()
    found = [value for value in vars(module).values() if isinstance(value, DAG)] + registered
    return sorted({id(dag): dag for dag in found}.values(), key=lambda dag: dag.dag_id)
