"""The commands ``cosmos-venv env warm`` and ``env fetch``: they make the environments ready that their words mean.

``env fetch`` takes them from the remote store alone; ``env warm`` builds what is not there, and puts it there.

The words are DAG files, folders of such, requirements files, dbt projects with one, or requirements.
"""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv import credentials
from cosmos_venv.cli.output import OK, WRONG, Steps, only_the_result_on_stdout, print_json, print_lines, steps, tell
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException, CosmosValueError, VirtualenvError
from cosmos_venv.processes.cancellation import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.cli.dag_files import DagFile, WantedEnvironment
    from cosmos_venv.environments.environment import Environment
    from cosmos_venv.managed.arguments import VirtualenvArguments
    from cosmos_venv.managed.resolve import Made

HOW_TO_KEEP = "To keep one, give ExecutionConfig a virtualenv_dir, with ExecutionMode.VIRTUALENV."
_MOST_AT_ONCE = 4
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


def env_warm(
    sources: Sequence[Path],
    *,
    directory: Path | None = None,
    as_json: bool,
    is_verbose: bool = False,
    only_fetches: bool = False,
    **arguments: Any,
) -> int:
    """Make the environments ready that the sources mean.

    :param sources: DAG files, folders of such, requirements files, dbt projects with one.
    :param directory: where, in place of every ``virtualenv_dir`` of DAG files.
    :param as_json: whether stdout gets ``{"environments": [...], "failures": [...]}`` in place of lines to read.
    :param is_verbose: whether all is shown that the installer writes.
    :param only_fetches: whether what the remote store does not have is a failure; else it is built.
    :param **arguments: those of ``VirtualenvArguments``, for what no DAG file says.
    :returns: the exit code.
    :raises CosmosValueError: when a source says nothing of an environment, or not where it should be, or a setting of
        the remote store is wrong or missing.
    :raises VirtualenvError: when the key of the remote store cannot be had.
    """
    from cosmos_venv.managed import remote_environments, resolve
    from cosmos_venv.managed.arguments import VirtualenvArguments

    given = VirtualenvArguments.of(arguments)
    source = remote_environments.store_of_command(only_fetches=True) if only_fetches else None
    with steps("reading", as_json=as_json) as step, only_the_result_on_stdout():
        report = reporter(step, is_verbose=is_verbose)
        foreground = resolve.Foreground(directory=directory, report=report, source=source)
        with resolve.building_in_foreground(foreground):
            targets = targets_of(sources, given, directory=directory, step=step)
            step.expect(len(targets.wanted))
            # What dbt ls needed was made while the file was read.
            built = _build_all(targets.wanted, step, foreground.made, report)
    failures = [*targets.failures, *(f"{one.virtualenv_dir}: {one.error}" for one in built if one.error)]
    for failure in failures:
        tell(failure)
    for one in built:
        if one.warning:
            tell(f"{', '.join(one.requirements)} in {one.virtualenv_dir}: {one.warning}", "yellow")
    if as_json:
        print_json({"environments": [asdict(one) for one in built], "failures": failures})
    elif built or not failures:
        print_lines(_lines(built, targets.dags or 0))
    return WRONG if failures else OK


def reporter(step: Steps, *, is_verbose: bool) -> Callable[[str], None]:
    """Return what shows lines about builds. An installer's hundreds stand beside the bar, unless all are wanted.

    :param step: shows them.
    :param is_verbose: whether all are wanted.
    """
    from cosmos_venv.environments.builder import ToolLine

    def report(line: str) -> None:
        is_of_a_tool = isinstance(line, ToolLine)
        show = step.mention if is_of_a_tool and not is_verbose else step.say
        show(credentials.mask(line))

    return report


def _build_all(
    wanted: Sequence[WantedEnvironment], step: Steps, made: Mapping[Path, Made], report: Callable[[str], None]
) -> list[BuiltEnvironment]:
    """Build all environments: several of one directory at once, under one owner of its lock."""
    from cosmos_venv.managed import resolve

    built: dict[WantedEnvironment, BuiltEnvironment] = {}
    cancellation = Cancellation()
    for directory in dict.fromkeys(one.directory for one in wanted):
        missing = [one for one in wanted if one.directory == directory and _is_missing(one)]
        if not missing[1:]:  # one alone waits for the lock itself
            continue
        workers = ThreadPoolExecutor(max_workers=_MOST_AT_ONCE)
        try:
            with resolve.holding_the_lock(directory, cancellation=cancellation, report=report):
                # A thread begins with an empty context, and the order to build in the foreground stands there.
                ends = [workers.submit(copy_context().run, _build, one, step, made, cancellation) for one in missing]
                built.update(zip(missing, [end.result() for end in ends], strict=True))
        except (VirtualenvError, CosmosValueError) as error:
            built.update((one, _failed(one, error)) for one in missing)
        except BaseException:  # Ctrl-C
            cancellation.request()
            raise
        finally:
            workers.shutdown()
    return [built.get(one) or _build(one, step, made, cancellation) for one in wanted]


def _is_missing(wanted: WantedEnvironment) -> bool:
    from cosmos_venv.managed import resolve

    try:
        return not resolve.is_ready(wanted.arguments.spec(), wanted.directory)
    except (VirtualenvError, CosmosValueError):
        return False  # told when it is to be built


def _build(
    wanted: WantedEnvironment, step: Steps, made: Mapping[Path, Made], cancellation: Cancellation
) -> BuiltEnvironment:
    from cosmos_venv.managed import resolve

    directory = str(wanted.directory)
    requirements = tuple(credentials.mask(text) for text in wanted.arguments.py_requirements)
    step.begin(f"{', '.join(requirements)} in {directory}")
    try:
        with resolve.managed_environment(
            wanted.arguments,
            wanted.directory,
            cancellation=cancellation,
            # The reporter of ``building_in_foreground`` gets all lines; those dropped here stand in the summary.
            report=_silent,
        ) as environment:
            new, record = made.get(environment.path), environment.record
            was_fetched = new is not None and bool(record.fetched_from)
            # The record of what was fetched tells how long its builder has built.
            seconds = new.seconds if new is not None and was_fetched else record.seconds
            return BuiltEnvironment(
                virtualenv_dir=directory,
                requirements=requirements,
                path=str(environment.path),
                was_built=new is not None and not was_fetched,
                was_fetched=was_fetched,
                was_pushed=new is not None and new.was_pushed,
                seconds=0.0 if new is None else round(seconds, 3),
                warning=_driver_warning(environment),
            )
    except (VirtualenvError, CosmosValueError) as error:
        return _failed(wanted, error)
    finally:
        step.end()


def _failed(wanted: WantedEnvironment, error: Exception) -> BuiltEnvironment:
    requirements = tuple(credentials.mask(text) for text in wanted.arguments.py_requirements)
    return BuiltEnvironment(
        virtualenv_dir=str(wanted.directory), requirements=requirements, error=credentials.mask(str(error))
    )


def _driver_warning(environment: Environment) -> str | None:
    from cosmos_venv.dbt.native.engine import engine_of
    from cosmos_venv.dbt.native.program import DRIVER_ADVICE, has_driver

    engine = engine_of(environment.script("dbt"), recorded=environment.engine)
    if engine.brings_drivers or has_driver(environment.path):
        return None
    return (
        "dbt 2 has no database driver in this environment, so it downloads one when a task runs, unless the worker has "
        f"one. {DRIVER_ADVICE} On this command line: --adbc-driver beside --requirement."
    )


def _silent(_: str) -> None:
    pass


def _lines(built: Sequence[BuiltEnvironment], dags: int) -> list[str]:
    if not built:
        read = f"{dags} DAG{'s' * (dags != 1)}"
        return [f"No task of these DAG files ({read}) keeps a managed environment. {HOW_TO_KEEP}"]
    return [f"{', '.join(one.requirements)} in {one.virtualenv_dir}: {_became(one)}" for one in built]


def _became(one: BuiltEnvironment) -> str:
    if one.was_built or one.was_fetched:
        pushed = ", and put into the remote store" if one.was_pushed else ""
        return f"{'fetched' if one.was_fetched else 'built'} in {one.seconds:.1f} s{pushed}"
    return "failed" if one.error else "was ready"


def targets_of(sources: Sequence[Path], given: VirtualenvArguments, *, directory: Path | None, step: Steps) -> Targets:
    """Read the sources and return the environments that they mean; DAG files are imported.

    :param sources: DAG files, folders of such, requirements files, dbt projects with one.
    :param given: requirements and options of the command line.
    :param directory: where, in place of every ``virtualenv_dir``; None: as the DAG files have it.
    :param step: shows how far it has come.
    :raises CosmosValueError: when a source says nothing of an environment, or not where it should be, or when the
        command line has options that none of the sources takes.
    """
    dag_files: list[Path] = []
    requirements = [given] if given.py_requirements else []
    for source in sources:
        if file := _requirements_of(source):
            requirements.append(msgspec.structs.replace(given, py_requirements=(f"-r {shlex.quote(str(file))}",)))
        else:
            dag_files += dag_files_of(source)
    if dag_files and not requirements:
        _refuse_without_effect(given)
    targets = _targets_of_dags(dag_files, directory, step) if dag_files else Targets()
    if requirements:
        targets.wanted += _placed(requirements, directory)
    targets.wanted = list(dict.fromkeys(targets.wanted))
    return targets


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


def dag_files_of(source: Path) -> list[Path]:
    """Return the DAG files that a source means.

    :param source: a DAG file, or a folder of such.
    :raises CosmosValueError: when a folder holds none.
    """
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


def _targets_of_dags(files: Sequence[Path], directory: Path | None, step: Steps) -> Targets:
    """The environments that DAG files need, so far as they can be known."""
    read, failures = read_dag_files(files, directory=directory, step=step)
    wanted = [one for file in read for one in file.wanted]
    return Targets(wanted=wanted, dags=sum(file.dags for file in read), failures=failures)


def read_dag_files(
    files: Sequence[Path], *, directory: Path | None = None, step: Steps
) -> tuple[list[DagFile], list[str]]:
    """Import DAG files. Return what the tasks of each need, and sentences on what cannot be known, without credentials.

    :param files: the DAG files.
    :param directory: stands for every directory that a task names; None: each task's own.
    :param step: shows how far it has come.
    """
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
    return read, failures


def _line_in(file: Path, error: Exception) -> str:
    """The line of the file from which the error came, as ``, line 6,``; nothing where it came from another file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}," if lines else ""
