"""Tasks and DAGs as plain data, so that another process can make them; and their outcomes, as plain data too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

OPERATOR_CLASSES: Mapping[str, str] = {
    "build": "DbtBuildVirtualenvOperator",
    "ls": "DbtLSVirtualenvOperator",
    "seed": "DbtSeedVirtualenvOperator",
    "snapshot": "DbtSnapshotVirtualenvOperator",
    "source freshness": "DbtSourceVirtualenvOperator",
    "run": "DbtRunVirtualenvOperator",
    "test": "DbtTestVirtualenvOperator",
    "run-operation": "DbtRunOperationVirtualenvOperator",
    "docs generate": "DbtDocsVirtualenvOperator",
    "clone": "DbtCloneVirtualenvOperator",
}
"""dbt command -> the operator's public name."""
STATES = ("success", "failed", "skipped")
"""States of a task that has ended, in Airflow's words."""
BEFORE, AFTER = "before", "after"
"""Ids of the ordinary tasks around task groups."""


class AdapterError(Exception):
    """An adapter declares or returns something invalid. The text is one sentence for the user who started the suite."""


def plain(value: Any) -> Any:
    """A value as plain data, which the suite reads without the implementation. Any other object becomes its text.

    :param value: an answer of the implementation; of a dataclass its fields.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return plain({each.name: getattr(value, each.name) for each in fields(value)})
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return {plain(each) for each in value}
    return str(value)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One operator and what it is constructed with, as plain data: it is built in the process that runs it.

    :param command: a key of ``OPERATOR_CLASSES``.
    :param profile: arguments of ``ProfileConfig``; ``profile_mapping`` is a pair: name of the class, its arguments.
        Empty: the operator is given none.
    :param arguments: the operator's other arguments.
    :param under_airflow: run it as Airflow runs a task, with a database, templates, XComs and assets; otherwise the
        operator is executed alone, which is enough for most checks, and many tasks can run so at once.
    :param standard_input: text on the standard input of the task's process, from a pipe that stays open.
    :param place: what the task finds at a path, such as ``{"read-only": folder}``: see ``harness.mounts``.
    """

    command: str
    profile: Mapping[str, Any]
    arguments: Mapping[str, Any]
    under_airflow: bool = False
    standard_input: str | None = None
    place: Mapping[str, str] = field(default_factory=dict)

    def with_arguments(self, **arguments: Any) -> Task:
        """The same task with other arguments beside its own.

        :param **arguments: of the operator.
        """
        return replace(self, arguments={**self.arguments, **arguments})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a task.

    :param state: one of ``STATES``.
    :param exception: type and text of what the operator raised, in one text (``ValueError: what``), or None.
    :param log: all that the task's process and its children wrote.
    :param xcoms: name -> value, only under Airflow.
    :param assets: URIs of the assets that it has reported to Airflow, only under Airflow.
    :param fields: the operator's template fields after the run, as text: what Airflow shows as rendered.
    """

    state: str
    exception: str | None = None
    log: str = field(default="", repr=False)
    xcoms: Mapping[str, Any] = field(default_factory=dict)
    assets: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_plain(cls, told: Any) -> Outcome:
        """The outcome that a process of the implementation has told, checked.

        :param told: as ``plain`` makes it of an outcome.
        :raises AdapterError: ``told`` is no outcome, or has an invalid field.
        """
        known = told if isinstance(told, dict) else {}
        texts = [known.get("log"), *(known.get("assets") or ()), *(known.get("fields") or {}).values()]
        is_sound = (
            known.keys() == {each.name for each in fields(cls)}
            and known["state"] in STATES
            and (known["exception"] is None or isinstance(known["exception"], str))
            and isinstance(known["xcoms"], dict)
            and all(isinstance(text, str) for text in texts)
        )
        if not is_sound:
            raise AdapterError(f"The process of a task has told what is no outcome: {str(told)[:1000]}")
        return cls(**{**known, "assets": tuple(known["assets"])})

    @property
    def succeeded(self) -> bool:
        """Whether the task ended as a success."""
        return self.state == "success"

    def __str__(self) -> str:
        return f"state {self.state}, exception {self.exception}; the end of its log:\n{self.log[-4000:]}"


@dataclass(frozen=True, kw_only=True)
class DagPlan:
    """A dbt project as a DAG file names it.

    An argument that takes a member of an enum has the member's value, such as ``virtualenv``.

    :param project: arguments of ``ProjectConfig``, its first one as ``dbt_project_path``.
    :param profile: the profile, as for a ``Task``. Empty: the DAG file names none; the same holds for ``project``.
    :param execution: arguments of ``ExecutionConfig``.
    :param render: arguments of ``RenderConfig``.
    :param operator_args: arguments of all its operators.
    :param groups: ids of DbtTaskGroups, each between two ordinary tasks ``before`` and ``after``; none: a DbtDag.
    :param before_fails: whether the task ``before`` fails where it is run.
    :param dag: arguments of the DAG, or of the DbtDag.
    :param schedules: name of a folder of models -> the schedule of its DAG. There is a DAG for each folder, and those
        that are not named wait for what they read. None: there is one DAG.
    :param variables: variables of the environment of the process that builds it.
    :param folder: the current directory of that process; None: it does not matter.
    """

    project: Mapping[str, Any]
    profile: Mapping[str, Any]
    execution: Mapping[str, Any] = field(default_factory=dict)
    render: Mapping[str, Any] = field(default_factory=dict)
    operator_args: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    before_fails: bool = False
    dag: Mapping[str, Any] = field(default_factory=dict)
    schedules: Mapping[str, Any] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None


@dataclass(frozen=True, kw_only=True)
class TaskOfDag(Task):
    """The task of a DAG whose operator runs ``command``; profile and arguments are those of the DAG.

    :param plan: the DAG.
    :param profile: empty: the DAG's counts.
    :param arguments: empty: the DAG's count.
    """

    plan: DagPlan
    profile: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WholeDag(TaskOfDag):
    """A DAG whose tasks are all run under Airflow, each as often as its ``retries`` say.

    The exception of its outcome is that of the first task that has failed for good.

    :param command: ``build``, which the tasks of batches run.
    """

    command: str = "build"


@dataclass(frozen=True, kw_only=True)
class RenderedTask:
    """One task of a DAG.

    :param operator: name of its class; for a dbt task, a name in ``OPERATOR_CLASSES``, or this name for another mode.
    :param group: id of the group that it stands in, or None.
    :param upstream: ids of the tasks right before it, in order.
    """

    operator: str
    group: str | None = None
    upstream: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of the DAG that was built from a plan.

    The DAGs of several folders are one graph: a DAG that waits for assets begins behind the tasks that give them.

    :param tasks: the tasks by their ids; of several DAGs with the id of the DAG before, as ``port_staging.arrivals``.
    :param exception: type and text of what building the DAG raised, or None.
    """

    tasks: Mapping[str, RenderedTask] = field(default_factory=dict)
    exception: str | None = None

    @classmethod
    def from_plain(cls, told: Any) -> Shape:
        """The shape that a process of the implementation has told.

        :param told: as ``plain`` makes it of a shape.
        """
        tasks = {
            name: RenderedTask(**{**each, "upstream": tuple(each["upstream"])}) for name, each in told["tasks"].items()
        }
        return cls(tasks=tasks, exception=told["exception"])

    @property
    def edges(self) -> frozenset[tuple[str, str]]:
        """Every pair of a task and a task right after it."""
        return frozenset((before, name) for name, task in self.tasks.items() for before in task.upstream)

    def __str__(self) -> str:
        if self.exception is not None:
            return self.exception
        told = (f"{name} ({task.operator}) after {list(task.upstream)}" for name, task in self.tasks.items())
        return f"{len(self.tasks)} tasks: {', '.join(told)}"
