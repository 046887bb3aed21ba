"""How does ``dbt ls`` run while a DAG file is imported? With the dbt that the tasks will use."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import managed
from cosmos_venv.constants import ExecutionMode
from cosmos_venv.dbt.command import vars_flags
from cosmos_venv.dbt.installed import identity_of, packages_beside
from cosmos_venv.dbt.outputs import Outputs, downloading_in_place, named_folders
from cosmos_venv.dbt.package_files import LOCK_FILE, has_packages
from cosmos_venv.dbt.packages import is_pinned
from cosmos_venv.dbt.process import run_dbt
from cosmos_venv.dbt.results import Artifacts, failure_text
from cosmos_venv.dbt.workspace import descriptors_of, workspace
from cosmos_venv.environments import credentials
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException, VirtualenvError
from cosmos_venv.guarded import Cancellation
from cosmos_venv.project.dbt_ls import ls_arguments, variables_of
from cosmos_venv.project.environment import environment_of, given_env_vars
from cosmos_venv.started_guard import started_ahead

if TYPE_CHECKING:
    from cosmos_venv.dbt.partial_parse import ParsedProject
    from cosmos_venv.project.load import DbtGraph

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DbtInstallation:
    """A dbt that can be run now.

    :param identity: differs where the dbt may be another one.
    :param virtualenv_dir: where its environment is kept; None for a dbt that is not ours.
    """

    executable: str
    keep_open: tuple[int, ...] = ()
    is_managed: bool = False
    identity: str
    virtualenv_dir: Path | None = None

    @property
    def which(self) -> list[object]:
        """All by which its answers may differ. A managed one is the same on every machine, wherever it stands."""
        return [self.identity, packages_beside(self.executable) if self.is_managed else self.executable]


@dataclass(frozen=True, kw_only=True)
class Said:
    """:param lines: what dbt has written.
    :param is_pinned: whether it would say so tomorrow too: no packages were installed but those that a lock file pins.
    """

    lines: list[str]
    is_pinned: bool


def wants_deps(graph: DbtGraph) -> bool:
    """Whether ``dbt deps`` is to install packages first."""
    given = graph.render_config.dbt_deps
    return (graph.project.install_dbt_deps if given is None else given) and has_packages(graph.project_path)


def run_dbt_ls(graph: DbtGraph, dbt: DbtInstallation, profile: Path, secrets: Mapping[str, str]) -> Said:
    """The lines of ``dbt ls`` for the graph's project and selection: what dbt says now.

    :param dbt: that of ``installation``.
    :param profile: the profiles.yml; beside it the variables that it asks for.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    assert graph.profile_config is not None  # noqa: S101 - as above
    project_dir = graph.project_path
    variables = variables_of(graph)
    has_deps = wants_deps(graph)
    parsed = _parsed_project(graph, profile, variables, dbt) if graph.project.partial_parse else None
    env = {**environment_of_dbt(graph, dbt), **secrets}
    with started_ahead(), workspace(project_dir, install_deps=has_deps, parsed=parsed, environment=env) as place:
        flags = ["--project-dir", str(place), *graph.profile_config.flags(profile)]
        outputs = Outputs.of(place, named_folders(env, given_env_vars(graph)))
        env = outputs.variables(env)
        deps = ["deps", *flags, *vars_flags(variables)]
        arguments = ls_arguments(graph.render_config, graph.project, dbt_vars=variables)
        packages = managed.project_packages(
            project_dir, dbt.virtualenv_dir, variables=variables, env=env, which_dbt=dbt.identity
        )
        installed = packages.installed(
            place,
            install=lambda: _run(dbt, deps, downloading_in_place(place, env), place, outputs.artifacts()),
            cancellation=Cancellation(),
            report=logger.info,
        )
        with installed if has_deps else nullcontext(()) as keep_open:
            artifacts = outputs.artifacts()
            lines = _run(dbt, [*arguments, *flags], env, place, artifacts, keep_open)
        if parsed is not None:
            parsed.keep(artifacts)
        return Said(lines=lines, is_pinned=not has_deps or is_pinned(project_dir, place / LOCK_FILE))


def _parsed_project(
    graph: DbtGraph, profiles_yml: Path, variables: Mapping[str, object] | None, dbt: DbtInstallation
) -> ParsedProject:
    assert graph.profile_config is not None  # noqa: S101 - as above
    return managed.parsed_project(
        graph.project_path,
        profiles_yml,
        target_name=graph.profile_config.target_name,
        variables=variables,
        env=environment_of(graph),
        which_dbt=dbt.identity,
    )


def _run(
    dbt: DbtInstallation,
    arguments: list[str],
    env: Mapping[str, str],
    place: Path,
    artifacts: Artifacts,
    keep_open: tuple[int, ...] = (),
) -> list[str]:
    try:
        result = run_dbt(
            [dbt.executable, *arguments],
            env=env,
            cwd=place,
            keep_open=(*dbt.keep_open, *descriptors_of(place), *keep_open),
        )
    except OSError as error:
        raise CosmosConfigException(
            f"The dbt executable {dbt.executable!r} cannot be started: {error.strerror}. Install dbt there, name "
            "another as dbt_executable_path, use ExecutionMode.VIRTUALENV with a virtualenv_dir, or load a manifest "
            "with LoadMode.DBT_MANIFEST, which needs no dbt."
        ) from error
    if result.exit_code:
        reason = credentials.mask(failure_text(artifacts, lines=result.full_output))
        raise CosmosLoadDbtException(f"dbt {arguments[0]} ended with exit code {result.exit_code}.\n{reason}")
    return result.full_output


def environment_of_dbt(graph: DbtGraph, dbt: DbtInstallation) -> dict[str, str]:
    """The environment variables of ``dbt ls``, without those of the profile."""
    env = environment_of(graph)
    return managed.without_worker_python(env) if dbt.is_managed else env


@contextmanager
def installation(graph: DbtGraph) -> Iterator[DbtInstallation]:
    """The dbt that the tasks will use, or the one that was named for parsing.

    :raises CosmosLoadDbtException: when its environment is not ready yet.
    """
    render, execution = graph.render_config, graph.execution_config
    if render.has_own_executable or execution.execution_mode is not ExecutionMode.VIRTUALENV:
        named = render.dbt_executable_path if render.has_own_executable else execution.dbt_executable_path
        yield DbtInstallation(executable=str(named), identity=identity_of(shutil.which(str(named)) or str(named)))
        return
    directory = _kept_directory(graph)
    try:
        with managed.environment_for_parsing(
            managed.VirtualenvArguments.of(graph.operator_args), directory, report=logger.info
        ) as environment:
            yield DbtInstallation(
                executable=str(environment.script("dbt")),
                keep_open=environment.keep_open,
                is_managed=True,
                identity=environment.digest,
                virtualenv_dir=directory,
            )
    except VirtualenvError as error:
        raise CosmosLoadDbtException(str(error)) from None  # the text says it all, and twice would bury it


def _kept_directory(graph: DbtGraph) -> Path:
    arguments: Mapping[str, Any] = graph.operator_args
    given = graph.execution_config.virtualenv_dir or arguments.get("virtualenv_dir")
    directory = managed.kept_directory(given, arguments.get("is_virtualenv_dir_temporary") or False)
    if directory is None or managed.is_template(directory):
        raise CosmosLoadDbtException(
            f"LoadMode.DBT_LS runs dbt in the managed environment, and virtualenv_dir={given!r} keeps none for the "
            "time of parsing. Set ExecutionConfig(virtualenv_dir=...) to a folder that stays, or load a manifest with "
            "LoadMode.DBT_MANIFEST, which needs no dbt."
        )
    return directory
