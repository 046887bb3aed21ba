"""Where do the nodes of a project come from, and which of them are selected?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.garbage import no_collection
from cosmos_venv.project.dbt_ls import parse_dbt_ls_output
from cosmos_venv.project.links import link
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.project.node import DbtNode

logger = logging.getLogger(__name__)


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
    """The selected ones and their tests. With dbt ls, where dbt selects, these are all."""
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
        if self.load_method is LoadMode.DBT_MANIFEST:
            self.nodes, selected = self._load_manifest()
        else:
            self.nodes = selected = self._load_dbt_ls()
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
        if manifest is None:
            return LoadMode.DBT_LS, "no ProjectConfig.manifest_path is given"
        if self.project.is_manifest_available():
            return LoadMode.DBT_MANIFEST, f"there is a manifest at {manifest}"
        return LoadMode.DBT_LS, f"there is no manifest at {manifest}"

    def _load_manifest(self) -> tuple[dict[str, DbtNode], dict[str, DbtNode]]:
        """All nodes, and the selected ones."""
        path, config = self.project.manifest_path, self.render_config
        if path is None:
            raise CosmosLoadDbtException(
                "LoadMode.DBT_MANIFEST needs ProjectConfig.manifest_path. Give it, or use LoadMode.DBT_LS."
            )
        manifest = Manifest(path)
        packages = read_dbt_project(self.project_path).packages_folder
        nodes = manifest.nodes(project_path=self.project_path, packages_folder=packages)
        selector = config.selector
        if not (config.select or config.exclude or selector):
            if (selector := manifest.default_selector) is None:
                return nodes, nodes
            logger.info("Nothing is selected, so the default selector %r counts, as in dbt.", selector)
        try:
            ids = manifest.selected(config.select, config.exclude, selector)
        except CosmosValueError as error:
            raise CosmosValueError(f"RenderConfig.select, exclude or selector, with {path}: {error}") from None
        selected = {unique_id: node for unique_id, node in nodes.items() if unique_id in ids}
        if not selected:
            logger.warning(
                "The selection fits nothing in %s: RenderConfig.select=%r, exclude=%r, selector=%r.",
                *(path, config.select, config.exclude, selector),
            )
        return nodes, selected

    def _load_dbt_ls(self) -> dict[str, DbtNode]:
        from cosmos_venv.project.listing import list_nodes

        if self.profile_config is None:
            raise CosmosLoadDbtException("dbt ls needs a profile: give profile_config, or load a manifest.")
        folder = self.project_path
        if not folder.is_dir():
            raise CosmosLoadDbtException(
                f"The dbt project folder {folder} does not exist. Correct the path or deploy it."
            )
        listing = list_nodes(self)
        if listing.was_kept:
            self.load_method = LoadMode.DBT_LS_CACHE
        project_file = read_dbt_project(folder)
        nodes = parse_dbt_ls_output(
            listing.lines,
            project_path=folder,
            root_package=project_file.name,
            packages_folder=project_file.packages_folder,
        )
        if not nodes:
            logger.warning("dbt ls listed no node of %s: the selection fits nothing, or the project is empty.", folder)
        return nodes
