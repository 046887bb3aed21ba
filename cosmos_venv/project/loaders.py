"""One function a load mode, each with its cache key; which tests belong to which nodes.

Whether the files of a project make the same nodes as another time, read without dbt: ``LoadMode.CUSTOM``.

Which tests belong to which nodes of a selection, and what comes after each node?

Would loading a project give the same nodes as another time? To be known without loading it.

How does each load mode come to the nodes of a project?
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv.constants import DbtResourceType, LoadMode
from cosmos_venv.dbt.project_files import read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.files.yaml_files import load_yaml
from cosmos_venv.managed import from_settings
from cosmos_venv.processes.gc_pause import no_collection
from cosmos_venv.project.dbt_ls import dbt_vars_of, parse_dbt_ls_output
from cosmos_venv.project.fingerprint import NOT_READ, Tree, digest_of_file, fingerprint
from cosmos_venv.project.load_request import environment_of, state_folder
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.project.node import DbtNode
from cosmos_venv.project.node_entry import Folders
from cosmos_venv.project.selection import evaluate, from_lists

if TYPE_CHECKING:
    from cosmos_venv.project.graph import DbtGraph


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
    found = fingerprint(tree, known=from_settings.kept_fingerprints())
    if found.variables.made_up:
        return None
    values = {name: environment.get(name) for name in sorted(found.variables.names)}
    return [found.digest, packages, folders, dbt_vars_of(graph), values]


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


_TESTS = (DbtResourceType.TEST, DbtResourceType.UNIT_TEST)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """:param nodes: the selected nodes and tests, each knowing its tests and what comes after it.
    :param tests_per_model: ids of the selected tests of each node that has any, in the project's order.
    """

    nodes: dict[str, DbtNode]
    tests_per_model: dict[str, list[str]]


@no_collection()
def link(selected: Mapping[str, DbtNode], *, detaching: bool = False) -> Selection:
    """Fill in the relations between the selected nodes.

    :param selected: the nodes, tests among them, in the project's order, which the result keeps.
    :param detaching: whether tests of more than one node run apart from their parents.
    """
    tests = [(each, node) for each, node in selected.items() if node.resource_type is DbtResourceType.TEST]
    found = _children((each, node.depends_on) for each, node in tests)
    tests_per_model = {parent: ids for parent, ids in found.items() if parent in selected}
    own_tests = _with_own_tests(node for _, node in tests) if detaching else tests_per_model
    downstream_of = _Downstream(selected).of
    nodes = {}
    for unique_id, node in selected.items():
        # Most nodes are tests, and nothing depends on these.
        if node.resource_type in _TESTS:
            nodes[unique_id] = node
            continue
        nodes[unique_id] = node.related(
            has_test=unique_id in tests_per_model,
            has_non_detached_test=unique_id in own_tests,
            downstream_of=downstream_of,
        )
    return Selection(nodes=nodes, tests_per_model=tests_per_model)


def tests_of(selected: Container[str], nodes: Mapping[str, DbtNode]) -> set[str]:
    """Ids of the tests of which a parent is selected.

    :param selected: unique ids.
    :param nodes: all nodes of the project by unique id.
    """
    return {
        unique_id
        for unique_id, node in nodes.items()
        if node.resource_type is DbtResourceType.TEST and any(parent in selected for parent in node.depends_on)
    }


def _with_own_tests(tests: Iterable[DbtNode]) -> set[str]:
    """The nodes that have a test which looks at nothing else."""
    return {parents.pop() for test in tests if len(parents := set(test.depends_on)) == 1}


class _Downstream:
    """Looks for what comes after the nodes when it is first asked, which few renderings do.

    :param selected: as for ``link``.
    """

    def __init__(self, selected: Mapping[str, DbtNode]) -> None:
        self._reads = [(each, node.depends_on) for each, node in selected.items() if node.resource_type not in _TESTS]

    def of(self, unique_id: str) -> list[str]:
        return self._found.get(unique_id) or []

    @cached_property
    def _found(self) -> dict[str, list[str]]:
        return _children(self._reads)


def _children(reads: Iterable[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """Of each node that is read the ids of those that read it, each once.

    :param reads: ids, and the ids that each of them reads.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for unique_id, parents in reads:
        for parent in parents if len(parents) == 1 else dict.fromkeys(parents):
            found[parent].append(unique_id)
    return found


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
    from cosmos_venv.project.ls_cache import version_of_listing

    return version_of_listing(graph) if graph.profile_config is not None and graph.project_path.is_dir() else None


def _version_of_files(graph: DbtGraph) -> str | None:

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
        return digest_of_file(path, known=from_settings.kept_fingerprints())
    except OSError:  # loading it will say so, where it is needed
        return ""


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
    from cosmos_venv.project.manifest import open_remote

    return open_remote(path, graph.project.manifest_conn_id)


def _load_ls_file(graph: DbtGraph) -> Loaded:
    from cosmos_venv.project.dbt_ls import LsFile

    path, config = graph.render_config.dbt_ls_path, graph.render_config
    if path is None:
        raise CosmosLoadDbtException(
            "LoadMode.DBT_LS_FILE needs RenderConfig.dbt_ls_path. Give it, or use LoadMode.DBT_LS."
        )
    _refuse_selector(graph, "a file of what dbt ls has said holds no selectors")
    file = LsFile(path=path, folders=_artifact_folders(graph))
    nodes = file.nodes()
    if not (config.select or config.exclude):
        return nodes, nodes
    return _selected(graph, nodes, path, lambda: file.selected(config.select, config.exclude))


def _load_custom(graph: DbtGraph) -> Loaded:
    from cosmos_venv.project.custom.parser import nodes_of_files

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


def _artifact_folders(graph: DbtGraph) -> Folders:
    project_file = read_dbt_project(graph.project_path, environment=environment_of(graph))
    return Folders(project=graph.project_path, root_package=project_file.name, packages=project_file.packages_folder)


def _load_dbt_ls(graph: DbtGraph) -> Loaded:
    from cosmos_venv.project.ls_cache import list_nodes

    if graph.profile_config is None:
        raise CosmosLoadDbtException("dbt ls needs a profile: give profile_config, or load a manifest.")
    _refuse_no_folder(graph)
    listing = list_nodes(graph, only_kept=graph.load_method is LoadMode.DBT_LS_CACHE)
    graph.loaded_version = listing.version
    if listing.was_kept:
        graph.load_method = LoadMode.DBT_LS_CACHE
    folders = _artifact_folders(graph)
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
