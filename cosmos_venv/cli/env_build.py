"""What does ``cosmos-venv env build`` do? Build what the tasks of DAG files need, and say what became of it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from cosmos_venv.cli.output import only_the_result_on_stdout
from cosmos_venv.environments import credentials
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.guarded import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.cli.dagfile import DagFile, WantedEnvironment

OK, WRONG = 0, 1


@dataclass(frozen=True, kw_only=True)
class BuiltEnvironment:
    """What became of one environment. No credential is in it.

    :param seconds: that it took to build; 0 when it was ready.
    """

    virtualenv_dir: str
    requirements: tuple[str, ...]
    path: str | None = None
    was_built: bool = False
    seconds: float = 0.0
    error: str | None = None


def env_build(files: Sequence[Path], *, directory: Path | None = None, as_json: bool) -> int:
    """Build the environments of the DAG files' tasks. Returns the exit code.

    :param directory: where, in place of every ``virtualenv_dir`` of the files.
    :param as_json: whether stdout gets ``{"environments": [...], "failures": [...]}`` in place of lines to read.
    """
    # The result is for stdout alone: with --json a program reads it.
    talk = Console(stderr=True, highlight=False, soft_wrap=True)
    from cosmos_venv import managed

    with only_the_result_on_stdout(), managed.building_in_foreground(directory) as built_here:
        read, failures = _read(files, directory, talk)
        wanted = dict.fromkeys(one for file in read for one in file.wanted)
        # What dbt ls needed was built while the file was read.
        built = [_build(one, talk, built_here) for one in wanted]
    failures += [f"{one.virtualenv_dir}: {one.error}" for one in built if one.error]
    for failure in failures:
        talk.print(failure, style="red", markup=False)
    if as_json:
        print(json.dumps({"environments": [asdict(one) for one in built], "failures": failures}, indent=2))
    elif built or not failures:
        _show(built, sum(file.dags for file in read))
    return WRONG if failures else OK


def _read(files: Sequence[Path], directory: Path | None, talk: Console) -> tuple[list[DagFile], list[str]]:
    """What could be read of the files, and what could not."""
    from cosmos_venv.cli.dagfile import read_dag_file

    read: list[DagFile] = []
    failures: list[str] = []
    for file in files:
        try:
            read.append(read_dag_file(file, directory=directory))
        # A DAG file may raise anything, and may end the interpreter; the other files are still to be done.
        except (Exception, SystemExit):  # noqa: BLE001
            # A traceback shows the lines of the file, and with them what is written there.
            failures.append(credentials.mask(f"{file} cannot be imported:\n{traceback.format_exc()}"))
    failures += [credentials.mask(problem) for file in read for problem in file.problems]
    empty = [f"{file.path} makes no DAG." for file in read if not file.dags]
    if len(empty) < len(read):
        for line in empty:
            talk.print(line, style="yellow", markup=False)
        return read, failures
    return read, failures + empty


def _build(wanted: WantedEnvironment, talk: Console, built_here: set[Path]) -> BuiltEnvironment:
    from cosmos_venv import managed

    directory = str(wanted.directory)
    requirements = tuple(credentials.mask(text) for text in wanted.arguments.py_requirements)
    try:
        with managed.managed_environment(
            wanted.arguments,
            wanted.directory,
            cancellation=Cancellation(),
            report=lambda line: talk.print(credentials.mask(line), style="dim", markup=False),
        ) as environment:
            was_built = environment.path in built_here
            return BuiltEnvironment(
                virtualenv_dir=directory,
                requirements=requirements,
                path=str(environment.path),
                was_built=was_built,
                seconds=round(environment.record["seconds"], 1) if was_built else 0.0,
            )
    except (VirtualenvError, CosmosValueError) as error:
        return BuiltEnvironment(virtualenv_dir=directory, requirements=requirements, error=credentials.mask(str(error)))


def _show(built: Sequence[BuiltEnvironment], dags: int) -> None:
    show = Console(highlight=False, soft_wrap=True)
    if not built:
        show.print(f"No task of these DAG files ({dags} DAG{'s' * (dags != 1)}) keeps a managed environment.")
    for one in built:
        what = "failed" if one.error else f"built in {one.seconds} s" if one.was_built else "was ready"
        show.print(f"{', '.join(one.requirements)} in {one.virtualenv_dir}: {what}", markup=False)
