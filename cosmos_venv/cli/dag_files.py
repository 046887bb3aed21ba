"""Importing DAG files, and the managed environments that their tasks need."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from cosmos_venv.cli.output import tell
from cosmos_venv.compat import DAG, dag_files_below, dags_folder, dags_made_by, is_safe_mode
from cosmos_venv.config.validation import is_template
from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException, CosmosValueError, VirtualenvError
from cosmos_venv.managed.resolve import VirtualenvArguments, kept_directory
from cosmos_venv.operators.virtualenv import DbtVirtualenvBaseOperator

FIND_IT = "Write a comment such as `# an airflow dag`, or set [core] dag_discovery_safe_mode = False."
"""The way out for a file that Airflow passes over."""

_WORDS = ("airflow", "dag")  # source: Airflow's airflow.utils.file.might_contain_dag
_DECIDING = {"virtualenv_dir", "is_virtualenv_dir_temporary", *VirtualenvArguments.__struct_fields__}


@dataclass(frozen=True, kw_only=True)
class WantedEnvironment:
    """An environment that at least one task keeps.

    :param directory: where it is kept.
    :param arguments: what is installed in it, and how.
    :param file: the DAG file of the task; it is not compared. None: there is no DAG file.
    """

    directory: Path
    arguments: VirtualenvArguments
    file: Path | None = field(default=None, compare=False)


@dataclass(kw_only=True)
class DagFiles:
    """What was found in DAG files.

    :param dags: how many DAGs they make.
    :param wanted: the environments of their tasks, in order.
    :param failures: sentences on what cannot be known, without credentials.
    """

    dags: int = 0
    wanted: list[WantedEnvironment] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def dag_files_of(source: Path) -> list[Path]:
    """Return the DAG files at a path: the path itself, or the DAG files below a folder.

    :param source: a DAG file, or a folder of DAG files.
    :raises CosmosValueError: when a folder holds no DAG file.
    """
    found = dag_files_below(source) if source.is_dir() else [source]
    if not found:
        raise CosmosValueError(
            f"{source} holds no file in which Airflow would look for a DAG, and is no dbt project (dbt_project.yml)."
        )
    return found


def why_passed_over(content: bytes) -> str:
    """Return a sentence that says why Airflow passes a DAG file over; empty where Airflow looks into the file.

    :param content: of the file.
    """
    if not is_safe_mode():
        return ""
    lowered = content.lower()
    missing = [repr(word) for word in _WORDS if word.encode() not in lowered]
    return f"Airflow passes the file over: it lacks {' and '.join(missing)}." if missing else ""


def import_dag_file(path: Path) -> list[DAG]:
    """Return the DAGs that a file makes, by id.

    The file is imported as Airflow imports it, by its path, with its folder importable. Its exceptions are passed on,
    ``SystemExit`` included.

    :param path: of the DAG file.
    """
    return dags_made_by(_new_module(path))


def read_dag_files(files: Sequence[Path], *, directory: Path | None = None, begin: Callable[[str], object]) -> DagFiles:
    """Import files as Airflow does, and return what the tasks of their DAGs need.

    If other files make a DAG, a file without a DAG is only mentioned.

    :param files: the DAG files.
    :param directory: takes the place of every directory that a task names; None: each task's own directory counts.
    :param begin: is told what begins.
    """
    found, empty = DagFiles(), []
    for file in files:
        begin(f"importing {file.name}")
        try:
            dags = import_dag_file(file)
            for problem in _add_environments(found, file, dags, directory):
                found.failures += [problem] if problem not in found.failures else []
        # The texts of these errors are whole sentences, which a traceback of this package's code would bury.
        except (CosmosConfigException, CosmosLoadDbtException, CosmosValueError, VirtualenvError) as error:
            found.failures.append(mask(f"{file}{_line_in(file, error)} cannot be imported: {error}"))
            continue
        # A DAG file may raise anything, and may end the interpreter; the other files are still to be done.
        except (Exception, SystemExit):  # noqa: BLE001
            # A traceback shows lines of the file, in which a password may stand.
            found.failures.append(mask(f"{file} cannot be imported:\n{traceback.format_exc()}"))
            continue
        found.dags += len(dags)
        empty += [] if dags else [f"{file} makes no DAG."]
    if found.dags == 0:
        found.failures += empty
    else:
        for line in empty:
            tell(line, "yellow")
    return found


def _add_environments(found: DagFiles, file: Path, dags: Sequence[DAG], directory: Path | None) -> Iterator[str]:
    """Add the environments of tasks. Yield a sentence for each environment that is known only when its task runs."""
    for dag in dags:
        for task in dag.tasks:
            try:
                if (environment := _environment_of(task, file, directory)) is not None:
                    found.wanted.append(environment)
            except CosmosValueError as error:
                yield mask(f"{file}: DAG {dag.dag_id!r}: {error}")


def _line_in(file: Path, error: Exception) -> str:
    """The line of the file from which the error came, as ``, line 6,``; nothing where it came from another file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}," if lines else ""


def _new_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"cosmos_venv_dagfile_{path.stem}", path)
    if spec is None:
        raise CosmosValueError(f"{path} is no Python file.")
    # Airflow puts its DAGs folder on sys.path. A file elsewhere may import the modules of its own folder.
    for folder in (path.parent, dags_folder()):
        if path.is_relative_to(folder) and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    return module


def _environment_of(task: object, file: Path, in_place: Path | None) -> WantedEnvironment | None:
    """The environment of a task; None for a task that keeps none.

    :raises CosmosValueError: when its environment cannot be known before the task runs.
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
    return WantedEnvironment(directory=directory, arguments=VirtualenvArguments.of(arguments), file=file)


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
    # Airflow merges default_args into the arguments of a mapped task only when the task is about to run.
    of_group = task.task_group.default_args if task.task_group else {}
    return {**task.dag.default_args, **of_group, **task.partial_kwargs}


def _mapped_names(value: object) -> set[str]:
    """The parameters of ``expand`` or of ``expand_kwargs``; the output of another task names no parameters yet."""
    if isinstance(value, Mapping):
        return set(value)
    return {name for each in value if isinstance(each, Mapping) for name in each} if isinstance(value, list) else set()
