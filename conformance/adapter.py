"""The interface between the suite and an implementation: an adapter declares capabilities and performs tasks.

An adapter for an implementation of any shape derives from ``Adapter`` and overrides ``perform``. An implementation with
Cosmos's import layout needs no adapter of its own: ``cosmos_layout.CosmosLayout`` is its adapter.

Tasks and DAGs are plain data, so that another process can make them, and so are their outcomes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pytest_cosmos_venv.implementation import declared_services

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
COMMANDS: Mapping[str, str] = {
    command: f"command_{re.sub('[ -]', '_', command)}" for command in OPERATOR_CLASSES if command != "run"
}
"""dbt command -> the capability to run it by an operator; the smoke checks need ``run``."""
CAPABILITIES: Mapping[str, str] = {
    "batches": "a task can run several nodes of a project: RenderConfig(batch_by=...)",
    "dbt_ls_managed": "in virtualenv mode dbt ls needs no dbt beside Airflow",
    "deps": "tasks run dbt deps",
    "foreign_hosts": "a task takes a kernel lock on a file, and tasks of other hosts see this lock",
    "lock_methods": "operators have the lock methods that the documentation names",
    "native_dbt": "its environments may have a dbt that is a native program and no Python package, as dbt 2 is",
    "notify_owners": "a run can tell the owners of nodes what failed: RenderConfig(notify_owners={owner: function})",
    "partial_parse": "a task can keep dbt from parsing partially: its argument partial_parse",
    "profile_mappings": "profiles can be made of Airflow Connections",
    "project_dags": "each folder of a project can be a DAG, which waits for others by assets: DbtProjectDags",
    "remote_projects": "a project can be an archive that lies elsewhere, with its manifest: the URL for ProjectConfig",
    "retry_on": "tasks can try again after failures of the warehouse alone: their argument retry_on",
    "run_artifacts": "a run can leave its results below [cosmos] remote_target_path: RenderConfig(run_artifacts=True)",
    "system_site_packages": "an environment can see the packages of the system's Python: py_system_site_packages",
    "temporary_prefix": "temporary environments lie in a directory whose name begins with cosmos-venv",
    "vars": "a task hands variables on to dbt: its argument vars",
    "watcher_managed": "in the mode WATCHER tasks can run the dbt of a managed environment",
    **{capability: f"an operator runs dbt {command}" for command, capability in COMMANDS.items()},
}
"""Name of a capability -> its meaning. An implementation has the capabilities that its adapter declares."""


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


class Adapter:
    """The hooks of an implementation.

    :param import_root: such as ``cosmos_venv``. A class that ``--cosmos-implementation=module:Adapter`` names is called
        without this argument, and has ``import_root`` as an attribute.
    """

    import_root: str
    version: ClassVar[str | None] = None
    """The version of the implementation in reports; None: the version of the distribution that has ``import_root``."""
    profiles: ClassVar[frozenset[str]] = frozenset()
    """Names of ``PROFILES`` by which it is judged, beside ``core``. All requirements of each profile are judged."""
    has: ClassVar[frozenset[str]] = frozenset()
    """Names of ``CAPABILITIES``: requirements that need another capability do not apply."""
    differs: ClassVar[Mapping[str, str]] = {}
    """Requirement id -> why the implementation does otherwise on purpose."""
    beyond: ClassVar[frozenset[str]] = frozenset()
    """Ids of BEYOND requirements, and names of ``COMPATIBILITIES``, that count as a MUST for the implementation."""
    kernel_lock_file: ClassVar[str] = ""
    """The file in ``virtualenv_dir`` that a task locks in the kernel (flock) while it has the lock; empty: none."""
    services: ClassVar[tuple[str, ...]] = ()
    """Processes that tasks leave running by design, as patterns of names or command lines, beside those that the
    implementation declares itself by entry points; a report names all of them."""
    seconds: float = 60.0
    """Seconds that a task may take; the suite sets it before it calls ``perform``."""

    def __init__(self, import_root: str | None = None) -> None:
        if import_root is not None:
            self.import_root = import_root

    @property
    def named(self) -> str:
        """The text with which another process gets the same adapter: ``open_adapter(named)``."""
        return f"{type(self).__module__}:{type(self).__qualname__}"

    @property
    def all_services(self) -> tuple[str, ...]:
        """``services``, and those that the implementation declares itself: see ``declared_services``.

        :raises ImplementationError: a declaration cannot be read.
        """
        return tuple(dict.fromkeys([*declared_services(self.import_root), *self.services]))

    def modules(self) -> Sequence[str]:
        """Modules that a process imports before tasks are forked from it. They must start no thread."""
        return [self.import_root]

    def begin(self) -> None:
        """Prepare a process. It is called first in each process in which the implementation works."""

    def perform(self, task: Task) -> Outcome:
        """Run a task to its end, in this process, which is the task's own.

        SIGTERM tells the process to end, as from Airflow. How the implementation reacts is part of the outcome.

        :param task: what to run, and with which arguments.
        :raises NotImplementedError: an adapter has to say how a task is performed.
        """
        raise NotImplementedError("override perform, or derive the adapter from CosmosLayout")

    def setting(self, name: str, value: object) -> Mapping[str, str]:
        """Environment variables that set one of the implementation's settings, for a process that starts with them.

        :param name: the name of the setting, such as ``virtualenv_max_retries_lock``.
        :param value: what it is to be.
        """
        return {f"AIRFLOW__COSMOS__{name.upper()}": str(value)}

    def remote_environments(self, folder: Path, key_file: Path, *, seconds: float) -> Mapping[str, str] | str:  # noqa: ARG002
        """Environment variables with which tasks fetch environments from a folder, and put new environments there.

        They are set in the process of a task before ``begin``.

        :param folder: all machines reach it; it need not exist.
        :param key_file: a file with the secret of the machines that trust each other, more than 30 letters; only its
            user may read it.
        :param seconds: that a task waits at most for the folder, or for another machine.
        :returns: an empty mapping where the implementation has no such settings. A sentence with the way out where a
            package is missing: then these requirements are not judged.
        """
        return {}
