"""How does the suite speak to an implementation? Through public names with Cosmos's import layout, and nothing else.

An implementation with another layout derives from ``Adapter`` and overrides the hooks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from . import process
from .airflow_home import AirflowHome

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


@dataclass(frozen=True, kw_only=True)
class Task:
    """One operator and what it is constructed with, as plain data: it is built in the process that runs it.

    :param command: a key of ``OPERATOR_CLASSES``.
    :param profile: arguments of ``ProfileConfig``.
    :param arguments: the operator's other arguments, as JSON knows them.
    """

    command: str
    profile: Mapping[str, str]
    arguments: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a task.

    :param state: ``success`` or ``failed``, in Airflow's words.
    :param exception: type and text of what the operator raised, or None.
    :param log: all that the task's process wrote, from its first line.
    """

    state: str
    exception: str | None
    log: str

    def __str__(self) -> str:
        return f"state {self.state}, exception {self.exception}; its log:\n{self.log}"


class Adapter:
    """The hooks of an implementation that follows Cosmos's import layout.

    :param import_root: such as ``cosmos_venv``; a class that ``--cosmos-implementation=module:Adapter`` names is
        made without it and says it itself, as an attribute.
    """

    import_root: str

    def __init__(self, import_root: str | None = None) -> None:
        if import_root is not None:
            self.import_root = import_root

    @property
    def named(self) -> str:
        """How another process gets the same adapter: ``open_adapter(named)``."""
        kind = type(self)
        return self.import_root if kind is Adapter else f"{kind.__module__}:{kind.__qualname__}"

    def operators(self) -> ModuleType:
        """The module with the ten operators. Imports the implementation into this process."""
        return import_module(f"{self.import_root}.operators.virtualenv")

    def make_task(self, task: Task) -> Any:
        """The Airflow operator, constructed. Imports the implementation into this process."""
        config = import_module(f"{self.import_root}.config")
        profile = config.ProfileConfig(**task.profile)
        operator = getattr(self.operators(), OPERATOR_CLASSES[task.command])
        return operator(task_id="task", profile_config=profile, **task.arguments)

    def import_all(self, folder: Path) -> process.Finished:
        """Import the package, its operators and its configuration in a process of its own, started in ``folder``."""
        names = [self.import_root, f"{self.import_root}.operators.virtualenv", f"{self.import_root}.config"]
        return process.run([sys.executable, "-c", f"import {', '.join(names)}"], cwd=folder)

    def run_task(self, task: Task, home: AirflowHome, *, environment: Mapping[str, str] | None = None) -> Outcome:
        """Run a task to its end under Airflow, in a process of its own.

        :param home: used for this task alone; it holds the DAG file and Airflow's database afterwards.
        :param environment: added to the variables of the process.
        """
        from .task_process import write_dag_file

        answer = home.path / "outcome.json"
        dag_file = write_dag_file(home.dags, self.named, task, answer)
        variables = {**home.environment, **(environment or {})}
        finished = process.run([sys.executable, str(dag_file)], environment=variables, cwd=home.path)
        if not answer.exists():
            return Outcome(state="failed", exception="The task's process ended early.", log=str(finished))
        return Outcome(**json.loads(answer.read_text(encoding="utf-8")), log=finished.output)


def open_adapter(named: str) -> Adapter:
    """The adapter of an import root, or the one that ``module:Adapter`` names."""
    module, _, name = named.partition(":")
    if not name:
        return Adapter(named)
    adapter: Adapter = getattr(import_module(module), name)()
    return adapter
