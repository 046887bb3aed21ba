"""Would loading a project give the same nodes as another time? To be known without loading it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import managed
from cosmos_venv.constants import LoadMode
from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.limits import read_file
from cosmos_venv.project.environment import environment_of, state_folder
from cosmos_venv.project.file_digest import digest_of_file

if TYPE_CHECKING:
    from cosmos_venv.project.load import DbtGraph

_PROJECT_FILE = "dbt_project.yml"
_PACKAGES_KEY, _ENV_VAR = b"packages-install-path", b"env_var"


def version_of(graph: DbtGraph, *, only_files: bool = False) -> str | None:
    """A text that differs where loading might give other nodes; None where that cannot be told.

    :param graph: knows already how it is going to be loaded.
    :param only_files: None, too, where dbt is asked.
    """
    method = graph.load_method
    if method in (LoadMode.DBT_LS, LoadMode.DBT_LS_CACHE):
        return None if only_files else _version_of_listing(graph)
    if method is LoadMode.CUSTOM:
        return _version_of_files(graph)
    read = {LoadMode.DBT_MANIFEST: graph.project.manifest_path, LoadMode.DBT_LS_FILE: graph.render_config.dbt_ls_path}
    path = read.get(method)
    # What lies elsewhere would have to be asked for, and the artifacts of another run count as well.
    environment = environment_of(graph)
    if not isinstance(path, Path) or state_folder(graph.project_path, environment) is not None:
        return None
    project_file = _content(graph.project_path / _PROJECT_FILE)
    facts = [method.value, _digest(path), hashlib.sha256(project_file).hexdigest()]
    if _PACKAGES_KEY in project_file and _ENV_VAR in project_file:  # to read YAML takes as long as all the rest
        facts.append(read_dbt_project(graph.project_path, environment=environment).packages_folder)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _version_of_listing(graph: DbtGraph) -> str | None:
    from cosmos_venv.project.listing import version_of_listing

    return version_of_listing(graph) if graph.profile_config is not None and graph.project_path.is_dir() else None


def _version_of_files(graph: DbtGraph) -> str | None:
    from cosmos_venv.project.files_version import facts_of_files

    facts = facts_of_files(graph)
    return (
        None
        if facts is None
        else hashlib.sha256(json.dumps([LoadMode.CUSTOM.value, *facts], default=str).encode()).hexdigest()
    )


def _content(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError:  # as below
        return b""


def _digest(path: Path) -> str:
    try:
        return digest_of_file(path, known=managed.kept_fingerprints())
    except OSError:  # loading it will say so, where it is needed
        return ""
