"""The environments that a command line means: those of DAG files, of requirements files, and of its own words."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import credentials
from cosmos_venv.cli.output import Steps, tell
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException, CosmosValueError, VirtualenvError

if TYPE_CHECKING:
    from cosmos_venv.cli.dag_files import DagFile, WantedEnvironment
    from cosmos_venv.managed.arguments import VirtualenvArguments

_PROJECT_FILE, _REQUIREMENTS = "dbt_project.yml", "requirements.txt"


@dataclass(kw_only=True)
class Targets:
    """The environments that the words of a command line mean.

    :param wanted: each once, in order.
    :param dags: how many DAGs were seen; None: no DAG file was given.
    :param failures: sentences about what cannot be known, without credentials.
    """

    wanted: list[WantedEnvironment] = field(default_factory=list)
    dags: int | None = None
    failures: list[str] = field(default_factory=list)


def targets_of(sources: Sequence[Path], given: VirtualenvArguments, *, directory: Path | None, step: Steps) -> Targets:
    """Read the sources and return the environments that they mean; DAG files are imported.

    :param sources: DAG files, folders of such, requirements files, dbt projects with one.
    :param given: requirements and options of the command line.
    :param directory: where, in place of every ``virtualenv_dir``; None: as the DAG files have it.
    :param step: shows how far it has come.
    :raises CosmosValueError: when a source says nothing of an environment, or not where it should be.
    """
    dag_files: list[Path] = []
    requirements = [given] if given.py_requirements else []
    for source in sources:
        if file := _requirements_of(source):
            requirements.append(replace(given, py_requirements=(f"-r {shlex.quote(str(file))}",)))
        else:
            dag_files += _dag_files_of(source)
    targets = _read_all(dag_files, directory, step) if dag_files else Targets()
    if requirements:
        targets.wanted += _placed(requirements, directory)
    targets.wanted = list(dict.fromkeys(targets.wanted))
    return targets


def _requirements_of(source: Path) -> Path | None:
    """The requirements file that a source is or has; None where it is one of DAGs."""
    if source.is_dir():
        if not (source / _PROJECT_FILE).is_file():
            return None
        file = source / _REQUIREMENTS
        if not file.is_file():
            raise CosmosValueError(
                f"{source} is a dbt project without {_REQUIREMENTS}, so it does not say which dbt it wants. Give the "
                "DAG file that runs it, or --requirement."
            )
        return file
    return None if source.suffix == ".py" else source


def _dag_files_of(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    from cosmos_venv.compat import dag_files_below

    found = dag_files_below(source)
    if not found:
        raise CosmosValueError(
            f"{source} holds no file in which Airflow would look for a DAG, and is no dbt project ({_PROJECT_FILE})."
        )
    return found


def _placed(requirements: Sequence[VirtualenvArguments], directory: Path | None) -> list[WantedEnvironment]:
    from cosmos_venv.cli.dag_files import WantedEnvironment

    if directory is None:
        raise CosmosValueError("Requirements do not say where their environment should be: give --dir too.")
    return [WantedEnvironment(directory=directory, arguments=each) for each in requirements]


def _read_all(files: Sequence[Path], directory: Path | None, step: Steps) -> Targets:
    """The environments that DAG files need, so far as they can be known."""
    from cosmos_venv.cli.dag_files import read_dag_file

    read: list[DagFile] = []
    failures: list[str] = []
    for file in files:
        step.begin(f"importing {file.name}")
        try:
            read.append(read_dag_file(file, directory=directory))
        # What these say is a whole sentence, which lines of this package's code would bury.
        except (CosmosConfigException, CosmosLoadDbtException, CosmosValueError, VirtualenvError) as error:
            failures.append(credentials.mask(f"{file}{_line_in(file, error)} cannot be imported: {error}"))
        # A DAG file may raise anything, and may end the interpreter; the other files are still to be done.
        except (Exception, SystemExit):  # noqa: BLE001
            # A traceback shows the lines of the file, and with them what is written there.
            failures.append(credentials.mask(f"{file} cannot be imported:\n{traceback.format_exc()}"))
    failures += [credentials.mask(problem) for file in read for problem in file.problems]
    empty = [f"{file.path} makes no DAG." for file in read if not file.dags]
    if len(empty) == len(read):
        failures += empty
    else:
        for line in empty:
            tell(line, "yellow")
    wanted = [one for file in read for one in file.wanted]
    return Targets(wanted=wanted, dags=sum(file.dags for file in read), failures=failures)


def _line_in(file: Path, error: Exception) -> str:
    """The line of the file from which the error came, as ``, line 6,``; nothing where it came from another file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}," if lines else ""
