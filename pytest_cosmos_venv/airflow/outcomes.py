"""The outcome of a DAG run: plain data about its tasks, which prints as a table for people."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, NoReturn, TypeVar

from pytest_cosmos_venv.errors import NoSuchName, RecordDict
from pytest_cosmos_venv.text_table import table_lines

_Entry = TypeVar("_Entry")

LOG_LINES = 12
"""The number of lines of a failed task's log that are printed."""
_WELL_ENDED = ("success", "skipped")


class TaskKey(NamedTuple):
    """One task of a run.

    :param task_id: the id of the task.
    :param map_index: the index of a mapped task; -1 where it is not mapped.
    """

    task_id: str
    map_index: int


@dataclass(frozen=True, kw_only=True)
class EmittedAsset:
    """An asset (Airflow 2: dataset) that a task has updated.

    :param name: the name of the asset; on Airflow 2 the same as ``uri``.
    :param uri: the URI of the asset.
    :param extra: the data that the task has attached to the event.
    """

    name: str
    uri: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, repr=False)
class TaskOutcome:
    """The outcome of one task: its state, log, XComs, assets and exception.

    :param task_id: the id, with the index behind it where the task is mapped: ``load[0]``.
    :param state: the state as Airflow names it: ``success``, ``failed``, ``skipped``, ``upstream_failed``, ...
    :param exception: the exception that ended the last try of a failed task. If it cannot be pickled, another process
        gets an ``Exception`` of the same name and text.
    :param log: the text that the task and Airflow logged and printed, in all tries.
    :param xcoms: the values of its XComs, by key.
    :param assets: the assets that it has updated.
    :param tries: the number of tries that began.
    :param duration: seconds, of all tries.
    """

    task_id: str
    state: str
    exception: BaseException | None = None
    log: str = ""
    xcoms: Mapping[str, Any] = field(default_factory=dict)
    assets: tuple[EmittedAsset, ...] = ()
    tries: int = 0
    duration: float = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for another process, to which some exceptions cannot be handed."""
        return {**self.__dict__, "exception": self.exception and portable(self.exception)}

    @property
    def succeeded(self) -> bool:
        """Whether the state is ``success``."""
        return self.state == "success"

    @property
    def returned(self) -> Any:
        """The value that the task returned, as far as Airflow kept it (XCom ``return_value``); else None."""
        return self.xcoms.get("return_value")

    def __repr__(self) -> str:
        """One line; ``str()`` is a table."""
        return f"<task {self.task_id}: {', '.join(filter(None, [self.state, _error_text(self)]))}>"

    def __str__(self) -> str:
        return _table([self])


class TaskRecord(RecordDict[_Entry]):
    """The records of the tasks of one run, by task id.

    :param entries: the entries, by task id.
    """

    def __init__(self, entries: Mapping[str, _Entry] | Iterable[tuple[str, _Entry]] = ()) -> None:
        super().__init__(entries, what="task of this run")

    def __missing__(self, name: object) -> NoReturn:
        model, _, last = str(name).rpartition(".")
        single = f"{model}_run"
        if last in ("run", "test") and single in self:
            raise NoSuchName(
                f"{name!r} is no task of this run, and {single!r} is one: {model} has no tests there. Where dbt "
                "ls loads the DAG and the fake dbt cannot read a test, name it before the DAG is built, with "
                "cosmos_dbt.script('ls', nodes={'test.…': 'pass'})."
            )
        super().__missing__(name)


@dataclass(frozen=True, kw_only=True, repr=False)
class DagOutcome:
    """The state and the tasks of one run of a DAG.

    :param dag_id: the id of the DAG.
    :param run_id: the id of the run.
    :param logical_date: the logical date of the run; None where it has none.
    :param state: ``success`` or ``failed``, as Airflow decides it.
    :param tasks: the outcomes by task id, in the order in which they began; those that never began stand last.
    :param duration: seconds, including Airflow's own work around the tasks.
    """

    dag_id: str
    run_id: str
    logical_date: datetime | None
    state: str
    tasks: Mapping[str, TaskOutcome]
    duration: float

    @property
    def succeeded(self) -> bool:
        """Whether the state is ``success``."""
        return self.state == "success"

    @property
    def states(self) -> dict[str, str]:
        """Task id -> state."""
        return TaskRecord({name: task.state for name, task in self.tasks.items()})

    @property
    def exception(self) -> BaseException | None:
        """The exception of the first task that raised an exception; None where no task did."""
        return next((task.exception for task in self.tasks.values() if task.exception), None)

    @property
    def assets(self) -> tuple[EmittedAsset, ...]:
        """The assets that all tasks have updated."""
        return tuple(asset for task in self.tasks.values() for asset in task.assets)

    def __repr__(self) -> str:
        """One line that fits into pytest's own introspection; ``str()`` is the table."""
        ill = [f"{task.task_id} {task.state}" for task in self.tasks.values() if task.state not in _WELL_ENDED]
        return f"<DAG {self.dag_id} {': '.join(filter(None, [self.state, ', '.join(ill)]))}>"

    def __str__(self) -> str:
        return f"DAG {self.dag_id}: {self.state} in {self.duration:.2f} s\n{_table(self.tasks.values())}"


def portable(error: BaseException) -> BaseException:
    """Return an exception that another process can read: the same, or an ``Exception`` of the same name and text.

    :param error: the exception.
    """
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    except Exception:  # noqa: BLE001 - pickling raises whatever the object does
        return _named_exception(type(error).__name__, str(error))
    return error


class _Named(Exception):
    """An exception whose class this process does not have."""

    def __reduce__(self) -> tuple[object, ...]:
        return _named_exception, (type(self).__name__, str(self))


def _named_exception(name: str, text: str) -> Exception:
    error: Exception = type(name, (_Named,), {})(text)
    return error


def _table(tasks: Iterable[TaskOutcome]) -> str:
    tasks = list(tasks)
    rows = [(task.task_id, task.state, str(task.tries), f"{task.duration:.2f}", _error_text(task)) for task in tasks]
    cells = [("task", "state", "tries", "seconds", "exception"), *rows]
    return "\n".join([*table_lines(cells), *(line for task in tasks for line in _log_lines(task))])


def _error_text(task: TaskOutcome) -> str:
    error = task.exception
    return "" if error is None else f"{type(error).__name__}: {error}".partition("\n")[0]


def _log_lines(task: TaskOutcome) -> list[str]:
    if task.state in _WELL_ENDED or not task.log:
        return []
    lines = task.log.splitlines()
    skipped = len(lines) - LOG_LINES
    head = f"--- the last lines of {task.task_id}'s log" + (f" ({skipped} more above)" if skipped > 0 else "")
    return ["", head, *lines[-LOG_LINES:]]
