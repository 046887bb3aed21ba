"""The command ``cosmos-venv``: what can be done about managed environments from a shell, a Dockerfile, a script.

Exit codes: 0 all is well, 1 something is wrong, 2 the command was used wrongly.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from rich.console import Console
from rich_argparse import RichHelpFormatter

from cosmos_venv import __version__
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.guarded import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.managed import VirtualenvArguments
    from cosmos_venv.operators.virtualenv import DbtVirtualenvBaseOperator

OK, WRONG, BAD_USE = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class BuiltEnvironment:
    """What became of one environment."""

    virtualenv_dir: str
    requirements: tuple[str, ...]
    path: str | None = None
    was_built: bool = False
    seconds: float = 0.0
    error: str | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code; wrong use exits with 2, as argparse does."""
    options = _parser().parse_args(arguments)
    # The result is for stdout alone: with --json a program reads it.
    talk = Console(stderr=True, highlight=False)
    code: int = options.run(options, talk)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cosmos-venv", description=__doc__, formatter_class=RichHelpFormatter)
    parser.add_argument("--version", action="version", version=f"cosmos-venv {__version__}")
    subjects = parser.add_subparsers(title="subjects", required=True, metavar="SUBJECT")
    env = subjects.add_parser("env", help="managed environments", formatter_class=RichHelpFormatter)
    actions = env.add_subparsers(title="actions", required=True, metavar="ACTION")
    build = actions.add_parser(
        "build",
        help="build the environments that the tasks of DAG files need",
        description="Imports each DAG file and builds, in the foreground, the managed environment of each of its "
        "virtualenv tasks that keeps one (virtualenv_dir). What is ready stays as it is.",
        formatter_class=RichHelpFormatter,
    )
    build.add_argument("dagfiles", nargs="+", type=_existing_file, metavar="DAGFILE", help="a Python file with DAGs")
    build.add_argument("--json", action="store_true", help="print what was done as JSON")
    build.set_defaults(run=_env_build)
    return parser


def _existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    return path.resolve()


def _env_build(options: argparse.Namespace, talk: Console) -> int:
    from cosmos_venv import managed

    built: list[BuiltEnvironment] = []
    failures: list[str] = []
    with _only_the_result_on_stdout(), managed.building_in_foreground():
        for file in options.dagfiles:
            try:
                tasks = list(_virtualenv_tasks(_import(file)))
            except Exception:  # noqa: BLE001 - a DAG file may raise anything, and the other files are still to be done
                failures.append(f"{file} cannot be imported:\n{traceback.format_exc()}")
                continue
            built += _build_all(tasks, talk)
    failures += [f"{one.virtualenv_dir}: {one.error}" for one in built if one.error]
    for failure in failures:
        talk.print(failure, style="red", markup=False)
    if options.json:
        print(json.dumps({"environments": [asdict(one) for one in built], "failures": failures}, indent=2))
    else:
        _show(built)
    return WRONG if failures else OK


@contextmanager
def _only_the_result_on_stdout() -> Iterator[None]:
    """Within this block whatever is written to stdout goes to stderr: Airflow 3 logs there, a DAG file may print."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


def _import(file: Path) -> ModuleType:
    """Import a DAG file as Airflow does: by path, its folder importable."""
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(f"cosmos_venv_dagfile_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise CosmosValueError(f"{file} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _virtualenv_tasks(module: ModuleType) -> Iterator[DbtVirtualenvBaseOperator]:
    from cosmos_venv.compat import DAG
    from cosmos_venv.operators.virtualenv import DbtVirtualenvBaseOperator

    for dag in [value for value in vars(module).values() if isinstance(value, DAG)]:
        for task in dag.tasks:
            if isinstance(task, DbtVirtualenvBaseOperator) and task.kept_directory is not None:
                yield task


def _build_all(tasks: Sequence[DbtVirtualenvBaseOperator], talk: Console) -> list[BuiltEnvironment]:
    """One build for each different environment, in the order of the tasks."""
    from cosmos_venv.managed import VirtualenvArguments

    wanted = {(task.kept_directory, VirtualenvArguments.of(vars(task))): None for task in tasks}
    return [_build(arguments, directory, talk) for directory, arguments in wanted if directory is not None]


def _build(arguments: VirtualenvArguments, directory: Path, talk: Console) -> BuiltEnvironment:
    from cosmos_venv.managed import managed_environment

    began = time.monotonic()
    try:
        with managed_environment(
            arguments,
            directory,
            cancellation=Cancellation(),
            report=lambda line: talk.print(line, style="dim", markup=False),
        ) as environment:
            return BuiltEnvironment(
                virtualenv_dir=str(directory),
                requirements=arguments.py_requirements,
                path=str(environment.path),
                was_built=environment.was_built,
                seconds=round(time.monotonic() - began, 1),
            )
    except (VirtualenvError, CosmosValueError) as error:
        return BuiltEnvironment(virtualenv_dir=str(directory), requirements=arguments.py_requirements, error=str(error))


def _show(built: Sequence[BuiltEnvironment]) -> None:
    show = Console(highlight=False, soft_wrap=True)
    if not built:
        show.print("No task of these DAG files keeps a managed environment.")
    for one in built:
        what = "failed" if one.error else f"built in {one.seconds} s" if one.was_built else "was ready"
        show.print(f"{', '.join(one.requirements)} in {one.virtualenv_dir}: {what}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
