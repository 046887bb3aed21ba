"""Where do the nodes of a project come from, and which of them are selected?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.os_errors import shortage
from cosmos_venv.managed import from_settings
from cosmos_venv.processes.gc_pause import no_collection
from cosmos_venv.project.loaders import version_of
from cosmos_venv.remote.remote_file import shown

if TYPE_CHECKING:
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
    """The selected ones and all their tests, excluded ones too: ``exclude`` is passed on to the commands that test.

    With dbt ls, where dbt selects, and with a YAML selector these are dbt's, so that a node may lack tests.
    """
    tests_per_model: dict[str, list[str]] = field(init=False, default_factory=dict)
    """Ids of the tests of each node that has any."""
    load_method: LoadMode = field(init=False, default=LoadMode.AUTOMATIC)
    """What ``load()`` came to."""
    loaded_version: str | None = field(init=False, default=None)
    """The ``version()`` of what was loaded; None where that cannot be told, or no plan is kept under it."""

    @no_collection()
    def load(self) -> None:
        """Read the project, select, note which tests a node has, and say in the log what was done.

        :raises CosmosLoadDbtException: when the project cannot be loaded; the text says what is missing or broken.
        :raises CosmosValueError: when dbt would refuse the selection, with the item.
        """
        # Not before: a worker that knows its task already needs nothing of these.
        from cosmos_venv.project.loaders import link, load_nodes

        self.load_method, reason = self._decide()
        # Of use for keeping a plan alone: where none is kept, a manifest would be hashed twice for nothing.
        before = None if from_settings.kept_plans() is None else version_of(self, only_files=True)
        try:
            self.nodes, selected = load_nodes(self)
        except OSError as error:
            words = shortage(error)
            if words is None:
                raise
            raise CosmosLoadDbtException(words) from error
        if before is not None and before == version_of(self, only_files=True):
            self.loaded_version = before
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
        """A text that differs where ``load()`` might give other nodes, the same on every machine.

        :return: None where that cannot be told without loading.
        :raises CosmosLoadDbtException: where dbt would be asked, and its environment is not ready yet.
        """
        self.load_method, _ = self._decide()
        return version_of(self)

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
