"""What a user configures: where the project is, how dbt reaches the warehouse, how dbt runs, how the DAG is drawn.

Parameters, their order and their defaults are Cosmos's. What cannot be is refused when the object is made, with a
``CosmosValueError`` that names the parameter, the value and the way out.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from cosmos_venv.config_values import (
    as_path,
    deprecated,
    folder_name,
    load_yaml,
    local_manifest,
    member,
    not_yet,
    refuse_no_mapping,
    refuse_not_yet,
    require,
    texts,
)
from cosmos_venv.constants import (
    DEFAULT_PROFILES_FILE_NAME,
    DbtResourceType,
    ExecutionMode,
    InvocationMode,
    LoadMode,
    SeedRenderingBehavior,
    SourceRenderingBehavior,
    TestBehavior,
    TestIndirectSelection,
)
from cosmos_venv.exceptions import CosmosConfigException, CosmosValueError

logger = logging.getLogger(__name__)

_INVOCABLE = (ExecutionMode.WATCHER, ExecutionMode.LOCAL, ExecutionMode.VIRTUALENV)
_OPTIONS_NOT_YET = (
    "group_nodes_by_folder",
    "should_detach_multiple_parents_tests",
    "node_converters",
    "normalize_task_id",
    "normalize_task_display_name",
)


def system_dbt() -> str:
    """The first ``dbt`` on the PATH, else the bare word."""
    return shutil.which("dbt") or "dbt"


class ProfileMapping(Protocol):
    """What turns an Airflow connection into a dbt profile; see ``cosmos_venv.profiles``."""

    @property
    def dbt_profile_type(self) -> str: ...

    @property
    def env_vars(self) -> dict[str, str]: ...

    def get_profile_file_contents(
        self, profile_name: str, target_name: str = ..., use_mock_values: bool = ...
    ) -> str: ...


class ProjectConfig:
    """Where the dbt project is, and what dbt is told about it both when it is parsed and when it runs.

    :param dbt_project_path: folder that holds ``dbt_project.yml``.
    :param install_dbt_deps: run ``dbt deps`` before parsing and running.
    :param copy_dbt_packages: copy the packages folder into the run instead of linking it.
    :param models_relative_path: folder of the models, relative to the project; likewise seeds and snapshots.
    :param manifest_path: a ``manifest.json`` on this machine; object storage is not offered yet.
    :param manifest_conn_id: Airflow connection of a remote manifest.
    :param project_name: default: the folder's name, up to a dot.
    :param env_vars: environment variables of every dbt command, text to text.
    :param dbt_vars: dbt's ``--vars``.
    :param partial_parse: False adds ``--no-partial-parse``.
    :raises CosmosValueError: for a manifest without project path or name, or a name without either.
    """

    def __init__(
        self,
        dbt_project_path: str | Path | None = None,
        install_dbt_deps: bool = True,
        copy_dbt_packages: bool = False,
        models_relative_path: str | Path = "models",
        seeds_relative_path: str | Path = "seeds",
        snapshots_relative_path: str | Path = "snapshots",
        manifest_path: str | Path | None = None,
        manifest_conn_id: str | None = None,
        project_name: str | None = None,
        env_vars: dict[str, str] | None = None,
        dbt_vars: dict[str, Any] | None = None,
        partial_parse: bool = True,
    ) -> None:
        if not dbt_project_path and bool(manifest_path) != bool(project_name):
            given, lacking = ("manifest_path", "project_name") if manifest_path else ("project_name", "manifest_path")
            raise CosmosValueError(
                f"ProjectConfig got {given} but neither dbt_project_path nor {lacking}. "
                f"Give dbt_project_path, or {given} and {lacking} together."
            )
        refuse_no_mapping("ProjectConfig.env_vars", env_vars)
        refuse_no_mapping("ProjectConfig.dbt_vars", dbt_vars)
        self.dbt_project_path = as_path(dbt_project_path)
        self.install_dbt_deps = install_dbt_deps
        self.copy_dbt_packages = copy_dbt_packages
        self.models_path = self._below_project(models_relative_path)
        self.seeds_path = self._below_project(seeds_relative_path)
        self.snapshots_path = self._below_project(snapshots_relative_path)
        self.manifest_path = local_manifest(manifest_path)
        self.manifest_conn_id = manifest_conn_id
        self.project_name = project_name or (folder_name(self.dbt_project_path) if self.dbt_project_path else "")
        self.env_vars = env_vars
        self.dbt_vars = dbt_vars
        self.partial_parse = partial_parse

    def validate_project(self) -> None:
        """Nothing is checked when neither path nor manifest was given.

        :raises CosmosValueError: names the first of project file, models folder and manifest that is not there.
        """
        if self.dbt_project_path is not None and self.models_path is not None:
            project_file = self.dbt_project_path / "dbt_project.yml"
            require(project_file.is_file(), "ProjectConfig.dbt_project_path", project_file, "dbt_project.yml")
            require(self.models_path.is_dir(), "ProjectConfig.models_relative_path", self.models_path, "models folder")
        if self.manifest_path is not None:
            require(self.is_manifest_available(), "ProjectConfig.manifest_path", self.manifest_path, "manifest")

    def is_manifest_available(self) -> bool:
        """Whether a manifest was given and is there."""
        return self.manifest_path is not None and self.manifest_path.is_file()

    def _below_project(self, relative: str | Path) -> Path | None:
        return self.dbt_project_path / relative if self.dbt_project_path else None


@dataclass
class ProfileConfig:
    """How dbt reaches the warehouse: by a ``profiles.yml`` of the user, or by an Airflow connection.

    :param profile_name: the profile in ``profiles.yml``.
    :param target_name: the target (output) in that profile.
    :param profiles_yml_filepath: the user's own file; exactly one of this and the next.
    :param profile_mapping: an object of ``cosmos_venv.profiles``.
    :raises CosmosValueError: when neither source is given, or both are.
    """

    profile_name: str
    target_name: str
    profiles_yml_filepath: str | Path | None = None
    profile_mapping: ProfileMapping | None = None

    def __post_init__(self) -> None:
        if bool(self.profiles_yml_filepath) == (self.profile_mapping is not None):
            found = "both are given" if self.profile_mapping is not None else "neither is given"
            raise CosmosValueError(
                "ProfileConfig takes exactly one of profiles_yml_filepath (your own file) and profile_mapping "
                f"(an Airflow connection); {found}."
            )

    def validate_profiles_yml(self) -> None:
        """:raises CosmosValueError: when the user's own file was given and is not there."""
        if self.profiles_yml_filepath:
            path = Path(self.profiles_yml_filepath)
            require(path.is_file(), "ProfileConfig.profiles_yml_filepath", path, "profiles.yml")

    def get_profile_type(self) -> str:
        """The name of the dbt adapter, such as ``duckdb``: the mapping's, or what the file's target says.

        :raises CosmosValueError: when the file has no such profile, target or type.
        """
        if self.profile_mapping is not None:
            return self.profile_mapping.dbt_profile_type
        self.validate_profiles_yml()
        value = load_yaml(Path(str(self.profiles_yml_filepath)))
        where = f"{self.profiles_yml_filepath}"
        for key in (self.profile_name, "outputs", self.target_name, "type"):
            if not isinstance(value, dict) or key not in value:
                known = f" (it has: {', '.join(map(str, value))})" if isinstance(value, dict) else ""
                raise CosmosValueError(
                    f"{where} has no key {key!r}{known}. Write it there, or correct profile_name "
                    f"{self.profile_name!r} or target_name {self.target_name!r} of ProfileConfig."
                )
            value, where = value[key], f"{where}: {key}"
        return str(value)

    def flags(self, profiles_yml: Path) -> list[str]:
        """How dbt is told to use this profile and target of that file."""
        return [
            *("--profiles-dir", str(profiles_yml.parent)),
            *("--profile", self.profile_name),
            *("--target", self.target_name),
        ]

    @contextlib.contextmanager
    def ensure_profile(self, use_mock_values: bool = False) -> Iterator[tuple[Path, dict[str, str]]]:
        """The path of a ``profiles.yml`` and the environment variables that dbt needs to read it.

        A file that is written from a mapping holds no secret, only ``env_var()`` calls; it and its folder are
        readable by this user alone and gone afterwards.

        :param use_mock_values: values for parsing only: the connection is not looked up, and no variable is needed.
        """
        if self.profile_mapping is None:
            yield Path(str(self.profiles_yml_filepath)), {}
            return
        contents = self.profile_mapping.get_profile_file_contents(
            profile_name=self.profile_name, target_name=self.target_name, use_mock_values=use_mock_values
        )
        env_vars = {} if use_mock_values else self.profile_mapping.env_vars
        with tempfile.TemporaryDirectory(prefix="cosmos-venv-profile-") as folder:
            path = Path(folder) / DEFAULT_PROFILES_FILE_NAME
            path.touch(mode=0o600)
            path.write_text(contents, encoding="utf-8")
            yield path, env_vars


@dataclass
class ExecutionConfig:
    """How and where dbt runs.

    :param execution_mode: LOCAL (a dbt that is there) or VIRTUALENV (an environment that is made and kept).
    :param invocation_mode: how dbt is started; None: as the mode's operators do.
    :param test_indirect_selection: dbt's ``--indirect-selection`` of test and build tasks.
    :param dbt_executable_path: the dbt of LOCAL mode.
    :param install_dbt_deps: whether tasks run ``dbt deps``; may be a Jinja template; None: as in ProjectConfig.
    :param dbt_project_path: the project as tasks see it, where that differs; kept as ``project_path``.
    :param virtualenv_dir: VIRTUALENV: where environments are kept.
    :raises CosmosValueError: for a mode or combination that cannot be.
    """

    execution_mode: ExecutionMode = ExecutionMode.LOCAL
    invocation_mode: InvocationMode | None = None
    test_indirect_selection: TestIndirectSelection = TestIndirectSelection.EAGER
    dbt_executable_path: str | Path = field(default_factory=system_dbt)
    install_dbt_deps: bool | str | None = None
    dbt_project_path: InitVar[str | Path | None] = None
    virtualenv_dir: str | Path | None = None
    async_py_requirements: list[str] | None = None
    setup_operator_args: dict[str, Any] | None = None
    project_path: Path | None = field(init=False)

    def __post_init__(self, dbt_project_path: str | Path | None) -> None:
        owner = "ExecutionConfig"
        self.execution_mode = member(ExecutionMode, self.execution_mode, f"{owner}.execution_mode")
        self.test_indirect_selection = member(
            TestIndirectSelection, self.test_indirect_selection, f"{owner}.test_indirect_selection"
        )
        if self.invocation_mode is not None:
            self.invocation_mode = member(InvocationMode, self.invocation_mode, f"{owner}.invocation_mode")
        self._check_invocation_mode()
        refuse_not_yet(f"{owner}.execution_mode", self.execution_mode)
        self.project_path = as_path(dbt_project_path)
        if self.execution_mode is ExecutionMode.VIRTUALENV:
            self.invocation_mode = InvocationMode.SUBPROCESS
        elif self.virtualenv_dir is not None:
            logger.warning(
                "ExecutionConfig.virtualenv_dir %s is ignored: it belongs to ExecutionMode.VIRTUALENV, this is %s.",
                self.virtualenv_dir,
                self.execution_mode,
            )

    def _check_invocation_mode(self) -> None:
        if self.invocation_mode is not None and self.execution_mode not in _INVOCABLE:
            raise CosmosValueError(
                f"ExecutionConfig.invocation_mode {self.invocation_mode} does not go with {self.execution_mode}, which "
                "starts dbt in its own way. Leave invocation_mode out."
            )
        if self.invocation_mode is not InvocationMode.DBT_RUNNER:
            return
        if self.execution_mode is ExecutionMode.VIRTUALENV:
            raise CosmosValueError(
                "ExecutionConfig.invocation_mode InvocationMode.DBT_RUNNER does not go with ExecutionMode.VIRTUALENV: "
                "dbt is not in the worker's own Python. Leave invocation_mode out, or give InvocationMode.SUBPROCESS."
            )
        raise not_yet("ExecutionConfig.invocation_mode", self.invocation_mode, "InvocationMode.SUBPROCESS")


@dataclass
class RenderConfig:
    """Which nodes of the project become tasks, and how the project is parsed to know them.

    :param test_behavior: where tests stand in the DAG.
    :param load_method: where the nodes come from. AUTOMATIC: a manifest if there is one, else ``dbt ls``.
    :param invocation_mode: accepted for Cosmos's sake; ``dbt ls`` always runs as a process of its own here.
    :param select: dbt selection texts, a list; likewise ``exclude``.
    :param selector: name of a selector in ``selectors.yml``; where given, dbt ignores ``select`` and ``exclude``.
    :param dbt_executable_path: the dbt that parses; None: the one that runs, of ExecutionConfig or of the environment.
    :param dbt_project_path: the project as the DAG processor sees it, where that differs; kept as ``project_path``.
    :param enable_mock_profile: parse with mock credentials: the connection is not looked up.
    :param seed_rendering_behavior: whether seeds become tasks.
    :param enable_owner_inheritance: whether ``config.meta.owner`` becomes the task's owner.
    :param ephemeral_models_as_empty_operator: draw ephemeral models, for which dbt does nothing, as placeholders.
    :raises CosmosValueError: for a value or combination that cannot be, and for what is not offered yet.
    """

    emit_datasets: bool = True
    test_behavior: TestBehavior = TestBehavior.AFTER_EACH
    load_method: LoadMode = LoadMode.AUTOMATIC
    invocation_mode: InvocationMode = InvocationMode.DBT_RUNNER
    select: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    selector: str | None = None
    dbt_deps: bool | None = None
    node_converters: dict[DbtResourceType, Callable[..., Any]] | None = None
    node_conversion_by_task_group: bool | None = True
    dbt_executable_path: str | Path | None = None
    env_vars: dict[str, str] | None = None
    dbt_project_path: InitVar[str | Path | None] = None
    dbt_ls_path: Path | None = None
    project_path: Path | None = field(init=False)
    enable_mock_profile: bool = True
    group_nodes_by_folder: bool = False
    source_rendering_behavior: SourceRenderingBehavior = SourceRenderingBehavior.NONE
    source_pruning: bool = False
    seed_rendering_behavior: SeedRenderingBehavior = SeedRenderingBehavior.ALWAYS
    airflow_vars_to_purge_dbt_ls_cache: list[str] = field(default_factory=list)
    airflow_vars_to_purge_dbt_yaml_selectors_cache: list[str] = field(default_factory=list)
    normalize_task_id: Callable[..., Any] | None = None
    normalize_task_display_name: Callable[..., Any] | None = None
    should_detach_multiple_parents_tests: bool = False
    enable_owner_inheritance: bool | None = True
    ephemeral_models_as_empty_operator: bool = True

    def __post_init__(self, dbt_project_path: str | Path | None) -> None:
        self._coerce()
        self._warn_of_old_names()
        self._refuse_impossible()
        self.project_path = as_path(dbt_project_path)
        self.dbt_ls_path = as_path(self.dbt_ls_path)

    @property
    def project_name(self) -> str:
        """The project folder's name up to a dot; empty when RenderConfig was given no folder."""
        return folder_name(self.project_path) if self.project_path else ""

    @property
    def has_own_executable(self) -> bool:
        """Whether another dbt than the one on the PATH was asked for."""
        return bool(self.dbt_executable_path) and str(self.dbt_executable_path) != system_dbt()

    def is_dbt_ls_file_available(self) -> bool:
        """Whether a file with the output of ``dbt ls`` was given and is there."""
        return self.dbt_ls_path is not None and self.dbt_ls_path.is_file()

    def validate_dbt_command(self, fallback_cmd: str | Path = "") -> None:
        """See that there is a dbt to parse with; the fallback is kept when it is the one that is there.

        :raises CosmosConfigException: when there is neither, with what was looked for.
        """
        own = self.dbt_executable_path or system_dbt()
        if shutil.which(own):
            return
        if not (fallback_cmd and shutil.which(fallback_cmd)):
            fallback = f" nor {str(fallback_cmd)!r}" if fallback_cmd else ""
            raise CosmosConfigException(
                f"RenderConfig.dbt_executable_path: neither {str(own)!r}{fallback} can be run. Give the path of a dbt, "
                "use ExecutionMode.VIRTUALENV, or load a manifest with LoadMode.DBT_MANIFEST."
            )
        self.dbt_executable_path = fallback_cmd

    def _coerce(self) -> None:
        if self.source_rendering_behavior is None:
            warnings.warn(
                "RenderConfig.source_rendering_behavior None is taken as SourceRenderingBehavior.NONE; leave it out.",
                UserWarning,
                stacklevel=4,
            )
            self.source_rendering_behavior = SourceRenderingBehavior.NONE
        kinds: dict[str, type[Enum]] = {
            "test_behavior": TestBehavior,
            "load_method": LoadMode,
            "invocation_mode": InvocationMode,
            "source_rendering_behavior": SourceRenderingBehavior,
            "seed_rendering_behavior": SeedRenderingBehavior,
        }
        for name, kind in kinds.items():
            setattr(self, name, member(kind, getattr(self, name), f"RenderConfig.{name}"))
        for name in ("select", "exclude"):
            setattr(self, name, texts(getattr(self, name), f"RenderConfig.{name}"))

    def _warn_of_old_names(self) -> None:
        if self.env_vars:
            deprecated("RenderConfig.env_vars", "ProjectConfig.env_vars", stacklevel=3)
            refuse_no_mapping("RenderConfig.env_vars", self.env_vars)
        if self.dbt_deps is not None:
            deprecated("RenderConfig.dbt_deps", "ProjectConfig.install_dbt_deps", stacklevel=3)

    def _refuse_impossible(self) -> None:
        if (
            self.seed_rendering_behavior is SeedRenderingBehavior.WHEN_SEED_CHANGES
            and self.test_behavior is TestBehavior.BUILD
        ):
            raise CosmosValueError(
                "RenderConfig.seed_rendering_behavior WHEN_SEED_CHANGES does not go with test_behavior BUILD: `dbt "
                "build` cannot skip single seeds. Choose another test_behavior, or SeedRenderingBehavior.ALWAYS."
            )
        if self.has_own_executable and self.invocation_mode is InvocationMode.DBT_RUNNER:
            raise CosmosValueError(
                f"RenderConfig.dbt_executable_path {self.dbt_executable_path} does not go with invocation_mode "
                "DBT_RUNNER, the default. Give invocation_mode=InvocationMode.SUBPROCESS beside it."
            )
        for name in ("load_method", "seed_rendering_behavior", "source_rendering_behavior"):
            refuse_not_yet(f"RenderConfig.{name}", getattr(self, name))
        for name in _OPTIONS_NOT_YET:
            if getattr(self, name):
                raise not_yet(f"RenderConfig.{name}", getattr(self, name), "the default")
