"""The interface between the suite and an implementation: public names with Cosmos's import layout, and nothing else.

An implementation with another layout derives from ``Adapter`` and overrides the hooks, most of all ``perform``.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from pytest_cosmos_venv.implementation import declared_services

from .cosmos_layout import OPERATOR_CLASSES, build_dag, run_operator, run_whole_dag, shape_of, typed
from .requirements import COMPATIBILITIES
from .tasks import AdapterError, DagPlan, Outcome, Shape, Task, TaskOfDag, WholeDag

__all__ = [
    "CAPABILITIES",
    "COMMANDS",
    "OPERATOR_CLASSES",
    "Adapter",
    "DagPlan",
    "Outcome",
    "Shape",
    "Task",
    "TaskOfDag",
    "WholeDag",
]

COMMANDS: Mapping[str, str] = {
    command: f"command_{re.sub('[ -]', '_', command)}" for command in OPERATOR_CLASSES if command != "run"
}
"""dbt command -> the capability to run it by an operator; the smoke checks need ``run``."""
CAPABILITIES: Mapping[str, str] = {
    "operator_classes": "its operators are classes under IMPORT_ROOT.operators.virtualenv",
    "lock_methods": "operators have the lock methods that the documentation names",
    "templates": "virtualenv_dir and is_virtualenv_dir_temporary are Jinja templates",
    "pid_lock_file": "cosmos_virtualenv.lock in virtualenv_dir holds the owner's PID",
    "temporary_prefix": "temporary environments lie in a directory whose name begins with cosmos-venv",
    "foreign_hosts": "a task locks a file in the kernel, whose lock reaches the tasks of other hosts",
    "retry_count_lock": "a setting says how many seconds a task waits for the lock",
    "variable_seed_store": "what is remembered of seeds stands in Airflow Variables",
    "dags": "it makes DAGs and task groups of dbt projects, by classes with Cosmos's names and arguments",
    "manifest": "a project can be loaded from a manifest.json",
    "dbt_ls": "a project can be loaded by dbt ls",
    "dbt_ls_managed": "in virtualenv mode dbt ls needs no dbt beside Airflow",
    "local_mode": "it has an execution mode that runs a dbt which is there already",
    "profile_mappings": "profiles can be made of Airflow Connections",
    "assets": "tasks tell Airflow which assets they have updated",
    "deps": "tasks run dbt deps",
    "vars": "a task hands variables on to dbt: its argument vars",
    "partial_parse": "a task can keep dbt from parsing partially: its argument partial_parse",
    "system_site_packages": "an environment can see the packages of the system's Python: py_system_site_packages",
    "watcher": "it has the execution mode WATCHER",
    "watcher_managed": "in that mode dbt can be the one of a managed environment",
    "airflow_async": "it has the execution mode AIRFLOW_ASYNC",
    "native_dbt": "its environments may have a dbt that is a program of its own, as dbt 2 is",
    "batches": "a task can run several nodes of a project: RenderConfig(batch_by=...)",
    "remote_environments": "a worker fetches environments that another one has built, from a folder that both reach",
    **{capability: f"an operator runs dbt {command}" for command, capability in COMMANDS.items()},
}
"""Capability that an implementation may lack, if its adapter says so -> what it means to have it."""


class Adapter:
    """The hooks of an implementation that follows Cosmos's import layout.

    :param import_root: such as ``cosmos_venv``; a class that ``--cosmos-implementation=module:Adapter`` names is made
        without it and says it itself, as an attribute.
    """

    import_root: str
    version: ClassVar[str | None] = None
    """The version that reports name; None: that of the distribution to which ``import_root`` belongs."""
    absent: ClassVar[frozenset[str]] = frozenset()
    """Capabilities that the implementation does not have: their requirements do not apply."""
    differs: ClassVar[Mapping[str, str]] = {}
    """Requirement id -> why the implementation does otherwise on purpose."""
    beyond: ClassVar[frozenset[str]] = frozenset()
    """Ids of BEYOND requirements, and names of ``COMPATIBILITIES``, that the implementation is held to as to a MUST."""
    kernel_lock_file: ClassVar[str] = ""
    """The file in ``virtualenv_dir`` that a task locks in the kernel (flock) while it has the lock; empty: none."""
    services: ClassVar[tuple[str, ...]] = ()
    """Processes that tasks leave running by design, as patterns of names or command lines, beside those that the
    implementation declares itself by entry points; a report names all of them."""

    def __init__(self, import_root: str | None = None) -> None:
        if import_root is not None:
            self.import_root = import_root

    @property
    def named(self) -> str:
        """The text with which another process gets the same adapter: ``open_adapter(named)``."""
        kind = type(self)
        is_ours = kind is KNOWN_ADAPTERS.get(self.import_root, Adapter)
        return self.import_root if is_ours else f"{kind.__module__}:{kind.__qualname__}"

    @property
    def all_services(self) -> tuple[str, ...]:
        """``services``, and those that the implementation declares itself: see ``declared_services``.

        :raises ImplementationError: a declaration cannot be read.
        """
        return tuple(dict.fromkeys([*declared_services(self.import_root), *self.services]))

    def modules(self) -> Sequence[str]:
        """Modules that a process imports before tasks are forked from it. They must start no thread and open no
        connection.
        """
        # An implementation whose adapter performs tasks otherwise need not have modules of these names.
        has_layout = type(self).perform is Adapter.perform
        return [self.import_root, *([f"{self.import_root}.operators.virtualenv"] if has_layout else [])]

    def begin(self) -> None:
        """Called first in each process in which the implementation is to do something: for what it needs there."""

    def operators(self) -> ModuleType:
        """The module with the ten operators. Imports the implementation into this process."""
        return import_module(f"{self.import_root}.operators.virtualenv")

    def constants(self) -> ModuleType:
        """The module with the enums that DAG files name. Imports the implementation into this process."""
        return import_module(f"{self.import_root}.constants")

    def settings(self) -> ModuleType:
        """The module that has the implementation's settings as attributes, such as ``virtualenv_max_retries_lock``."""
        return import_module(f"{self.import_root}.settings")

    def make_task(self, task: Task, **arguments: Any) -> Any:
        """The Airflow operator, constructed. Imports the implementation into this process.

        :param task: what the operator is constructed with; the profile as arguments of ``ProfileConfig``.
        :param **arguments: arguments that every Airflow operator takes, such as ``dag``.
        """
        if isinstance(task, TaskOfDag):
            mode = str(task.plan.execution.get("execution_mode", "local")).title()
            name = OPERATOR_CLASSES[task.command].replace("Virtualenv", mode)
            return next(each for each in self.make_dag(task.plan).tasks if type(each).__name__ == name)
        operator, given = getattr(self.operators(), OPERATOR_CLASSES[task.command]), typed(self, task.arguments)
        if task.profile:
            given["profile_config"] = self.profile(task.profile)
        return operator(task_id="task", **{**given, **arguments})

    def profile(self, arguments: Mapping[str, Any]) -> Any:
        """The implementation's own configuration of a profile.

        :param arguments: the arguments of ``ProfileConfig``; ``profile_mapping`` is a pair: name of the class, its
            arguments.
        """
        given = dict(arguments)
        if "profile_mapping" in given:
            name, own = given["profile_mapping"]
            given["profile_mapping"] = getattr(import_module(f"{self.import_root}.profiles"), name)(**own)
        return import_module(self.import_root).ProfileConfig(**given)

    def make_dag(self, plan: DagPlan) -> Any:
        """The Airflow DAG, built. Imports the implementation into this process.

        :param plan: what the DAG file would say.
        """
        return build_dag(self, plan)

    def perform(self, task: Task) -> Outcome:
        """Run a task to its end, in this process, which is the task's own.

        The process is told to end as Airflow tells a task: by SIGTERM. What an implementation does about it is part of
        the outcome.

        :param task: what to run, and with which arguments.
        """
        return run_whole_dag(self, task.plan) if isinstance(task, WholeDag) else run_operator(self, task)

    def render(self, plan: DagPlan) -> Shape:
        """Build a DAG as its file does, in this process; what that raises is part of the answer.

        :param plan: what the DAG file would say.
        """
        return shape_of(self, plan)

    def setting(self, name: str, value: object) -> Mapping[str, str]:
        """Environment variables that set one of the implementation's settings, for a process that starts with them.

        :param name: the name of the setting, such as ``virtualenv_max_retries_lock``.
        :param value: what it is to be.
        """
        return {f"AIRFLOW__COSMOS__{name.upper()}": str(value)}

    def remote_environments(
        self,
        folder: Path,  # noqa: ARG002 - for those who override it
        key_file: Path,  # noqa: ARG002
        *,
        seconds: float,  # noqa: ARG002
    ) -> Mapping[str, str] | str:
        """Environment variables with which tasks fetch environments from a folder, and put there what they build.

        They are set in the process of a task before ``begin``.

        :param folder: all machines reach it; it need not exist.
        :param key_file: a file with the secret of the machines that trust each other, more than 30 letters; only its
            user may read it.
        :param seconds: that a task waits at most for the folder, or for another machine.
        :returns: none where the implementation has no such settings; a sentence where this installation of it lacks a
            package for it, with the way out: its requirements are not judged then.
        """
        return {}


def open_adapter(named: str) -> Adapter:
    """The adapter of an import root, or the one that ``module:Adapter`` names.

    :param named: the name, as ``--cosmos-implementation`` takes it.
    :raises AdapterError: the class does not derive from ``Adapter``.
    """
    module, _, name = named.partition(":")
    if not name:
        return KNOWN_ADAPTERS.get(named, Adapter)(named)
    return require_adapter(getattr(import_module(module), name)())


def require_adapter(made: object) -> Adapter:
    """The same object, if it is an adapter.

    :param made: what a class that ``module:Adapter`` names has made.
    :raises AdapterError: its class does not derive from ``Adapter``, or has an attribute in place of a method.
    """
    kind = type(made)
    if isinstance(made, Adapter):
        for name in (name for name in vars(Adapter) if not name.startswith("_")):
            own = inspect.getattr_static(made, name)
            is_method = inspect.isfunction(vars(Adapter)[name])
            if isinstance(own, property) or is_method == callable(getattr(made, name)):
                continue
            way_out = f"make it a method, def {name}(self)" if is_method else "make it an attribute"
            raise AdapterError(f"{kind.__name__}.{name} is {own!r}: {way_out}, as in Adapter.")
        return made
    raise AdapterError(
        f"{kind.__module__}:{kind.__qualname__} is no adapter: derive the class from Adapter, which answers what it "
        f"does not say itself (from {Adapter.__module__} import Adapter)."
    )


class CosmosAdapter(Adapter):
    """astronomer-cosmos. The capabilities that it lacks are those that its documentation says of this mode."""

    absent: ClassVar[frozenset[str]] = frozenset(
        {"batches", "dbt_ls_managed", "foreign_hosts", "remote_environments", "watcher_managed"}
    )
    beyond: ClassVar[frozenset[str]] = frozenset(COMPATIBILITIES)


class CosmosVenvAdapter(Adapter):
    """cosmos-venv."""

    kernel_lock_file: ClassVar[str] = "cosmos_virtualenv.flock"
    beyond: ClassVar[frozenset[str]] = frozenset(
        {
            *COMPATIBILITIES,
            "CMD-023",
            "ENV-013",
            "ENV-015",
            "ENV-018",
            "ENV-024",
            "KILL-007",
            "LOAD-004",
            "LOAD-008",
            "LOCK-017",
            "LOCK-018",
            "SEED-025",
            "WATCH-016",
        }
    )

    def begin(self) -> None:
        """Have excluded tests kept, as Cosmos does it: the recorded tasks of RENDER-004 are Cosmos's."""
        os.environ.setdefault("AIRFLOW__COSMOS_VENV__KEEP_EXCLUDED_TESTS", "True")

    def modules(self) -> Sequence[str]:
        """The usual modules, and those that a task or a DAG imports later, as far as this version has them."""
        return [*super().modules(), f"{__package__}.prepared_cosmos_venv"]

    def remote_environments(self, folder: Path, key_file: Path, *, seconds: float) -> Mapping[str, str] | str:
        """Its settings of a remote store.

        :param folder: where the store lies.
        :param key_file: the file with the key.
        :param seconds: that a task waits at most.
        """
        try:
            import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        except ImportError as error:
            return f"{error}: environments are shared with the extra remote, pip install 'cosmos-venv[remote]'"
        settings = {"dir": f"file://{folder}", "timeout": f"{seconds:.0f}"}
        return {
            "AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE": str(key_file),
            **{f"AIRFLOW__COSMOS_VENV__REMOTE_ENVIRONMENT_{name.upper()}": value for name, value in settings.items()},
        }


KNOWN_ADAPTERS: Mapping[str, type[Adapter]] = {"cosmos": CosmosAdapter, "cosmos_venv": CosmosVenvAdapter}
"""Import root -> what is declared of an implementation that needs no adapter of its own."""
