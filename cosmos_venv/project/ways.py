"""How does each load mode come to the nodes of a project?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from cosmos_venv.constants import LoadMode
from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.dbt_ls import parse_dbt_ls_output
from cosmos_venv.project.entry import Folders
from cosmos_venv.project.environment import environment_of, state_folder
from cosmos_venv.project.links import tests_of
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.project.node import DbtNode
from cosmos_venv.project.selection import evaluate, from_lists

if TYPE_CHECKING:
    from cosmos_venv.project.load import DbtGraph

logger = logging.getLogger(__name__)

Loaded = tuple[dict[str, DbtNode], dict[str, DbtNode]]
"""All nodes, and the selected ones."""


def load_nodes(graph: DbtGraph) -> Loaded:
    """All nodes, and the selected ones."""
    ways: dict[LoadMode, Callable[[DbtGraph], Loaded]] = {
        LoadMode.DBT_MANIFEST: _load_manifest,
        LoadMode.DBT_LS_FILE: _load_ls_file,
        LoadMode.CUSTOM: _load_custom,
    }
    return ways.get(graph.load_method, _load_dbt_ls)(graph)


def _load_manifest(graph: DbtGraph) -> Loaded:
    config, manifest = graph.render_config, _open_manifest(graph)
    environment = environment_of(graph)
    packages = read_dbt_project(graph.project_path, environment=environment).packages_folder
    nodes = manifest.nodes(project_path=graph.project_path, packages_folder=packages)
    if (state := state_folder(graph.project_path, environment)) is not None:
        manifest.compare_with(state, now=graph.project_path / "target")
    selector = config.selector
    if not (config.select or config.exclude or selector):
        if (selector := manifest.default_selector) is None:
            return nodes, nodes
        logger.info("Nothing is selected, so the default selector %r counts, as in dbt.", selector)
    return _selected(graph, nodes, manifest.path, lambda: manifest.selected(config.select, config.exclude, selector))


def _open_manifest(graph: DbtGraph) -> Manifest:
    path = graph.project.manifest_path
    if path is None:
        raise CosmosLoadDbtException(
            "LoadMode.DBT_MANIFEST needs ProjectConfig.manifest_path. Give it, or use LoadMode.DBT_LS."
        )
    if not isinstance(path, str):
        return Manifest(path)
    from cosmos_venv.project.remote_manifest import open_remote

    return open_remote(path, graph.project.manifest_conn_id)


def _load_ls_file(graph: DbtGraph) -> Loaded:
    from cosmos_venv.project.ls_file import LsFile

    path, config = graph.render_config.dbt_ls_path, graph.render_config
    if path is None:
        raise CosmosLoadDbtException(
            "LoadMode.DBT_LS_FILE needs RenderConfig.dbt_ls_path. Give it, or use LoadMode.DBT_LS."
        )
    _refuse_selector(graph, "a file of what dbt ls has said holds no selectors")
    file = LsFile(path=path, folders=_folders(graph))
    nodes = file.nodes()
    if not (config.select or config.exclude):
        return nodes, nodes
    return _selected(graph, nodes, path, lambda: file.selected(config.select, config.exclude))


def _load_custom(graph: DbtGraph) -> Loaded:
    from cosmos_venv.project.custom.load import nodes_of_files

    config = graph.render_config
    _refuse_selector(graph, "the project's files are read without dbt")
    _refuse_no_folder(graph)
    nodes, selectable = nodes_of_files(graph)
    if not (config.select or config.exclude):
        return nodes, nodes
    return _selected(
        graph, nodes, graph.project_path, lambda: evaluate(selectable, from_lists(config.select, config.exclude))
    )


def _refuse_no_folder(graph: DbtGraph) -> None:
    if not graph.project_path.is_dir():
        raise CosmosLoadDbtException(
            f"The dbt project folder {graph.project_path} does not exist. Correct the path or deploy it."
        )


def _selected(graph: DbtGraph, nodes: dict[str, DbtNode], where: object, select: Callable[[], set[str]]) -> Loaded:
    config = graph.render_config
    try:
        ids = select()
    except CosmosValueError as error:
        raise CosmosValueError(f"RenderConfig.select, exclude or selector, with {where}: {error}") from None
    if config.exclude and not config.selector:
        ids = ids | tests_of(ids, nodes)
    selected = {unique_id: node for unique_id, node in nodes.items() if unique_id in ids}
    if not selected:
        logger.warning(
            "The selection fits nothing in %s: RenderConfig.select=%r, exclude=%r, selector=%r.",
            *(where, config.select, config.exclude, config.selector),
        )
    return nodes, selected


def _refuse_selector(graph: DbtGraph, reason: str) -> None:
    if graph.render_config.selector:
        raise CosmosLoadDbtException(
            f"RenderConfig.selector={graph.render_config.selector!r} does not go with {graph.load_method}: {reason}. "
            "Use select and exclude, or load a manifest with LoadMode.DBT_MANIFEST."
        )


def _folders(graph: DbtGraph) -> Folders:
    project_file = read_dbt_project(graph.project_path, environment=environment_of(graph))
    return Folders(project=graph.project_path, root_package=project_file.name, packages=project_file.packages_folder)


def _load_dbt_ls(graph: DbtGraph) -> Loaded:
    from cosmos_venv.project.listing import list_nodes

    if graph.profile_config is None:
        raise CosmosLoadDbtException("dbt ls needs a profile: give profile_config, or load a manifest.")
    _refuse_no_folder(graph)
    listing = list_nodes(graph, only_kept=graph.load_method is LoadMode.DBT_LS_CACHE)
    graph.loaded_version = listing.version
    if listing.was_kept:
        graph.load_method = LoadMode.DBT_LS_CACHE
    folders = _folders(graph)
    nodes = parse_dbt_ls_output(
        listing.lines,
        project_path=folders.project,
        root_package=folders.root_package,
        packages_folder=folders.packages,
    )
    if not nodes:
        logger.warning(
            "dbt ls listed no node of %s: the selection fits nothing, or the project is empty.", folders.project
        )
    return nodes, nodes
