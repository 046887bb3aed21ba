"""The interface between the suite and an implementation: an adapter declares capabilities and performs tasks.

An adapter for an implementation of any shape derives from ``Adapter`` and overrides ``perform``. An implementation with
Cosmos's import layout needs no adapter of its own: ``cosmos_layout.CosmosLayout`` is its adapter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pytest_cosmos_venv.implementation import declared_services

from .tasks import OPERATOR_CLASSES, AdapterError, DagPlan, Outcome, Shape, Task, TaskOfDag, WholeDag

__all__ = [
    "CAPABILITIES",
    "COMMANDS",
    "OPERATOR_CLASSES",
    "Adapter",
    "AdapterError",
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
