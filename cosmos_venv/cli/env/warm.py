"""The command ``cosmos-venv env warm``: it builds what tasks will need, and says what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import credentials
from cosmos_venv.cli.output import OK, WRONG, Steps, only_the_result_on_stdout, print_json, print_lines, steps, tell
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.processes.guarded_process import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.cli.dag_files import WantedEnvironment


@dataclass(frozen=True, kw_only=True)
class BuiltEnvironment:
    """The result of building one environment. No credential is in it.

    :param seconds: that it took to build; 0 when it was ready.
    """

    virtualenv_dir: str
    requirements: tuple[str, ...]
    path: str | None = None
    was_built: bool = False
    seconds: float = 0.0
    error: str | None = None


def env_warm(
    sources: Sequence[Path],
    *,
    directory: Path | None = None,
    as_json: bool,
    is_verbose: bool = False,
    **arguments: Any,
) -> int:
    """Build the environments that the sources mean.

    :param sources: DAG files, folders of such, requirements files, dbt projects with one.
    :param directory: where, in place of every ``virtualenv_dir`` of DAG files.
    :param as_json: whether stdout gets ``{"environments": [...], "failures": [...]}`` in place of lines to read.
    :param is_verbose: whether all is shown that the installer writes.
    :param **arguments: those of ``VirtualenvArguments``, for what no DAG file says.
    :returns: the exit code.
    :raises CosmosValueError: when a source says nothing of an environment, or not where it should be.
    """
    from cosmos_venv.cli.env.targets import targets_of
    from cosmos_venv.managed import resolve
    from cosmos_venv.managed.arguments import VirtualenvArguments

    given = VirtualenvArguments.of(arguments)
    with steps("reading", as_json=as_json, counts_later=True) as step, only_the_result_on_stdout():
        report = _reporter(step, is_verbose=is_verbose)
        with resolve.building_in_foreground(directory, report) as built_here:
            targets = targets_of(sources, given, directory=directory, step=step)
            step.expect(len(targets.wanted))
            # What dbt ls needed was built while the file was read.
            built = [_build(one, step, built_here) for one in targets.wanted]
    failures = [*targets.failures, *(f"{one.virtualenv_dir}: {one.error}" for one in built if one.error)]
    for failure in failures:
        tell(failure)
    if as_json:
        print_json({"environments": [asdict(one) for one in built], "failures": failures})
    elif built or not failures:
        print_lines(_lines(built, targets.dags or 0))
    return WRONG if failures else OK


def _reporter(step: Steps, *, is_verbose: bool) -> Callable[[str], None]:
    """The display of lines about builds. An installer's hundreds stand beside the bar, unless all are wanted."""
    from cosmos_venv.environments.builder import ToolLine

    def report(line: str) -> None:
        is_of_a_tool = isinstance(line, ToolLine)
        show = step.mention if is_of_a_tool and not is_verbose else step.say
        show(credentials.mask(line))

    return report


def _build(wanted: WantedEnvironment, step: Steps, built_here: set[Path]) -> BuiltEnvironment:
    from cosmos_venv.managed import resolve

    directory = str(wanted.directory)
    requirements = tuple(credentials.mask(text) for text in wanted.arguments.py_requirements)
    step.begin(f"{', '.join(requirements)} in {directory}")
    try:
        with resolve.managed_environment(
            wanted.arguments,
            wanted.directory,
            cancellation=Cancellation(),
            report=_silent,  # all is said to the one of the foreground, but for what the summary says too
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
    finally:
        step.end()


def _silent(_: str) -> None:
    pass


def _lines(built: Sequence[BuiltEnvironment], dags: int) -> list[str]:
    if not built:
        return [f"No task of these DAG files ({dags} DAG{'s' * (dags != 1)}) keeps a managed environment."]
    return [
        f"{', '.join(one.requirements)} in {one.virtualenv_dir}: "
        + ("failed" if one.error else f"built in {one.seconds} s" if one.was_built else "was ready")
        for one in built
    ]
