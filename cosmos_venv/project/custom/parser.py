"""The nodes of a project and of its installed packages, read without dbt, and what differs where they may."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_venv.constants import LoadMode
from cosmos_venv.dbt.project_files import read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.files.yaml_files import load_yaml
from cosmos_venv.managed import caches
from cosmos_venv.project.custom.jinja_calls import Reader
from cosmos_venv.project.custom.layout import Layout, LookUps, renderer, variables_of
from cosmos_venv.project.custom.package import Draft, Package, resolved
from cosmos_venv.project.fingerprint import NOT_READ, Tree, fingerprint
from cosmos_venv.project.load_request import LoadRequest
from cosmos_venv.project.node import DbtNode
from cosmos_venv.project.node_entry import Folders, NodeEntry, to_node
from cosmos_venv.project.selection import SelectionGraph

_PROJECT_FILE = "dbt_project.yml"
_KINDS = ("model", "seed", "snapshot", "test")


@dataclass(frozen=True, kw_only=True)
class ParsedFiles:
    """The nodes that the files of a project make.

    :param name: the root project's name in dbt.
    :param entries: every node by its id, as a manifest has it.
    """

    name: str
    entries: dict[str, NodeEntry]


def parse_project(
    project_path: Path,
    *,
    variables: Mapping[str, object],
    environment: Mapping[str, str],
    folders: Mapping[str, str],
) -> ParsedFiles:
    """Read all files of the project, and of the packages that are installed in it.

    :param project_path: the folder of the project.
    :param variables: dbt's ``--vars``, by name.
    :param environment: what ``env_var()`` sees.
    :param folders: the folders of models, seeds and snapshots, relative to the project, unless ``dbt_project.yml``
        names them.
    :raises CosmosLoadDbtException: when a file cannot be read, with the line where it is known; when there is no node.
    """
    look_ups = LookUps()
    root = Layout.read(project_path, renderer(variables, environment, look_ups))
    packages = project_path / read_dbt_project(project_path, environment=environment).packages_folder
    found = sorted(path.parent for path in packages.glob("*/dbt_project.yml"))
    layouts = [root, *(Layout.read(folder, root.render) for folder in found)]
    drafts: list[Draft] = []
    for layout in layouts:
        named = {**variables_of(layout, layout.name), **variables_of(root, layout.name), **variables}
        reader = Reader(functions=look_ups.functions(named, environment))
        own_folders = folders if layout is root else {}  # those of the configuration are the project's
        drafts += Package(layout=layout, root=root, reader=reader, folders=own_folders).drafts()
    entries = resolved(drafts)
    if not entries:
        raise CosmosLoadDbtException(
            f"The files of the dbt project {project_path} make no node. Correct the path, model-paths in "
            "dbt_project.yml, or ProjectConfig.models_relative_path."
        )
    return ParsedFiles(name=root.name, entries=entries)


def nodes_of_files(request: LoadRequest) -> tuple[dict[str, DbtNode], SelectionGraph]:
    """Every node of the files by its id, and all of them as a selection sees them.

    :param request: what is loaded.
    :raises CosmosLoadDbtException: when a file cannot be read, or none makes a node.
    """
    warnings.warn(
        "LoadMode.CUSTOM reads a project's files without dbt, and sees what dbt sees of most projects only. Use "
        "LoadMode.DBT_MANIFEST or LoadMode.DBT_LS.",
        DeprecationWarning,
        stacklevel=2,
    )
    parsed = parse_project(
        request.project_dir,
        variables=request.dbt_vars or {},
        environment=request.environment,
        folders=request.folders,
    )
    packages = request.project_file.packages_folder
    folders = Folders(project=request.project_dir, root_package=parsed.name, packages=packages)
    nodes = {}
    for unique_id, entry in parsed.entries.items():
        try:
            node = to_node(entry, unique_id=unique_id, folders=folders)
        except ValueError as error:
            raise CosmosLoadDbtException(f"{request.project_dir}: {unique_id}: {error}") from None
        if node is not None:
            nodes[unique_id] = node
    return nodes, SelectionGraph(parsed.entries, project_name=parsed.name)


def facts_of_files(request: LoadRequest) -> list[Any] | None:
    """Plain data that differs where the nodes may; None where that cannot be known from the project's folder alone.

    :param request: what is loaded.
    """
    import yaml

    project_dir, environment, folders = request.project_dir, request.environment, request.folders
    try:
        packages = read_dbt_project(project_dir, environment=environment).packages_folder
        own = _named(project_dir / _PROJECT_FILE)
        of_packages = [each for path in (project_dir / packages).glob(f"*/{_PROJECT_FILE}") for each in _named(path)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, CosmosLoadDbtException):  # loading it will say so
        return None
    if not all(map(_is_read, [packages, *folders.values(), *own])) or not all(map(_is_below, of_packages)):
        return None
    tree = Tree(folder=project_dir, environment=environment, packages_folder=packages, more=(*folders.values(), *own))
    found = fingerprint(tree, known=caches.kept_fingerprints())
    if found.variables.computed:
        return None
    values = {name: environment.get(name) for name in sorted(found.variables.names)}
    return [LoadMode.CUSTOM.value, found.digest, packages, folders, request.dbt_vars, values]


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
