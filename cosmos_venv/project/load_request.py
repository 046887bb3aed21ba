"""The values of a load: ``LoadRequest`` and ``Loaded``, and ``LsQuestion``, which is put to ``dbt ls``.

All of them are frozen: a loader takes a request, returns what it has found and writes into nothing. An ``LsQuestion``
holds plain values only, so that it can be given to another process.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.dbt.project_files import (
    PACKAGE_FILES,
    DbtProjectFile,
    EnvVars,
    env_vars_in,
    has_packages,
    local_package,
    read_dbt_project,
    read_package_files,
    veiled,
)
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.file_cache import digest_of_file
from cosmos_venv.files.yaml_files import load_yaml
from cosmos_venv.remote.remote_file import shown

if TYPE_CHECKING:
    from cosmos_venv.environments.environment import Environment
    from cosmos_venv.files.file_cache import FileCache
    from cosmos_venv.project.fingerprint import Tree
    from cosmos_venv.project.node import DbtNode

_PROFILE = "profiles.yml"
# Files that the tree of a project does not answer for: the profile in use is looked at by itself.
_APART = (_PROFILE, *PACKAGE_FILES)
# dbt's own names, the newer first, which counts where both are set.
_STATE = ("DBT_ENGINE_STATE", "DBT_STATE")
_DEFERRED_STATE = ("DBT_ENGINE_DEFER_STATE", "DBT_DEFER_STATE")


@dataclass(frozen=True, kw_only=True)
class LoadRequest:
    """Everything that decides which nodes a project has and which of them are selected.

    What is read from files or from the process's environment is read once, when it is first needed.

    :param project: where the project or its manifest is.
    :param render: how it is loaded, and the selection.
    :param execution: where dbt is; names the project's folder, too, where tasks see it elsewhere than the parser.
    :param profile: how dbt reaches the warehouse; None: dbt cannot be asked.
    :param operator_args: arguments of all tasks, which describe the managed environment that dbt ls runs in.
    """

    project: ProjectConfig
    render: RenderConfig
    execution: ExecutionConfig
    profile: ProfileConfig | None
    operator_args: Mapping[str, object]

    @property
    def method(self) -> LoadMode:
        """The way in which the project is loaded, which is never ``AUTOMATIC``."""
        return self._decision[0]

    @property
    def reason(self) -> str:
        """Why it is this way, in words for the log."""
        return self._decision[1]

    @property
    def project_dir(self) -> Path:
        """Absolute folder of the project: as tasks see it when a manifest is loaded, else as the parser sees it.

        :raises CosmosLoadDbtException: when no configuration names one.
        """
        return project_dir(self.project, self.render, self.execution, self.method)

    @cached_property
    def given_env_vars(self) -> Mapping[str, str]:
        """The environment variables of the configuration."""
        return {name: str(value) for name, value in (self.render.env_vars or self.project.env_vars or {}).items()}

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The environment variables of this process, and over them those of the configuration."""
        return {**os.environ, **self.given_env_vars}

    @cached_property
    def project_file(self) -> DbtProjectFile:
        """The content of ``dbt_project.yml``.

        :raises CosmosLoadDbtException: when it cannot be read.
        """
        return read_dbt_project(self.project_dir, environment=self.environment)

    @cached_property
    def dbt_vars(self) -> Mapping[str, object] | None:
        """dbt's ``--vars``, as tasks get them: ``operator_args["vars"]``, a dict or YAML, before ``ProjectConfig``."""
        given = self.operator_args.get("vars")
        if isinstance(given, str):
            given = load_yaml(given)
        return given if isinstance(given, Mapping) and given else self.project.dbt_vars or None

    @property
    def folders(self) -> dict[str, str]:
        """Folders of models, seeds and snapshots that ``ProjectConfig`` names, relative to the project."""
        project = self.project
        paths = {"models": project.models_path, "seeds": project.seeds_path, "snapshots": project.snapshots_path}
        base = project.dbt_project_path
        return {kind: os.path.relpath(path, base) for kind, path in paths.items() if path and base}

    @property
    def has_deps(self) -> bool:
        """Whether ``dbt deps`` installs packages before ``dbt ls`` runs."""
        given = self.render.dbt_deps
        return (self.project.install_dbt_deps if given is None else given) and has_packages(self.project_dir)

    @property
    def state_folder(self) -> Path | None:
        """The folder of artifacts that a selection compares with: dbt's own variables name it; None: there is none."""
        return next(iter(_folders_of(_STATE, self.project_dir, self.environment)), None)

    @cached_property
    def _decision(self) -> tuple[LoadMode, str]:
        method, manifest = self.render.load_method, self.project.manifest_path
        if method is not LoadMode.AUTOMATIC:
            return method, "RenderConfig.load_method says so"
        if isinstance(manifest, str):  # no server is asked whether it is there: it is read in a moment
            return LoadMode.DBT_MANIFEST, f"ProjectConfig.manifest_path names {shown(manifest)}"
        if self.project.is_manifest_available():
            return LoadMode.DBT_MANIFEST, f"there is a manifest at {manifest}"
        lacking = (
            "no ProjectConfig.manifest_path is given" if manifest is None else f"there is no manifest at {manifest}"
        )
        if self.profile is not None:
            return LoadMode.DBT_LS, lacking
        return LoadMode.CUSTOM, f"{lacking}, and no profile with which dbt could be asked"


def project_dir(project: ProjectConfig, render: RenderConfig, execution: ExecutionConfig, method: LoadMode) -> Path:
    """Absolute folder of a project: as tasks see it when a manifest is loaded, else as the parser sees it.

    :param project: names the folder for both.
    :param render: names it for the parser.
    :param execution: names it for the tasks.
    :param method: the way in which the project is loaded; ``AUTOMATIC`` where that is not known yet.
    :raises CosmosLoadDbtException: when no configuration names one.
    """
    candidates = [render.project_path, project.dbt_project_path, execution.project_path]
    if method is LoadMode.DBT_MANIFEST:
        candidates.reverse()
    for path in candidates:
        if path is not None:
            return path.absolute()
    raise CosmosLoadDbtException(
        "No dbt project folder is configured: give ProjectConfig.dbt_project_path, or RenderConfig and "
        "ExecutionConfig their own dbt_project_path."
    )


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The nodes that a loader has found.

    :param nodes: all nodes by unique id.
    :param selected: the selected ones and their tests, by unique id.
    :param method: the way in which they were loaded: ``DBT_LS_CACHE`` where dbt ls was not run.
    :param reason: why it was this way, in words for the log.
    :param version: a text that differs where the nodes may; None where that cannot be known.
    """

    nodes: dict[str, DbtNode]
    selected: dict[str, DbtNode]
    method: LoadMode
    reason: str
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class DbtInstallation:
    """A dbt that can be run now.

    :param executable: its path, or a command that is looked up on the PATH.
    :param keep_open: descriptors of the lease of its environment.
    :param is_managed: whether that is one of ours.
    :param identity: differs where the dbt may be another one.
    :param virtualenv_dir: where its environment is kept; None for a dbt that is not ours.
    :param environment: its environment; None for a dbt that is not ours, and in another process than the one that has
        opened it.
    """

    executable: str
    keep_open: tuple[int, ...] = ()
    is_managed: bool = False
    identity: str
    virtualenv_dir: Path | None = None
    environment: Environment | None = None

    @property
    def which(self) -> list[object]:
        """The facts that its answers depend on. A managed dbt is the same on every machine, wherever it stands."""
        from cosmos_venv.dbt.installation import packages_beside  # a manifest needs no dbt

        return [self.identity, packages_beside(self.executable) if self.is_managed else self.executable]


@dataclass(frozen=True, kw_only=True)
class Basis:
    """The facts that an answer depends on, as far as they are known before dbt has run.

    :param digest: differs where one of these differs: 64 hex digits.
    :param names: the environment variables whose values count in it.
    :param computed: file and line where Jinja computes the name of a further environment variable, which dbt records
        when it runs. Empty: there is none.
    :param unknown: why nobody can tell what the answer depends on, in words; empty where that is known.
    """

    digest: str
    names: frozenset[str]
    computed: str = ""
    unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class LsQuestion:
    """One question to ``dbt ls``: all that its answer depends on.

    :param project_dir: absolute folder of the project.
    :param dbt: the dbt that is asked.
    :param profile: the text of the profile. It holds no secret of a Connection, but calls of ``env_var()``.
    :param profiles_yml: the file of the profile, which is there until the block of ``open_question`` ends.
    :param profile_shown: what errors call the profile.
    :param profile_flags: the arguments that tell dbt profile and target.
    :param env: environment variables for dbt.
    :param secrets: environment variables of the profile. They do not count: another password lists the same nodes.
    :param given: names of those variables that the user has given, which count in any case.
    :param folders: names and values of those variables that say where dbt writes.
    :param arguments: the arguments of ``dbt ls``, without folders, profile and target.
    :param variables: the value of ``--vars``; None: there is none.
    :param has_deps: whether ``dbt deps`` installs packages first.
    :param airflow_variables: names and values of Airflow's Variables that count.
    :param known: keeps fingerprints of files; None: nothing keeps them.
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
    known: FileCache | None

    def basis(self) -> Basis:
        """The basis of an answer that dbt would give now: the files are looked at anew."""
        from cosmos_venv.project.fingerprint import Tree, fingerprint  # only dbt ls asks for it

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
        computed = [(f"{self.profile_shown}, line {each.line}", each) for each in of_profile.computed]
        for folder, one in zip(projects, found, strict=True):
            computed += [(f"{folder}/{each}", each) for each in one.variables.computed if each.file not in _APART]
        return Basis(
            digest=hashlib.sha256(json.dumps(matters).encode()).hexdigest(),
            names=names,
            computed=next((where for where, each in computed if each.is_noted), ""),
            unknown=(packages.why_unknown if self.has_deps else "")
            or next((computes_a_name(where) for where, each in computed if not each.is_noted), ""),
        )

    def _profile_now(self) -> str:
        try:
            return self.profiles_yml.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:  # it was written for a parse that waits no longer
            return self.profile

    def _inner(self, package: Path) -> set[str]:
        """The place of the project in a package that holds it, as ``integration_tests`` do: it counts by itself.

        Seen as a part of the package it would count with what dbt writes, and no answer would ever be found again.
        """
        project_dir = self.project_dir.resolve()
        is_inside = project_dir != package and project_dir.is_relative_to(package)
        return {str(project_dir.relative_to(package))} if is_inside else set()

    def _state(self, trees: Sequence[Tree]) -> list[str]:
        """Digests of what ``state:`` and ``result:`` compare: a variable of the environment tells dbt the folder of the
        other run.

        It compares the content of seeds then, and what was found of sources last, both of which nothing else asks for.
        """
        from cosmos_venv.dbt.state import NAMES  # few projects are compared

        folders = _folders_of((*_STATE, *_DEFERRED_STATE), self.project_dir, self.env)
        if not folders:
            return []
        files = [folder / name for folder in folders for name in NAMES]
        files.append(self.project_dir / (self.env.get("DBT_TARGET_PATH") or "target") / "sources.json")
        files += sorted(seed for tree in trees for seed in tree.seeds())
        return [digest_of_file(file, known=self.known) if file.is_file() else "" for file in files]


def computes_a_name(where: str) -> str:
    """The clause about a place where Jinja computes the name of an environment variable.

    :param where: the place, in words: a file and a line.
    """
    return f"{where}, computes the name of an environment variable, so the name is known only while dbt runs"


def _folders_of(names: Iterable[str], project_dir: Path, environment: Mapping[str, str]) -> list[Path]:
    return [project_dir / environment[name] for name in names if environment.get(name)]
