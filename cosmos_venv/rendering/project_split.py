"""One load of a project for the DAGs of all its domains, and the graph of each of these DAGs.

A worker that parses the DAG file for one task finds the names of the domains kept beside the plans, and loads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from cosmos_venv.compat import dag_to_run, import_time_out_paused, running_task
from cosmos_venv.files.read_limits import value_of
from cosmos_venv.managed import caches
from cosmos_venv.project.graph import DbtGraph, link
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.configuration import Configuration
from cosmos_venv.rendering.model import ReadyTask
from cosmos_venv.rendering.one_task.plan_cache import plan_key

if TYPE_CHECKING:
    from cosmos_venv.rendering.domains import Domain

SplitBy = str | Callable[[DbtNode], str]
"""``folder``, ``tag``, ``group``, or a function that gives the name of a node's domain."""


class ProjectSplit:
    """A project that is split into domains.

    :param configuration: of all its DAGs.
    :param split_by: how it is split.
    :param dag_id: the text with which the ids of all its DAGs begin.
    :ivar whole: the graph of the whole project; ``loaded`` is the same graph after ``load()``.
    """

    def __init__(self, configuration: Configuration, split_by: SplitBy, dag_id: str) -> None:
        self.configuration = configuration
        self.whole = DbtGraph(**configuration.graph_arguments())
        self._split_by = split_by
        self._dag_id = dag_id

    def dag_id(self, domain: str) -> str:
        """The id of the DAG of a domain.

        :param domain: its name.
        """
        return f"{self._dag_id}_{domain}"

    def asset_uri(self, above: str, domain: str) -> str:
        """The URI of the asset for which the DAG of a domain waits. Airflow takes ASCII only.

        :param above: name of the domain whose nodes are read.
        :param domain: name of the domain that reads them.
        """
        return f"dbt://{quote(self.dag_id(above))}/{quote(self.dag_id(domain))}"

    @cached_property
    def above(self) -> Mapping[str, list[str]]:
        """The names of the domains, in order, each with the names of the domains that it reads.

        :raises CosmosValueError: when the project cannot be split.
        :raises CosmosLoadDbtException: when it cannot be loaded.
        """
        # Only a worker reads kept names. In the DAG processor the schedules must fit the plans that are made now.
        kept = caches.kept_plans()
        if kept is not None and running_task() and (key := plan_key(self.configuration, self.version())):
            kept.fetch(key)
            if found := value_of(kept.read(key), dict[str, list[str]]):
                return found
        found = {name: [*domain.reads] for name, domain in self.domains.items()}
        if kept is not None and (key := plan_key(self.configuration, self.version())) and not kept.path(key).exists():
            kept.write(key, msgspec.json.encode(found))
            kept.share(key)
        return found

    @cached_property
    def domains(self) -> Mapping[str, Domain]:
        """The domains by name, in order; raises as ``above``."""
        from cosmos_venv.rendering.domains import domains_of, label_of  # a worker finds them kept

        graph = self.loaded
        return domains_of(graph.filtered_nodes, graph.render_config, label_of(self._split_by, graph.project_path))

    @cached_property
    def loaded(self) -> DbtGraph:
        """The graph of the whole project, loaded."""
        with import_time_out_paused(for_task=(dag_to_run() or "").startswith(f"{self._dag_id}_")):
            self.whole.load()
        return self.whole

    def version(self, domain: str = "") -> str | None:
        """A text that differs where another load might give other nodes.

        :param domain: name of the domain that is meant; empty: all of them.
        :returns: None where that cannot be known. A function as ``split_by`` may change its answers unnoticed.
        :raises CosmosLoadDbtException: where dbt would be asked, and its environment is not ready yet.
        """
        known = isinstance(self._split_by, str) and self.whole.version is not None
        return json.dumps([self.whole.version, self._split_by, self._dag_id, domain]) if known else None

    def ready_tasks(self, domain: str) -> tuple[ReadyTask, ...]:
        """The tasks of a domain's DAG for which DAGs of other domains wait.

        :param domain: its name.
        """
        return tuple(
            ReadyTask(f"ready_for_{name}", self.asset_uri(domain, name), reader.reads[domain])
            for name, reader in self.domains.items()
            if domain in reader.reads
        )


class DomainGraph(DbtGraph):
    """The graph of one domain. Its ``nodes`` are all nodes of the project, its ``filtered_nodes`` those of the domain.

    :param split: the project.
    :param domain: the domain's name.
    :ivar ready_tasks: the tasks for which DAGs of other domains wait; empty until ``load()``.
    """

    def __init__(self, split: ProjectSplit, domain: str) -> None:
        super().__init__(**split.configuration.graph_arguments())
        self._split, self._domain = split, domain
        self.ready_tasks: tuple[ReadyTask, ...] = ()

    def load(self) -> None:
        """Take the nodes of the domain from the load that all domains share, and raise what that load raises."""
        members = self._split.domains[self._domain].nodes
        self.share(self._split.loaded)
        self.version = self._split.version(self._domain)
        own = {each: node for each, node in self.filtered_nodes.items() if each in members}
        self.filtered_nodes, self.tests_per_model = link(
            own, detaching=self.render_config.should_detach_multiple_parents_tests
        )
        self.nodes |= self.filtered_nodes
        self.ready_tasks = self._split.ready_tasks(self._domain)

    @cached_property
    def version(self) -> str | None:
        """As for any graph, but different for each domain."""
        version = self._split.version(self._domain)
        self.load_method = self._split.whole.load_method
        return version
