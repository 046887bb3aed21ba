"""Where do the nodes of a project come from, and which of them are selected?"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.garbage import no_collection
from cosmos_venv.project.dbt_ls import parse_dbt_ls_output
from cosmos_venv.project.entry import Folders
from cosmos_venv.project.links import link, tests_of
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.project.node import DbtNode
from cosmos_venv.project.selection import evaluate, from_lists
from cosmos_venv.remote import shown

logger = logging.getLogger(__name__)

_Loaded = tuple[dict[str, DbtNode], dict[str, DbtNode]]


@dataclass
class DbtGraph:
    """The nodes of one dbt project. Empty until ``load()``; loading again gives the same again.

    :param operator_args: what the DAG gives to all its tasks: the managed environment that dbt ls runs in is
        described there.
    """

    project: ProjectConfig
    render_config: RenderConfig = field(default_factory=RenderConfig)
    execution_config: ExecutionConfig = field(default_factory=ExecutionConfig)
    profile_config: ProfileConfig | None = None
    operator_args: Mapping[str, object] = field(default_factory=dict)

    nodes: dict[str, DbtNode] = field(init=False, default_factory=dict)
    """All nodes that were loaded, by unique id."""
    filtered_nodes: dict[str, DbtNode] = field(init=False, default_factory=dict)
    """The selected ones and all their tests, excluded ones too: ``exclude`` is passed on to the commands that test.

    With dbt ls, where dbt selects, and with a YAML selector these are dbt's, so that a node may lack tests.
    """
    tests_per_model: dict[str, list[str]] = field(init=False, default_factory=dict)
    """Ids of the tests of each node that has any."""
    load_method: LoadMode = field(init=False, default=LoadMode.AUTOMATIC)
    """What ``load()`` came to."""

    @no_collection()
    def load(self) -> None:
        """Read the project, select, note which tests a node has, and say in the log what was done.

        :raises CosmosLoadDbtException: when the project cannot be loaded; the text says what is missing or broken.
        :raises CosmosValueError: when dbt would refuse the selection, with the item.
        """
        self.load_method, reason = self._decide()
        self.nodes, selected = self._load()
        selection = link(selected, detaching=self.render_config.should_detach_multiple_parents_tests)
        # The selected ones know their tests and what comes after them.
        self.nodes = {**self.nodes, **selection.nodes}
        self.filtered_nodes = selection.nodes
        self.tests_per_model = selection.tests_per_model
        logger.info(
            "Loaded %d dbt nodes, of which %d are selected (%s, because %s).",
            *(len(self.nodes), len(self.filtered_nodes), self.load_method.value, reason),
        )

    def version(self) -> str | None:
        """A text that differs where ``load()`` might give other nodes; None where that cannot be told without it."""
        from cosmos_venv.project.version import version_of

        return version_of(self, self._decide()[0])

    @property
    def project_path(self) -> Path:
        """Absolute folder of the project: as tasks see it when a manifest was loaded, else as the parser sees it.

        :raises CosmosLoadDbtException: when no configuration names one.
        """
        candidates = [
            self.render_config.project_path,
            self.project.dbt_project_path,
            self.execution_config.project_path,
        ]
        if self.load_method is LoadMode.DBT_MANIFEST:
            candidates.reverse()
        for path in candidates:
            if path is not None:
                return path.absolute()
        raise CosmosLoadDbtException(
            "No dbt project folder is configured: give ProjectConfig.dbt_project_path, or RenderConfig and "
            "ExecutionConfig their own dbt_project_path."
        )

    def _decide(self) -> tuple[LoadMode, str]:
        method, manifest = self.render_config.load_method, self.project.manifest_path
        if method is not LoadMode.AUTOMATIC:
            return method, "RenderConfig.load_method says so"
        if isinstance(manifest, str):  # nobody is asked whether it is there: it is read in a moment
            return LoadMode.DBT_MANIFEST, f"ProjectConfig.manifest_path names {shown(manifest)}"
        if self.project.is_manifest_available():
            return LoadMode.DBT_MANIFEST, f"there is a manifest at {manifest}"
        lacking = (
            "no ProjectConfig.manifest_path is given" if manifest is None else f"there is no manifest at {manifest}"
        )
        if self.profile_config is not None:
            return LoadMode.DBT_LS, lacking
        return LoadMode.CUSTOM, f"{lacking}, and no profile with which dbt could be asked"

    def _load(self) -> _Loaded:
        """All nodes, and the selected ones."""
        ways: dict[LoadMode, Callable[[], _Loaded]] = {
            LoadMode.DBT_MANIFEST: self._load_manifest,
            LoadMode.DBT_LS_FILE: self._load_ls_file,
            LoadMode.CUSTOM: self._load_custom,
        }
        return ways.get(self.load_method, self._load_dbt_ls)()

    def _load_manifest(self) -> _Loaded:
        config, manifest = self.render_config, self._open_manifest()
        packages = read_dbt_project(self.project_path).packages_folder
        nodes = manifest.nodes(project_path=self.project_path, packages_folder=packages)
        if (state := self._state()) is not None:
            manifest.compare_with(state, now=self.project_path / "target")
        selector = config.selector
        if not (config.select or config.exclude or selector):
            if (selector := manifest.default_selector) is None:
                return nodes, nodes
            logger.info("Nothing is selected, so the default selector %r counts, as in dbt.", selector)
        return self._selected(nodes, manifest.path, lambda: manifest.selected(config.select, config.exclude, selector))

    def _state(self) -> Path | None:
        """Where the artifacts are that a selection compares with: dbt's own variable names the folder."""
        env = {**os.environ, **(self.render_config.env_vars or self.project.env_vars or {})}
        named = env.get("DBT_ENGINE_STATE") or env.get("DBT_STATE")
        return self.project_path / named if named else None

    def _open_manifest(self) -> Manifest:
        path = self.project.manifest_path
        if path is None:
            raise CosmosLoadDbtException(
                "LoadMode.DBT_MANIFEST needs ProjectConfig.manifest_path. Give it, or use LoadMode.DBT_LS."
            )
        if not isinstance(path, str):
            return Manifest(path)
        from cosmos_venv.project.remote_manifest import open_remote

        return open_remote(path, self.project.manifest_conn_id)

    def _load_ls_file(self) -> _Loaded:
        from cosmos_venv.project.ls_file import LsFile

        path, config = self.render_config.dbt_ls_path, self.render_config
        if path is None:
            raise CosmosLoadDbtException(
                "LoadMode.DBT_LS_FILE needs RenderConfig.dbt_ls_path. Give it, or use LoadMode.DBT_LS."
            )
        self._refuse_selector("a file of what dbt ls has said holds no selectors")
        file = LsFile(path=path, folders=self._folders())
        nodes = file.nodes()
        if not (config.select or config.exclude):
            return nodes, nodes
        return self._selected(nodes, path, lambda: file.selected(config.select, config.exclude))

    def _load_custom(self) -> _Loaded:
        from cosmos_venv.project.custom.load import nodes_of_files

        config = self.render_config
        self._refuse_selector("the project's files are read without dbt")
        self._refuse_no_folder()
        nodes, graph = nodes_of_files(self)
        if not (config.select or config.exclude):
            return nodes, nodes
        return self._selected(
            nodes, self.project_path, lambda: evaluate(graph, from_lists(config.select, config.exclude))
        )

    def _refuse_no_folder(self) -> None:
        if not self.project_path.is_dir():
            raise CosmosLoadDbtException(
                f"The dbt project folder {self.project_path} does not exist. Correct the path or deploy it."
            )

    def _selected(self, nodes: dict[str, DbtNode], where: object, select: Callable[[], set[str]]) -> _Loaded:
        config = self.render_config
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

    def _refuse_selector(self, reason: str) -> None:
        if self.render_config.selector:
            raise CosmosLoadDbtException(
                f"RenderConfig.selector={self.render_config.selector!r} does not go with {self.load_method}: {reason}. "
                "Use select and exclude, or load a manifest with LoadMode.DBT_MANIFEST."
            )

    def _folders(self) -> Folders:
        project_file = read_dbt_project(self.project_path)
        return Folders(project=self.project_path, root_package=project_file.name, packages=project_file.packages_folder)

    def _load_dbt_ls(self) -> _Loaded:
        from cosmos_venv.project.listing import list_nodes

        if self.profile_config is None:
            raise CosmosLoadDbtException("dbt ls needs a profile: give profile_config, or load a manifest.")
        self._refuse_no_folder()
        listing = list_nodes(self, only_kept=self.load_method is LoadMode.DBT_LS_CACHE)
        if listing.was_kept:
            self.load_method = LoadMode.DBT_LS_CACHE
        folders = self._folders()
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
