"""Would loading a project give the same nodes as another time? To be known without loading it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import managed
from cosmos_venv.constants import LoadMode
from cosmos_venv.project.file_digest import digest_of_file

if TYPE_CHECKING:
    from cosmos_venv.project.load import DbtGraph

_PROJECT_FILE = "dbt_project.yml"


def version_of(graph: DbtGraph, *, only_files: bool = False) -> str | None:
    """A text that differs where loading might give other nodes; None where that cannot be told.

    :param graph: knows already how it is going to be loaded.
    :param only_files: None, too, where dbt is asked.
    """
    method = graph.load_method
    if method in (LoadMode.DBT_LS, LoadMode.DBT_LS_CACHE):
        return None if only_files else _version_of_listing(graph)
    read = {LoadMode.DBT_MANIFEST: graph.project.manifest_path, LoadMode.DBT_LS_FILE: graph.render_config.dbt_ls_path}
    path = read.get(method)
    # What lies elsewhere would have to be asked for, and the artifacts of another run count as well.
    if not isinstance(path, Path) or state_folder(graph) is not None:
        return None
    digests = [_digest(file) for file in (path, graph.project_path / _PROJECT_FILE)]
    return hashlib.sha256(json.dumps([method.value, *digests]).encode()).hexdigest()


def state_folder(graph: DbtGraph) -> Path | None:
    """Where the artifacts are that a selection compares with: dbt's own variable names the folder."""
    env = {**os.environ, **(graph.render_config.env_vars or graph.project.env_vars or {})}
    named = env.get("DBT_ENGINE_STATE") or env.get("DBT_STATE")
    return graph.project_path / named if named else None


def _version_of_listing(graph: DbtGraph) -> str | None:
    from cosmos_venv.project.listing import version_of_listing

    return version_of_listing(graph) if graph.profile_config is not None and graph.project_path.is_dir() else None


def _digest(path: Path) -> str:
    try:
        return digest_of_file(path, known=managed.kept_fingerprints())
    except OSError:  # loading it will say so, where it is needed
        return ""
