"""The values of a load: ``LoadRequest`` and ``Loaded``.

Both are frozen: a loader takes a request, returns what it has found and writes into nothing. Each parse of a DAG file
imports this module, also in a worker that runs one task, so it imports nothing that only a load needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.config.validation import is_of_another_task, is_template
from cosmos_venv.constants import LoadMode
from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.yaml_files import load_yaml
from cosmos_venv.processes.inherited_environment import inherited_environment, without_user_code

if TYPE_CHECKING:
    from cosmos_venv.dbt.project_files import DbtProjectFile
    from cosmos_venv.project.node import DbtNode

SELECTORS_FILE = "selectors.yml"
# Compiled on first use: each parse for a task imports this file.
_MARKS = r"\{\{-?|-?\}\}|\{%-?|-?%\}"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # to be imported faster, for each task
class LoadRequest:
    """Everything that decides which nodes a project has and which of them are selected.

    Values from files or from the process's environment are read once, when they are first needed.

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
        """The way in which the project is loaded, which is never ``AUTOMATIC`` or ``CUSTOM``."""
        return self._decision[0]

    @property
    def reason(self) -> str:
        """The reason for this load method, in words for the log."""
        return self._decision[1]

    @property
    def project_dir(self) -> Path:
        """Absolute folder of the project: as tasks see it when a manifest is loaded, else as the parser sees it.

        :raises CosmosLoadDbtException: when no configuration names one.
        """
        return project_dir(self.project, self.render, self.execution, self.method)

    @cached_property
    def given_env_vars(self) -> Mapping[str, str]:
        """The environment variables of the configuration; none where only a running task knows which there are."""
        given = self.render.env_vars or self.project.env_vars
        # dbt does not render the values of env_var(): a template stays as it is, also that of an XComArg.
        return {name: str(value) for name, value in given.items()} if isinstance(given, Mapping) else {}

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The environment variables that dbt inherits of this process, and over them those of the configuration."""
        # The process that outlives a parse imports this module and does not pay for Airflow.
        from cosmos_venv import settings
        from cosmos_venv.compat import folders_of_user_code

        folders = folders_of_user_code(None) if settings.enable_dags_folder_exclusion_from_dbt else []
        return {**without_user_code(inherited_environment(), folders), **self.given_env_vars}

    @cached_property
    def project_file(self) -> DbtProjectFile:
        """The content of ``dbt_project.yml``.

        :raises CosmosLoadDbtException: when it cannot be read.
        """
        from cosmos_venv.dbt.project_files import read_dbt_project

        return read_dbt_project(self.project_dir, environment=self.environment)

    @cached_property
    def dbt_vars(self) -> Mapping[str, object] | None:
        """dbt's ``--vars``, as tasks get them: ``operator_args["vars"]``, a dict or YAML, before ``ProjectConfig``.

        A value that only a running task knows stands there as its template, without the braces. None: there are none,
        or only a running task knows them.
        """
        given = self.operator_args.get("vars")
        if isinstance(given, str):
            given = _of_yaml(given)
        found = given if isinstance(given, Mapping) and given else self.project.dbt_vars
        return (
            {name: _stand_in(value) for name, value in found.items()} if isinstance(found, Mapping) and found else None
        )

    @property
    def has_deps(self) -> bool:
        """Whether ``dbt deps`` installs packages before ``dbt ls`` runs."""
        from cosmos_venv.dbt.project_files import has_packages

        given: object = self.project.install_dbt_deps if self.render.dbt_deps is None else self.render.dbt_deps
        if isinstance(given, str):  # a text for tasks; only a running task knows the value of a template
            from cosmos_venv.compat import to_boolean

            given = is_template(given) or to_boolean(given)
        return bool(given) and has_packages(self.project_dir)

    @property
    def parses_in_part(self) -> bool:
        """Whether dbt may parse in part. Not with ``selectors.yml``: dbt 1 would keep selectors of the last parse."""
        return self.project.partial_parse and not (self.project_dir / SELECTORS_FILE).is_file()

    @cached_property
    def _decision(self) -> tuple[LoadMode, str]:
        method, manifest = self.render.load_method, self.project.manifest_path
        if method is LoadMode.CUSTOM:
            return LoadMode.DBT_LS, "LoadMode.CUSTOM means this"
        if method is not LoadMode.AUTOMATIC:
            return method, "RenderConfig.load_method says so"
        if self.project.is_manifest_available():
            return LoadMode.DBT_MANIFEST, f"ProjectConfig.manifest_path names {mask(str(manifest))}"
        lacking = (
            "no ProjectConfig.manifest_path is given" if manifest is None else f"there is no manifest at {manifest}"
        )
        return LoadMode.DBT_LS, lacking


def _of_yaml(text: str) -> object:
    import yaml

    try:
        return load_yaml(text)
    except yaml.YAMLError:
        if is_template(text):  # one template for all values: before it is rendered, it is no YAML
            return None
        raise


def _stand_in(value: object) -> object:
    """A value as it is known while the DAG file is parsed: a template or an XComArg becomes the text of its template.

    dbt fails when a variable in a YAML file has no value. It renders the values of variables itself, so the text has no
    braces.
    """
    if isinstance(value, Mapping):
        return {name: _stand_in(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_stand_in(each) for each in value]
    if is_of_another_task(value) or is_template(value):
        return re.sub(_MARKS, "", str(value)).strip()  # str() makes a template of an XComArg
    return value


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


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes that a loader has found.

    :param nodes: all nodes by unique id.
    :param selected: the selected nodes and tests, by unique id.
    :param method: the way in which they were loaded: ``DBT_LS_CACHE`` where dbt ls was not run.
    :param reason: the reason for this load method, in words for the log.
    :param is_whole: whether these are all nodes of the project. A file of ``DBT_LS_FILE`` may hold a selection.
    :param version: a text that differs where the nodes may differ; None where that cannot be known.
    """

    nodes: dict[str, DbtNode]
    selected: dict[str, DbtNode]
    method: LoadMode
    reason: str
    is_whole: bool = True
    version: str | None = None
