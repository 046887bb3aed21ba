"""Nodes of a project and its packages, read without dbt.

The nodes that the files of a project and of its installed packages make.

Which nodes do the files make of a graph's project? With the folders and variables of its configuration.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.dbt.project_files import read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.custom.jinja_calls import Reader
from cosmos_venv.project.custom.layout import Layout, LookUps, renderer, variables_of
from cosmos_venv.project.custom.package import Draft, Package, resolved
from cosmos_venv.project.dbt_ls import dbt_vars_of
from cosmos_venv.project.load_request import environment_of
from cosmos_venv.project.node import DbtNode
from cosmos_venv.project.node_entry import Folders, NodeEntry, to_node
from cosmos_venv.project.selection import SelectionGraph

if TYPE_CHECKING:
    from cosmos_venv.project.graph import DbtGraph


@dataclass(frozen=True, kw_only=True)
class ParsedFiles:
    """:param name: the root project's in dbt.
    :param entries: every node by its id, as a manifest has them.
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

    :param variables: dbt's ``--vars``.
    :param environment: what ``env_var()`` sees.
    :param folders: of models, seeds and snapshots, relative to the project, unless ``dbt_project.yml`` names them.
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


def nodes_of_files(graph: DbtGraph) -> tuple[dict[str, DbtNode], SelectionGraph]:
    """Every node by its id, and all of them as a selection sees them.

    :raises CosmosLoadDbtException: when a file cannot be read, or none makes a node.
    """
    warnings.warn(
        "LoadMode.CUSTOM reads a project's files without dbt, and sees what dbt sees of most projects only. Use "
        "LoadMode.DBT_MANIFEST or LoadMode.DBT_LS.",
        DeprecationWarning,
        stacklevel=2,
    )
    parsed = _parsed(graph)
    packages = read_dbt_project(graph.project_path, environment=environment_of(graph)).packages_folder
    folders = Folders(project=graph.project_path, root_package=parsed.name, packages=packages)
    nodes = {}
    for unique_id, entry in parsed.entries.items():
        try:
            node = to_node(entry, unique_id=unique_id, folders=folders)
        except ValueError as error:
            raise CosmosLoadDbtException(f"{graph.project_path}: {unique_id}: {error}") from error
        if node is not None:
            nodes[unique_id] = node
    return nodes, SelectionGraph(parsed.entries, project_name=parsed.name)


def _parsed(graph: DbtGraph) -> ParsedFiles:
    project = graph.project
    paths = {"models": project.models_path, "seeds": project.seeds_path, "snapshots": project.snapshots_path}
    return parse_project(
        graph.project_path,
        variables=dbt_vars_of(graph) or {},
        environment=environment_of(graph),
        folders={kind: os.path.relpath(path, project.dbt_project_path) for kind, path in paths.items() if path},
    )
