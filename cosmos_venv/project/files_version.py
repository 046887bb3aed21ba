"""Whether the files of a project make the same nodes as another time, read without dbt: ``LoadMode.CUSTOM``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import managed
from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.limits import read_file
from cosmos_venv.project.dbt_ls import variables_of
from cosmos_venv.project.environment import environment_of
from cosmos_venv.project.fingerprint import NOT_READ, Tree, fingerprint
from cosmos_venv.yaml_text import load_yaml

if TYPE_CHECKING:
    from cosmos_venv.project.load import DbtGraph

_PROJECT_FILE = "dbt_project.yml"
_KINDS = ("model", "seed", "snapshot", "test")


def facts_of_files(graph: DbtGraph) -> list[Any] | None:
    """Plain data that differs where the nodes may; None where that cannot be told from the project's folder alone."""
    import yaml

    project_dir = graph.project_path
    environment = environment_of(graph)
    try:
        packages = read_dbt_project(project_dir, environment=environment).packages_folder
        own = _named(project_dir / _PROJECT_FILE)
        of_packages = [each for path in (project_dir / packages).glob(f"*/{_PROJECT_FILE}") for each in _named(path)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, CosmosLoadDbtException):  # loading it will say so
        return None
    folders = _folders(graph)
    if not all(map(_is_read, [packages, *folders.values(), *own])) or not all(map(_is_below, of_packages)):
        return None
    tree = Tree(folder=project_dir, environment=environment, packages_folder=packages, more=(*folders.values(), *own))
    found = fingerprint(tree, known=managed.kept_fingerprints())
    if found.variables.made_up:
        return None
    values = {name: environment.get(name) for name in sorted(found.variables.names)}
    return [found.digest, packages, folders, variables_of(graph), values]


def _folders(graph: DbtGraph) -> dict[str, str]:
    project = graph.project
    paths = {"models": project.models_path, "seeds": project.seeds_path, "snapshots": project.snapshots_path}
    base = project.dbt_project_path
    return {kind: os.path.relpath(path, base) for kind, path in paths.items() if path and base}


def _named(project_file: Path) -> list[str]:
    """The folders of files by a ``dbt_project.yml``."""
    content = load_yaml(read_file(project_file).decode("utf-8-sig"))
    if not isinstance(content, dict):
        raise CosmosLoadDbtException(f"{project_file} holds no mapping.")
    given = [content.get(f"{kind}-paths") or [] for kind in _KINDS]
    return [str(each) for paths in given for each in (paths if isinstance(paths, list) else [paths])]


def _is_read(folder: str) -> bool:
    """Whether it is one of those of which the fingerprint is made, whole: the project's own folder is not."""
    parts = Path(os.path.normpath(folder)).parts
    return _is_below(folder) and bool(parts) and NOT_READ.isdisjoint(parts)


def _is_below(folder: str) -> bool:
    path = Path(os.path.normpath(folder))
    return not path.is_absolute() and path.parts[:1] != ("..",)
