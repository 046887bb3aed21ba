"""Importing DAG files, and the managed environments that their tasks need."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cosmos_venv.compat import DAG, dags_folder, dags_made_by
from cosmos_venv.config.validation import is_template
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.managed.arguments import VirtualenvArguments, kept_directory
from cosmos_venv.operators.virtualenv import DbtVirtualenvBaseOperator

_DECIDING = {"virtualenv_dir", "is_virtualenv_dir_temporary", *VirtualenvArguments.__struct_fields__}


@dataclass(frozen=True, kw_only=True)
class WantedEnvironment:
    """An environment that at least one task of a DAG file keeps.

    :param directory: where it is kept.
    :param arguments: what is installed in it, and how.
    """

    directory: Path
    arguments: VirtualenvArguments


@dataclass(frozen=True, kw_only=True)
class DagFile:
    """The environments that a DAG file needs.

    :param path: the file.
    :param dags: how many DAGs it makes.
    :param wanted: the different environments, in the order of the tasks.
    :param problems: sentences about tasks whose environment cannot be known before they run.
    """

    path: Path
    dags: int
    wanted: tuple[WantedEnvironment, ...]
    problems: tuple[str, ...]


def import_dag_file(path: Path) -> list[DAG]:
    """Return the DAGs that a file makes, by id.

    The file is imported as Airflow imports it, by its path, with its folder importable. What the file raises passes,
    ``SystemExit`` included.

    :param path: of the DAG file.
    """
    return dags_made_by(_new_module(path), lambda module: module.__spec__.loader.exec_module(module))  # type: ignore[union-attr]


def read_dag_file(path: Path, *, directory: Path | None = None) -> DagFile:
    """Import a file as Airflow does, and return what the tasks of its DAGs need.

    What the file raises passes, ``SystemExit`` included.

    :param path: of the DAG file.
    :param directory: stands for every directory that a task names; None: each task's own.
    """
    dags = import_dag_file(path)
    wanted: dict[WantedEnvironment, None] = {}
    problems: dict[str, None] = {}
    for dag in dags:
        for task in dag.tasks:
            try:
                if (environment := _environment_of(task, directory)) is not None:
                    wanted[environment] = None
            except CosmosValueError as error:
                problems[f"{path}: DAG {dag.dag_id!r}: {error}"] = None
    return DagFile(path=path, dags=len(dags), wanted=tuple(wanted), problems=tuple(problems))


def _new_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"cosmos_venv_dagfile_{path.stem}", path)
    if spec is None:
        raise CosmosValueError(f"{path} is no Python file.")
    # Airflow puts its DAGs folder there; a file of another place may import what lies beside it.
    for folder in (path.parent, dags_folder()):
        if path.is_relative_to(folder) and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    return module


def _environment_of(task: object, in_place: Path | None) -> WantedEnvironment | None:
    """The environment of a task; None for a task that keeps none.

    :raises CosmosValueError: when it keeps one that cannot be known before it runs.
    """
    arguments = _arguments_of(task)
    if arguments is None:
        return None
    is_temporary = arguments.get("is_virtualenv_dir_temporary") or False
    directory = kept_directory(arguments.get("virtualenv_dir"), is_temporary)
    if directory is None:
        return None
    directory = in_place or directory
    if is_template(directory):
        raise CosmosValueError(
            f"virtualenv_dir={str(directory)!r} is a template, which only a running task fills in. For an environment "
            "that is built beforehand give the folder itself, for example from os.environ."
        )
    return WantedEnvironment(directory=directory, arguments=VirtualenvArguments.of(arguments))


def _arguments_of(task: Any) -> Mapping[str, Any] | None:
    """The arguments of a virtualenv task; None for any other task."""
    if isinstance(task, DbtVirtualenvBaseOperator):
        return vars(task)
    made_of = getattr(task, "operator_class", None)
    if not (isinstance(made_of, type) and issubclass(made_of, DbtVirtualenvBaseOperator)):
        return None
    if mapped := sorted(_DECIDING & _mapped_names(task.expand_input.value)):
        raise CosmosValueError(
            f"task {task.task_id!r} is mapped over {', '.join(mapped)}, so its environments are known only when it "
            "runs. Give what decides about the environment to partial()."
        )
    # Airflow lays default_args under these only when the task is about to run.
    of_group = task.task_group.default_args if task.task_group else {}
    return {**task.dag.default_args, **of_group, **task.partial_kwargs}


def _mapped_names(value: object) -> set[str]:
    """The parameters of ``expand`` or of ``expand_kwargs``; what another task hands over names none yet."""
    if isinstance(value, Mapping):
        return set(value)
    return {name for each in value if isinstance(each, Mapping) for name in each} if isinstance(value, list) else set()
