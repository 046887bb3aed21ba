"""Would loading a project give the same nodes as another time? To be known without loading it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import managed
from cosmos_venv.constants import LoadMode
from cosmos_venv.project.fingerprint import digest_of_file

if TYPE_CHECKING:
    from cosmos_venv.project.load import DbtGraph

_PROJECT_FILE = "dbt_project.yml"


def version_of(graph: DbtGraph, method: LoadMode) -> str | None:
    """A text that differs where loading might give other nodes; None where that cannot be told.

    :param method: how the graph is going to be loaded.
    """
    if method is not LoadMode.DBT_MANIFEST or not isinstance(graph.project.manifest_path, Path):
        return None
    files = (graph.project.manifest_path, graph.project_path / _PROJECT_FILE)
    return hashlib.sha256(json.dumps([_digest(file) for file in files]).encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        return digest_of_file(path, known=managed.kept_fingerprints())
    except OSError:  # loading it will say so, where it is needed
        return ""
