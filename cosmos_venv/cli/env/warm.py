"""The commands ``cosmos-venv env warm`` and ``env fetch``: they make environments ready before tasks need them.

``env fetch`` takes them only from the remote store. ``env warm`` builds the environments that the remote store does not
have, and uploads them.

The command line names DAG files, folders of DAG files, requirements files, dbt projects with a requirements file, or
requirements.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cosmos_venv import credentials
from cosmos_venv.cli.output import Result, Steps, counted, steps, tell
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.processes.cancellation import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.cli.dag_files import WantedEnvironment
    from cosmos_venv.environments.store import Environment
    from cosmos_venv.managed.resolve import VirtualenvArguments

HOW_TO_KEEP = "To keep one, give ExecutionConfig a virtualenv_dir, with ExecutionMode.VIRTUALENV."
_MOST_AT_ONCE = 4
_PROJECT_FILE, _REQUIREMENTS = "dbt_project.yml", "requirements.txt"


@dataclass(frozen=True, kw_only=True)
class BuiltEnvironment:
    """The result of building one environment. No credential is in it.

    :param virtualenv_dir: the directory in which it is kept, as a path.
    :param requirements: pip requirement strings.
    :param path: its directory; None: there is none.
    :param was_built: whether this command has built it.
    :param was_fetched: whether this command has fetched it from the remote store; both are False when it was ready.
    :param was_pushed: whether this command has put it into the remote store.
    :param seconds: that it took to build, or to fetch; 0 when it was ready.
    :param warning: a sentence about what its tasks may lack; None: nothing is known.
    :param error: why there is none, in words; None: it is there.
    """

    virtualenv_dir: str
    requirements: tuple[str, ...]
    path: str | None = None
    was_built: bool = False
    was_fetched: bool = False
    was_pushed: bool = False
    seconds: float = 0.0
    warning: str | None = None
    error: str | None = None


def env_warm(options: argparse.Namespace) -> Result:
    """Build environments in the foreground, before the first task needs them.

    For a DAG file (it is imported), or for all DAG files below a folder, this builds the environment of each virtualenv
    task that keeps one. For a requirements file, or a dbt project with a requirements.txt, it builds the environment
    for py_requirements=['-r FILE']; for --requirement, the one for these. An environment that is ready is not changed.
    With [cosmos_venv] remote_environment_dir it fetches what is there, and puts there what it has built. Exit code 1: a
    file cannot be imported, an environment cannot be built or is known only when its task runs (virtualenv_dir is a
    template, or mapped), or no file makes a DAG. A file without a DAG is only mentioned if other files make one, so
    that dags/*.py may be given. Tasks that keep no environment are no failure.

    :param options: the command line.
    :raises CosmosValueError: when a source describes no environment, or not its directory.
    """
    return _make_ready(options, only_fetches=False)


def env_fetch(options: argparse.Namespace) -> Result:
    """Fetch environments from [cosmos_venv] remote_environment_dir, for the same sources as env warm, and build none.

    An environment that is ready is not changed. Exit code 1: the remote does not hold an environment that can be used
    here, or one of the reasons of env warm.

    :param options: the command line.
    :raises CosmosValueError: as ``env_warm``, or when a setting of the remote store is wrong or missing.
    :raises VirtualenvError: when the key of the remote store cannot be had.
    """
    return _make_ready(options, only_fetches=True)


def _make_ready(options: argparse.Namespace, *, only_fetches: bool) -> Result:
    from cosmos_venv.cli.dag_files import read_dag_files
    from cosmos_venv.managed import remote_environments, resolve

    if not (options.sources or options.py_requirements):
        options.parser.error("give a DAG file, a folder, a requirements file, or --requirement")
    source = remote_environments.store_of_command(only_fetches=True) if only_fetches else None
    dag_files, wanted = _sources_of(options)
    with steps("reading") as step:
        report = reporter(step, is_verbose=options.verbose)
        foreground = resolve.Foreground(directory=options.dir, report=report, source=source)
        with resolve.foreground_imports(foreground):
            read = read_dag_files(dag_files, directory=options.dir, begin=step.begin)
            # The environments for dbt ls were built while the files were read.
            built = _build_all(list(dict.fromkeys([*read.wanted, *wanted])), step, foreground.made, report)
    failures = [*read.failures, *(f"{one.virtualenv_dir}: {one.error}" for one in built if one.error)]
    for one in built:
        if one.warning:
            tell(f"{', '.join(one.requirements)} in {one.virtualenv_dir}: {one.warning}", "yellow")
    lines = [f"{', '.join(one.requirements)} in {one.virtualenv_dir}: {_became(one)}" for one in built]
    if not built and not failures:
        lines = [f"No task of these DAG files ({counted(read.dags, 'DAG')}) keeps a managed environment. {HOW_TO_KEEP}"]
    data = {"environments": [asdict(one) for one in built], "failures": failures}
    return Result(data=data, shown=lines, failures=failures)


def reporter(step: Steps, *, is_verbose: bool) -> Callable[[str], None]:
    """Return a function that shows lines about builds. An installer's lines stand beside the spinner, one at a time.

    :param step: shows them.
    :param is_verbose: whether an installer's lines are printed, too.
    """
    from cosmos_venv.environments.builder import ToolLine

    def report(line: str) -> None:
        is_of_a_tool = isinstance(line, ToolLine)
        show = step.mention if is_of_a_tool and not is_verbose else step.say
        show(credentials.mask(line))

    return report


def _build_all(
    wanted: Sequence[WantedEnvironment], step: Steps, made: Mapping[Path, Environment], report: Callable[[str], None]
) -> list[BuiltEnvironment]:
    """Build all environments: several of one directory at once, under one owner of its lock."""
    from cosmos_venv.managed import resolve

    cancellation = Cancellation()
    build = partial(_build, step=step, made=made, cancellation=cancellation)
    built: dict[WantedEnvironment, BuiltEnvironment] = {}
    for directory in dict.fromkeys(one.directory for one in wanted):
        missing = [one for one in wanted if one.directory == directory and _is_missing(one)]
        if len(missing) < 2:  # one alone waits for the lock itself
            continue
        try:
            with (
                resolve.holding_the_lock(directory, cancellation=cancellation, report=report),
                ThreadPoolExecutor(_MOST_AT_ONCE) as workers,
            ):
                # A thread begins with an empty context: only the copy has foreground_builds.
                ends = [workers.submit(copy_context().run, build, one) for one in missing]
                try:
                    built.update(zip(missing, [end.result() for end in ends], strict=True))
                except BaseException:  # Ctrl-C
                    cancellation.request()
                    raise
        except (VirtualenvError, CosmosValueError) as error:
            built.update((one, replace(_begun(one), error=credentials.mask(str(error)))) for one in missing)
    return [built.get(one) or build(one) for one in wanted]


def _is_missing(wanted: WantedEnvironment) -> bool:
    from cosmos_venv.managed import resolve

    try:
        return not resolve.is_ready(wanted.arguments.spec(), wanted.directory)
    except (VirtualenvError, CosmosValueError):
        return False  # the build reports it


def _begun(wanted: WantedEnvironment) -> BuiltEnvironment:
    requirements = tuple(credentials.mask(text) for text in wanted.arguments.py_requirements)
    return BuiltEnvironment(virtualenv_dir=str(wanted.directory), requirements=requirements)


def _build(
    wanted: WantedEnvironment, *, step: Steps, made: Mapping[Path, Environment], cancellation: Cancellation
) -> BuiltEnvironment:
    from cosmos_venv.managed import resolve

    result = _begun(wanted)
    step.begin(f"{', '.join(result.requirements)} in {wanted.directory}")
    try:
        with resolve.managed_environment(
            wanted.arguments,
            wanted.directory,
            cancellation=cancellation,
            # The reporter of foreground_imports gets all lines. The lines of this function are in the summary.
            report=lambda _: None,
        ) as environment:
            result = replace(result, path=str(environment.path), warning=_driver_warning(environment))
            if (new := made.get(environment.path)) is None:
                return result
            was_fetched = bool(environment.record.fetched_from)
            # The record of a fetched environment has the seconds of its build on another machine.
            seconds = new.seconds if was_fetched else environment.record.seconds
            return replace(
                result,
                was_built=not was_fetched,
                was_fetched=was_fetched,
                was_pushed=new.was_pushed,
                seconds=round(seconds, 3),
            )
    except (VirtualenvError, CosmosValueError) as error:
        return replace(result, error=credentials.mask(str(error)))


def _driver_warning(environment: Environment) -> str | None:
    from cosmos_venv.dbt.native.program import DRIVER_ADVICE, has_driver, is_native

    if not is_native(environment.script("dbt"), recorded=environment.engine) or has_driver(environment.path):
        return None
    return (
        "dbt 2 has no database driver in this environment, so it downloads one when a task runs, unless the worker has "
        f"one. {DRIVER_ADVICE} On this command line: --adbc-driver beside --requirement."
    )


def _became(one: BuiltEnvironment) -> str:
    if one.was_built or one.was_fetched:
        pushed = ", and put into the remote store" if one.was_pushed else ""
        return f"{'fetched' if one.was_fetched else 'built'} in {one.seconds:.1f} s{pushed}"
    return "failed" if one.error else "was ready"


def _sources_of(options: argparse.Namespace) -> tuple[list[Path], list[WantedEnvironment]]:
    """Return the DAG files of the command line, and the environments that its options describe without a DAG file.

    :raises CosmosValueError: when a source describes no environment, or not its directory, or when the command line
        has options that none of the sources takes.
    """
    from cosmos_venv.cli.dag_files import WantedEnvironment, dag_files_of
    from cosmos_venv.managed.resolve import VirtualenvArguments

    given = VirtualenvArguments.of(vars(options))
    dag_files: list[Path] = []
    described = [given] if given.py_requirements else []
    for source in options.sources:
        if file := _requirements_of(source):
            described.append(msgspec.structs.replace(given, py_requirements=(f"-r {shlex.quote(str(file))}",)))
        else:
            dag_files += dag_files_of(source)
    if dag_files and not described:
        _refuse_without_effect(given)
    if described and options.dir is None:
        raise CosmosValueError("Requirements do not say where their environment should be: give --dir too.")
    return dag_files, [WantedEnvironment(directory=options.dir, arguments=each) for each in described]


def _refuse_without_effect(given: VirtualenvArguments) -> None:
    """Raise where the command line has arguments of an operator, and only DAG files, whose operators have their own."""
    said = {
        "--pip-option": given.pip_install_options,
        "--adbc-driver": given.adbc_drivers,
        "--python": given.py_executable,
        "--system-site-packages": given.py_system_site_packages,
    }
    if named := [option for option, value in said.items() if value]:
        raise CosmosValueError(
            f"{', '.join(named)} {'has' if len(named) == 1 else 'have'} no effect on a DAG file: its operators say "
            "what their environments are. Give the arguments to them, in operator_args."
        )


def _requirements_of(source: Path) -> Path | None:
    """The requirements file that a source is or has; None for a DAG file or a folder of DAG files."""
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
