"""How does the suite speak to an implementation? Through public names with Cosmos's import layout, and nothing else.

An implementation with another layout derives from ``Adapter`` and overrides the hooks, most of all ``perform``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

OPERATOR_CLASSES = {
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

CAPABILITIES: Mapping[str, str] = {
    "operator_classes": "its operators are classes under IMPORT_ROOT.operators.virtualenv",
    "lock_methods": "operators have the lock methods that the documentation names",
    "templates": "virtualenv_dir and is_virtualenv_dir_temporary are Jinja templates",
    "pid_lock_file": "cosmos_virtualenv.lock in virtualenv_dir holds the owner's PID",
    "foreign_hosts": "the lock says on which host its owner is",
    "retry_count_lock": "a setting says how many seconds a task waits for the lock",
    "variable_seed_store": "what is remembered of seeds stands in Airflow Variables",
    "dags": "it makes DAGs and task groups of dbt projects",
    "manifest": "a project can be loaded from a manifest.json",
    "dbt_ls": "a project can be loaded by dbt ls",
    "dbt_ls_managed": "in virtualenv mode dbt ls needs no dbt beside Airflow",
    "custom_parser": "a project can be loaded without dbt and without a manifest",
    "local_mode": "it has an execution mode that runs a dbt which is there already",
    "profile_mappings": "profiles can be made of Airflow Connections",
    "assets": "tasks tell Airflow which assets they have updated",
    "deps": "tasks run dbt deps",
    "watcher": "it has the execution mode WATCHER",
    "airflow_async": "it has the execution mode AIRFLOW_ASYNC",
}
"""What an implementation may lack as long as its adapter says so, and what each means."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One operator and what it is constructed with, as plain data: it is built in the process that runs it.

    :param command: a key of ``OPERATOR_CLASSES``.
    :param profile: arguments of ``ProfileConfig``; ``profile_mapping`` is a pair: name of the class, its arguments.
    :param arguments: the operator's other arguments.
    :param under_airflow: run it as Airflow runs a task, with a database, templates, XComs and assets; otherwise the
        operator is executed alone, which is enough for most, and many can at once.
    :param standard_input: what the task's process could read there, from a pipe that stays open.
    :param place: what the task finds at a path, such as ``{"read-only": folder}``: see ``places``.
    """

    command: str
    profile: Mapping[str, Any]
    arguments: Mapping[str, Any]
    under_airflow: bool = False
    standard_input: str | None = None
    place: Mapping[str, str] = field(default_factory=dict)

    def with_arguments(self, **arguments: Any) -> Task:
        """The same task with other arguments beside its own."""
        return replace(self, arguments={**self.arguments, **arguments})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a task.

    :param state: ``success``, ``failed`` or ``skipped``, in Airflow's words.
    :param exception: type and text of what the operator raised, or None.
    :param log: all that the task's process and its children wrote.
    :param xcoms: name -> value, under Airflow alone.
    :param assets: URIs of the assets that it told Airflow of, under Airflow alone.
    :param fields: the operator's template fields after the run, as text: what Airflow shows as rendered.
    """

    state: str
    exception: str | None = None
    log: str = field(default="", repr=False)
    xcoms: Mapping[str, Any] = field(default_factory=dict)
    assets: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def succeeded(self) -> bool:
        return self.state == "success"

    def __str__(self) -> str:
        return f"state {self.state}, exception {self.exception}; the end of its log:\n{self.log[-4000:]}"


@dataclass(frozen=True, kw_only=True)
class DagPlan:
    """What a DAG file says of a dbt project, as plain data: it is built in the process that is asked about it.

    An argument that takes a member of an enum has the member's value, such as ``virtualenv``.

    :param project: arguments of ``ProjectConfig``.
    :param profile: as of a ``Task``.
    :param execution: arguments of ``ExecutionConfig``.
    :param render: arguments of ``RenderConfig``.
    :param operator_args: of all its operators.
    :param dag: arguments of the DAG.
    :param group: id of a ``DbtTaskGroup`` in an ordinary DAG; None: the DAG is a ``DbtDag``.
    """

    project: Mapping[str, Any]
    profile: Mapping[str, Any]
    execution: Mapping[str, Any] = field(default_factory=dict)
    render: Mapping[str, Any] = field(default_factory=dict)
    operator_args: Mapping[str, Any] = field(default_factory=dict)
    dag: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class TaskOfDag(Task):
    """The task of a DAG whose operator runs ``command``; profile and arguments are those of the DAG."""

    plan: DagPlan


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """A dbt project in a DAG, as plain data: it is built in the process that asks about it.

    :param project: arguments of ``ProjectConfig``; here and below enums are given by their values.
    :param profile: as for ``Task``.
    :param execution: arguments of ``ExecutionConfig``.
    :param render: arguments of ``RenderConfig``.
    :param operator_args: of every task.
    :param groups: ids of DbtTaskGroups, each between two ordinary tasks ``before`` and ``after``; none: a DbtDag.
    :param dag: arguments of the DAG, or of the DbtDag.
    :param variables: of the environment of the process that builds it.
    """

    project: Mapping[str, Any]
    profile: Mapping[str, Any]
    execution: Mapping[str, Any] = field(default_factory=dict)
    render: Mapping[str, Any] = field(default_factory=dict)
    operator_args: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    dag: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RenderedTask:
    """One task of a DAG.

    :param operator: name of its class; where it runs dbt, that of ``OPERATOR_CLASSES`` or the same of another mode.
    :param group: id of the group that it stands in, or None.
    :param downstream: ids of the tasks right after it, in order.
    """

    operator: str
    group: str | None = None
    downstream: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What became of a rendering.

    :param tasks: by their ids.
    :param exception: type and text of what building the DAG raised, or None.
    """

    tasks: Mapping[str, RenderedTask] = field(default_factory=dict)
    exception: str | None = None

    @property
    def edges(self) -> frozenset[tuple[str, str]]:
        """Every pair of a task and one right after it."""
        return frozenset((name, after) for name, task in self.tasks.items() for after in task.downstream)

    def __str__(self) -> str:
        if self.exception is not None:
            return self.exception
        told = (f"{name} ({task.operator}) before {list(task.downstream)}" for name, task in self.tasks.items())
        return f"{len(self.tasks)} tasks: {', '.join(told)}"


class Adapter:
    """The hooks of an implementation that follows Cosmos's import layout.

    :param import_root: such as ``cosmos_venv``; a class that ``--cosmos-implementation=module:Adapter`` names is
        made without it and says it itself, as an attribute.
    """

    import_root: str
    absent: ClassVar[frozenset[str]] = frozenset()
    """Capabilities that the implementation does not have: their requirements do not apply."""
    differs: ClassVar[Mapping[str, str]] = {}
    """Requirement id -> why the implementation does otherwise on purpose."""
    beyond: ClassVar[frozenset[str]] = frozenset()
    """Ids of BEYOND requirements that the implementation is held to as to a MUST."""

    def __init__(self, import_root: str | None = None) -> None:
        if import_root is not None:
            self.import_root = import_root

    @property
    def named(self) -> str:
        """How another process gets the same adapter: ``open_adapter(named)``."""
        kind = type(self)
        is_ours = kind is KNOWN_ADAPTERS.get(self.import_root, Adapter)
        return self.import_root if is_ours else f"{kind.__module__}:{kind.__qualname__}"

    def modules(self) -> Sequence[str]:
        """What a process imports before tasks are forked from it: no threads, no connections may come of it."""
        return [self.import_root, f"{self.import_root}.operators.virtualenv", f"{self.import_root}.config"]

    def operators(self) -> ModuleType:
        """The module with the ten operators. Imports the implementation into this process."""
        return import_module(f"{self.import_root}.operators.virtualenv")

    def make_task(self, task: Task, **arguments: Any) -> Any:
        """The Airflow operator, constructed. Imports the implementation into this process.

        :param arguments: of every operator, such as ``dag``.
        """
        if isinstance(task, TaskOfDag):
            mode = str(task.plan.execution.get("execution_mode", "local")).title()
            name = OPERATOR_CLASSES[task.command].replace("Virtualenv", mode)
            return next(each for each in self.make_dag(task.plan).tasks if type(each).__name__ == name)
        operator = getattr(self.operators(), OPERATOR_CLASSES[task.command])
        return operator(task_id="task", profile_config=self.profile(task.profile), **{**task.arguments, **arguments})

    def profile(self, arguments: Mapping[str, Any]) -> Any:
        """The implementation's own configuration of a profile."""
        given = dict(arguments)
        if "profile_mapping" in given:
            name, own = given["profile_mapping"]
            given["profile_mapping"] = getattr(import_module(f"{self.import_root}.profiles"), name)(**own)
        return import_module(f"{self.import_root}.config").ProfileConfig(**given)

    def make_dag(self, plan: DagPlan) -> Any:
        """The Airflow DAG, built. Imports the implementation into this process."""
        from .dag_building import build_dag

        return build_dag(self, plan)

    def perform(self, task: Task) -> Outcome:
        """Run a task to its end, in this process, which is the task's own.

        It is told to end as Airflow tells a task: by SIGTERM. What an implementation does about it is part of this.
        """
        from .task_process import run_operator

        return run_operator(self, task)

    def render(self, rendering: Rendering) -> Shape:
        """Build a DAG as its file does, in this process; what that raises is part of the answer."""
        from .rendering import shape_of

        return shape_of(self, rendering)

    def setting(self, name: str, value: object) -> Mapping[str, str]:
        """Environment variables that set one of the implementation's settings, for a process that starts with them."""
        return {f"AIRFLOW__COSMOS__{name.upper()}": str(value)}

    def foreign_host_record(self, virtualenv_dir: Path) -> bool:  # noqa: ARG002 - for those who override it
        """Let it look as if a live task of another host held the lock, by a record that is fresh.

        :param virtualenv_dir: an existing directory.

        :return: False where the implementation has no such record.
        """
        return False


def open_adapter(named: str) -> Adapter:
    """The adapter of an import root, or the one that ``module:Adapter`` names."""
    module, _, name = named.partition(":")
    if not name:
        return KNOWN_ADAPTERS.get(named, Adapter)(named)
    adapter: Adapter = getattr(import_module(module), name)()
    return adapter


class CosmosAdapter(Adapter):
    """astronomer-cosmos. What it lacks is what its documentation says of this mode."""

    absent: ClassVar[frozenset[str]] = frozenset({"dbt_ls_managed", "foreign_hosts"})


class CosmosVenvAdapter(Adapter):
    """cosmos-venv."""

    absent: ClassVar[frozenset[str]] = frozenset({"watcher", "airflow_async"})
    beyond: ClassVar[frozenset[str]] = frozenset()

    def foreign_host_record(self, virtualenv_dir: Path) -> bool:
        """Its note beside the lock file says on which host the owner is."""
        pid = 2**22 - 1  # the highest that Linux gives out; it is not looked up here
        note = {"pid": pid, "host": "another-host", "boot_id": "", "pid_namespace": ""}
        (virtualenv_dir / "cosmos_virtualenv.lock.json").write_text(json.dumps(note), encoding="ascii")
        (virtualenv_dir / "cosmos_virtualenv.lock").write_text(str(pid), encoding="ascii")
        return True


KNOWN_ADAPTERS: Mapping[str, type[Adapter]] = {"cosmos": CosmosAdapter, "cosmos_venv": CosmosVenvAdapter}
"""Import root -> what is declared of an implementation that needs no adapter of its own."""
