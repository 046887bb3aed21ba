"""Which nodes do the files make of a graph's project? With the folders and variables of its configuration."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.custom.parse import ParsedFiles, parse_project
from cosmos_venv.project.dbt_ls import variables_of
from cosmos_venv.project.entry import Folders, to_node
from cosmos_venv.project.environment import environment_of
from cosmos_venv.project.node import DbtNode
from cosmos_venv.project.selection import SelectionGraph

if TYPE_CHECKING:
    from cosmos_venv.project.load import DbtGraph


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
        variables=variables_of(graph) or {},
        environment=environment_of(graph),
        folders={kind: os.path.relpath(path, project.dbt_project_path) for kind, path in paths.items() if path},
    )
