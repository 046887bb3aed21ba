"""One question to ``dbt ls``: all that its answer depends on, as plain values that another process can be given.

``question_of`` finds them for a graph; nothing else here knows a graph, a setting or Airflow.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv.constants import ExecutionMode
from cosmos_venv.dbt.command import vars_text
from cosmos_venv.dbt.installation import identity_of, packages_beside
from cosmos_venv.dbt.project_files import (
    PACKAGE_FILES,
    EnvVars,
    env_vars_in,
    has_packages,
    local_package,
    read_dbt_project,
    read_package_files,
    veiled,
)
from cosmos_venv.dbt.state import NAMES
from cosmos_venv.dbt.workspace import named_folders
from cosmos_venv.exceptions import CosmosLoadDbtException, VirtualenvError
from cosmos_venv.managed import from_settings, resolve
from cosmos_venv.project.dbt_ls import dbt_vars_of, ls_arguments
from cosmos_venv.project.fingerprint import Tree, digest_of_file, fingerprint
from cosmos_venv.project.load_request import environment_of, given_env_vars, state_folders

if TYPE_CHECKING:
    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.environments.environment import Damaged, Environment
    from cosmos_venv.files.file_cache import KeptFiles
    from cosmos_venv.project.graph import DbtGraph

_PROFILE = "profiles.yml"
# Files of a project that another file, or nobody, asks for its variables: the profile in use is looked at by itself.
_APART = (_PROFILE, *PACKAGE_FILES)


@dataclass(frozen=True, kw_only=True)
class DbtInstallation:
    """A dbt that can be run now.

    :param keep_open: descriptors of the lease of its environment.
    :param is_managed: whether that is one of ours.
    :param identity: differs where the dbt may be another one.
    :param virtualenv_dir: where its environment is kept; None for a dbt that is not ours.
    :param environment: likewise; None too in another process than the one that has opened it.
    """

    executable: str
    keep_open: tuple[int, ...] = ()
    is_managed: bool = False
    identity: str
    virtualenv_dir: Path | None = None
    environment: Environment | None = None

    @property
    def which(self) -> list[object]:
        """All by which its answers may differ. A managed one is the same on every machine, wherever it stands."""
        return [self.identity, packages_beside(self.executable) if self.is_managed else self.executable]


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What an answer depends on, as far as that is known before dbt has run.

    :param digest: differs where one of these differs: 64 hex digits.
    :param names: the environment variables whose values count in it.
    :param made_up: where the project makes up names of others that dbt notes when it runs; empty where it does not.
    :param unknown: why nobody can tell what the answer depends on, in words; empty where that can be told.
    """

    digest: str
    names: frozenset[str]
    made_up: str = ""
    unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class LsQuestion:
    """What is asked of dbt, and how.

    :param profile: the text of the profile. It holds no secret of a Connection, but calls of ``env_var()``.
    :param profiles_yml: where it lies while whoever asks waits.
    :param profile_shown: how a user knows it.
    :param profile_flags: by which dbt is told profile and target.
    :param env: environment variables for dbt.
    :param secrets: likewise, those of the profile. They do not count: another password lists the same nodes.
    :param given: names of those variables that the user has given, which count whoever reads them.
    :param folders: names and values of those that say where dbt writes.
    :param arguments: of ``dbt ls``, without folders, profile and target.
    :param variables: the value of ``--vars``; None: there is none.
    :param has_deps: whether ``dbt deps`` installs packages first.
    :param airflow_variables: names and values of Airflow's Variables that count.
    :param known: where fingerprints of earlier are kept.
    """

    project_dir: Path
    dbt: DbtInstallation
    profile: str
    profiles_yml: Path
    profile_shown: str
    profile_flags: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    given: tuple[str, ...]
    folders: Mapping[str, str]
    arguments: tuple[str, ...]
    variables: str | None
    has_deps: bool
    airflow_variables: tuple[tuple[str, str | None], ...]
    known: KeptFiles | None

    def basis(self) -> Basis:
        """What the answer would depend on if dbt ran now: the files are looked at anew."""
        project_file = read_dbt_project(self.project_dir, environment=self.env)
        packages = read_package_files(self.project_dir)
        beside = dict.fromkeys((*packages.local, *project_file.paths_outside))
        projects = [self.project_dir, *(local_package(self.project_dir, path) for path in beside)]
        # Packages that dbt deps installs follow from the project's files, but for local ones.
        installed = "" if self.has_deps else project_file.packages_folder
        left_out = {project_file.packages_folder} if self.has_deps else set()
        trees = [Tree(folder=self.project_dir, environment=self.env, packages_folder=installed, left_out=left_out)]
        for path, folder in zip(beside, projects[1:], strict=True):
            environment = None if path in project_file.paths_outside else self.env
            trees.append(Tree(folder=folder, environment=environment, left_out=left_out | self._inner(folder)))
        found = [fingerprint(tree, known=self.known) for tree in trees]
        profile = self._profile_now()
        of_profile = env_vars_in(profile.encode(), _PROFILE)
        asked = EnvVars.of_all([of_profile, *(one.variables for one in found)])
        names = frozenset({*self.given, *asked.names, *(name for name in self.env if name.startswith("DBT_"))})
        matters = [
            self.dbt.which,
            [one.digest for one in found],
            profile,
            self.profile_flags,
            self.arguments,
            self.has_deps,
            veiled(self.env, names),
            self.airflow_variables,
            self._state(trees),
        ]
        made_up = [(f"{self.profile_shown}, line {each.line}", each) for each in of_profile.made_up]
        for folder, one in zip(projects, found, strict=True):
            made_up += [(f"{folder}/{each}", each) for each in one.variables.made_up if each.file not in _APART]
        return Basis(
            digest=hashlib.sha256(json.dumps(matters).encode()).hexdigest(),
            names=names,
            made_up=next((where for where, each in made_up if each.is_noted), ""),
            unknown=(packages.why_unknown if self.has_deps else "")
            or next((makes_up(where) for where, each in made_up if not each.is_noted), ""),
        )

    def _profile_now(self) -> str:
        try:
            return self.profiles_yml.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:  # one that was written for whoever asked, and who waits no longer
            return self.profile

    def _inner(self, package: Path) -> set[str]:
        """Where the project stands in a package that holds it, as ``integration_tests`` do: it counts by itself.

        Seen as a part of the package it would count with what dbt writes, and no answer would ever be found again.
        """
        project_dir = self.project_dir.resolve()
        is_inside = project_dir != package and project_dir.is_relative_to(package)
        return {str(project_dir.relative_to(package))} if is_inside else set()

    def _state(self, trees: Sequence[Tree]) -> list[str]:
        """What ``state:`` and ``result:`` compare, with what: dbt is told the folder of the other run by a variable.

        It compares the content of seeds then, and what was found of sources last, both of which nothing else asks for.
        """
        folders = state_folders(self.project_dir, self.env)
        if not folders:
            return []
        files = [folder / name for folder in folders for name in NAMES]
        files.append(self.project_dir / (self.env.get("DBT_TARGET_PATH") or "target") / "sources.json")
        files += sorted(seed for tree in trees for seed in tree.seeds())
        return [digest_of_file(file, known=self.known) if file.is_file() else "" for file in files]


def makes_up(where: str) -> str:
    """The sentence about a name that is made up there."""
    return f"{where}, makes up the name of an environment variable when it runs"


@contextmanager
def question_of(
    graph: DbtGraph, *, report: Callable[[str], None], instead_of: Damaged | None = None
) -> Iterator[LsQuestion]:
    """The question that the graph asks. Within this block its dbt and its profile are there.

    :param report: gets lines about an environment that is built.
    :param instead_of: its environment, which is damaged: another one takes its place.
    :raises CosmosLoadDbtException: when the environment of its dbt is not ready yet.
    """
    # Most projects that a worker parses for are known already.
    from cosmos_venv.compat import variable

    config, render = graph.profile_config, graph.render_config
    assert config is not None  # noqa: S101 - DbtGraph.load has refused that
    project_dir = graph.project_path
    with (
        _installation(graph, report, instead_of) as dbt,
        config.ensure_profile(use_mock_values=render.enable_mock_profile) as (profiles_yml, secrets),
    ):
        env = environment_of(graph)
        if dbt.is_managed:
            env = resolve.without_worker_python(env)
        given = given_env_vars(graph)
        yield LsQuestion(
            project_dir=project_dir,
            dbt=dbt,
            profile=profiles_yml.read_text(encoding="utf-8", errors="replace"),
            profiles_yml=profiles_yml,
            profile_shown=_shown(config),
            profile_flags=("--profile", config.profile_name, "--target", config.target_name),
            env=env,
            secrets=secrets,
            given=tuple(given),
            folders=named_folders({**env, **secrets}, given),
            arguments=tuple(ls_arguments(render, graph.project, dbt_vars=dbt_vars_of(graph))),
            variables=vars_text(dbt_vars_of(graph)),
            has_deps=_wants_deps(graph),
            airflow_variables=tuple((name, variable(name)) for name in render.airflow_vars_to_purge_dbt_ls_cache),
            known=from_settings.kept_fingerprints(),
        )


def _shown(config: ProfileConfig) -> str:
    return str(config.profiles_yml_filepath or f"the profile of {type(config.profile_mapping).__name__}")


def _wants_deps(graph: DbtGraph) -> bool:
    given = graph.render_config.dbt_deps
    return (graph.project.install_dbt_deps if given is None else given) and has_packages(graph.project_path)


@contextmanager
def _installation(
    graph: DbtGraph, report: Callable[[str], None], instead_of: Damaged | None
) -> Iterator[DbtInstallation]:
    """The dbt that the tasks will use, or the one that was named for parsing."""
    render, execution = graph.render_config, graph.execution_config
    if render.has_own_executable or execution.execution_mode is not ExecutionMode.VIRTUALENV:
        named = render.dbt_executable_path if render.has_own_executable else execution.dbt_executable_path
        yield DbtInstallation(executable=str(named), identity=identity_of(shutil.which(str(named)) or str(named)))
        return
    directory = _kept_directory(graph)
    try:
        with resolve.environment_for_parsing(
            resolve.VirtualenvArguments.of(graph.operator_args), directory, report=report, instead_of=instead_of
        ) as environment:
            yield DbtInstallation(
                executable=str(environment.script("dbt")),
                keep_open=environment.keep_open,
                is_managed=True,
                identity=environment.digest,
                virtualenv_dir=directory,
                environment=environment,
            )
    except VirtualenvError as error:
        raise CosmosLoadDbtException(str(error)) from None  # the text says it all, and twice would bury it


def _kept_directory(graph: DbtGraph) -> Path:
    arguments: Mapping[str, Any] = graph.operator_args
    given = graph.execution_config.virtualenv_dir or arguments.get("virtualenv_dir")
    directory = resolve.kept_directory(given, arguments.get("is_virtualenv_dir_temporary") or False)
    if directory is None or resolve.is_template(directory):
        raise CosmosLoadDbtException(
            f"LoadMode.DBT_LS runs dbt in the managed environment, and virtualenv_dir={given!r} keeps none for the "
            "time of parsing. Set ExecutionConfig(virtualenv_dir=...) to a folder that stays, or load a manifest with "
            "LoadMode.DBT_MANIFEST, which needs no dbt."
        )
    return directory
