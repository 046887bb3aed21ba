"""``DbtGraph``, the nodes of one dbt project under the names that Cosmos has for them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import TESTS, DbtResourceType, LoadMode
from cosmos_venv.project.gc_pause import no_collection
from cosmos_venv.project.load_request import LoadRequest, project_dir

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode

logger = logging.getLogger(__name__)


@dataclass
class DbtGraph:
    """The nodes of one dbt project. Empty until ``load()``; each ``load()`` replaces the nodes of the one before.

    :param project: where the project is.
    :param render_config: how it is parsed, and which nodes are selected.
    :param execution_config: how and where its tasks run dbt.
    :param profile_config: how dbt reaches the warehouse; None: no dbt is asked.
    :param operator_args: arguments of all tasks, which describe the managed environment that dbt ls runs in.
    """

    project: ProjectConfig
    render_config: RenderConfig = field(default_factory=RenderConfig)
    execution_config: ExecutionConfig = field(default_factory=ExecutionConfig)
    profile_config: ProfileConfig | None = None
    operator_args: Mapping[str, object] = field(default_factory=dict)

    nodes: dict[str, DbtNode] = field(init=False, default_factory=dict)
    """All nodes that were loaded, by unique id."""
    filtered_nodes: dict[str, DbtNode] = field(init=False, default_factory=dict)
    """The selected nodes and tests, as dbt selects. With ``[cosmos_venv] keep_excluded_tests`` the excluded tests of
    selected nodes too, unless dbt ls or a YAML selector has selected: commands that test get ``exclude`` anyway.
    """
    tests_per_model: dict[str, list[str]] = field(init=False, default_factory=dict)
    """Ids of the tests of each node that has any."""
    is_whole: bool = field(init=False, default=True)
    """Whether the project has no other nodes than those that were loaded."""
    load_method: LoadMode = field(init=False, default=LoadMode.AUTOMATIC)
    """The load mode that ``load()`` has used, or ``version`` has chosen."""

    @no_collection()
    def load(self) -> None:
        """Read the project, select, note which tests a node has, and say in the log what was done.

        :raises CosmosLoadDbtException: when the project cannot be loaded; the text says what is missing or broken.
        :raises CosmosValueError: when dbt would refuse the selection, with the item.
        """
        # A worker that finds its task's plan loads nothing. It imports the loaders for the version only.
        from cosmos_venv.project.loaders import load

        request = self.request()
        self.load_method = request.method
        loaded = load(request)
        self.load_method, self.version, self.is_whole = loaded.method, loaded.version, loaded.is_whole
        selection = link(loaded.selected, detaching=self.render_config.should_detach_multiple_parents_tests)
        # The selected nodes know their tests and the nodes downstream.
        self.nodes = {**loaded.nodes, **selection.nodes}
        self.filtered_nodes, self.tests_per_model = selection
        logger.info(
            "Loaded %d dbt nodes, of which %d are selected (%s, because %s).",
            len(self.nodes),
            len(self.filtered_nodes),
            self.load_method.value,
            loaded.reason,
        )

    def share(self, other: DbtGraph) -> None:
        """Copy the nodes that another graph of the same project and configuration has loaded.

        :param other: that graph.
        """
        self.nodes, self.filtered_nodes = {**other.nodes}, {**other.filtered_nodes}
        self.tests_per_model = {each: [*tests] for each, tests in other.tests_per_model.items()}
        self.load_method, self.version, self.is_whole = other.load_method, other.version, other.is_whole
        logger.info("Shares %d dbt nodes, which another group of this DAG file has loaded.", len(self.nodes))

    @cached_property
    def version(self) -> str | None:
        """A text that differs where the nodes do, the same on every machine: the version of the loaded nodes, or until
        ``load()`` of the nodes that it would give. None where it cannot be known; then no plan is kept.

        :raises CosmosLoadDbtException: where dbt would be asked, and its environment is not ready yet.
        """
        from cosmos_venv.project.loaders import version_of

        request = self.request()
        self.load_method = request.method
        return version_of(request)

    def request(self) -> LoadRequest:
        """The request that ``load()`` makes to the loaders, with files and environment variables as they are from now
        on.
        """
        return LoadRequest(
            project=self.project,
            render=self.render_config,
            execution=self.execution_config,
            profile=self.profile_config,
            operator_args=self.operator_args,
        )

    @property
    def project_path(self) -> Path:
        """Absolute folder of the project: as tasks see it when a manifest was loaded, else as the parser sees it.

        :raises CosmosLoadDbtException: when no configuration names one.
        """
        return project_dir(self.project, self.render_config, self.execution_config, self.load_method)


class Selection(NamedTuple):
    """The selected nodes, and the relations between them.

    :param nodes: the selected nodes and tests by unique id, each with its tests and the nodes downstream.
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
    from cosmos_venv.project.node import children_by_parent  # a worker that finds its task's plan links nothing

    tests = [(each, node) for each, node in selected.items() if node.resource_type is DbtResourceType.TEST]
    found = children_by_parent(tests)
    tests_per_model = {parent: ids for parent, ids in found.items() if parent in selected}
    own_tests = _with_own_tests([node for _, node in tests]) if detaching else tests_per_model

    downstream = children_by_parent(each for each in selected.items() if each[1].resource_type not in TESTS)
    # Most nodes are tests, and nothing depends on these.
    nodes = {
        unique_id: node
        if node.resource_type in TESTS
        else msgspec.structs.replace(
            node,
            has_test=unique_id in tests_per_model,
            has_non_detached_test=unique_id in own_tests,
            downstream=downstream.get(unique_id, []),
        )
        for unique_id, node in selected.items()
    }
    return Selection(nodes=nodes, tests_per_model=tests_per_model)


def _with_own_tests(tests: Collection[DbtNode]) -> set[str]:
    """The nodes that have a test of their own: it has no other parent, and no test of several parents has its ``fqn``.

    dbt cannot select one of several tests with one ``fqn``, so these tests run together. If one of these tests has
    several parents, all of them run apart from their parents.
    """
    apart = {tuple(test.fqn) for test in tests if test.fqn and len(set(test.depends_on)) > 1}
    return {
        parents.pop()
        for test in tests
        if len(parents := set(test.depends_on)) == 1 and (not test.fqn or tuple(test.fqn) not in apart)
    }
