"""A dbt project as it comes into a DAG or a group: loaded, planned, and made as tasks.

A worker that parses a DAG file for one task makes only that task at first, and the rest on demand (``partial``).
``before >> group`` puts tasks before the first tasks of the group. While only the running task is made, the edge is
drawn if that task is one of the first. It is drawn again, to all first tasks, when the rest is made.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import settings
from cosmos_venv.compat import (
    DAG,
    DAGS_HAVE_VERSIONS,
    TaskGroup,
    dag_to_run,
    import_time_out_paused,
    set_relatives,
    shared_by_import,
)
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException
from cosmos_venv.managed import caches
from cosmos_venv.project.gc_pause import no_collection
from cosmos_venv.rendering.airflow_tasks import TaskOrGroup, make_tasks, refuse_unknown_arguments
from cosmos_venv.rendering.configuration import Configuration
from cosmos_venv.rendering.one_task.partial import PartialProject, ProjectInDag, is_put_in_order
from cosmos_venv.rendering.one_task.plan_cache import keep, plan_key

if TYPE_CHECKING:
    from cosmos_venv.compat import BaseOperator
    from cosmos_venv.project.graph import DbtGraph
    from cosmos_venv.rendering.model import Plan
    from cosmos_venv.rendering.project_split import DomainGraph


_Key = tuple[Path, str]
_MANY_NODES = 1000  # with more nodes it pays to give the memory of the manifest's text back


class RenderedProject:
    """The base of DbtDag and DbtTaskGroup."""

    _part: PartialProject | None = None
    """The part that is made for the task that this process runs; None where the whole project is made."""
    _whole: tuple[DbtGraph, Plan, dict[str, TaskOrGroup]] | None = None
    """The project, its plan and its tasks; None until the whole project is made. ``_render`` sets the attribute in the
    instance at once: code that iterates over a DAG's attributes makes the tasks on the way. No attribute may be added
    meanwhile (``copy.deepcopy`` failed with "dictionary changed size during iteration").
    """

    # A worker is forked from a process that has imported all of Airflow: one garbage collection there takes 150 ms.
    @no_collection()
    def _render(
        self, configuration: Configuration, *, dag: DAG, task_group: TaskGroup | None, domain: DomainGraph | None = None
    ) -> None:
        # Before dbt runs: with a misspelt py_requirements it could not run.
        refuse_unknown_arguments("operator_args", configuration.operator_args)
        refuse_unknown_arguments(
            "ExecutionConfig.setup_operator_args", configuration.execution.setup_operator_args or ()
        )
        configuration.refuse_beside_dag(dag)
        if configuration.run_params is not None:
            from cosmos_venv.rendering.run_params.dag_params import offer  # few DAGs have any

            offer(dag, configuration.run_params)
        rendering = _Rendering(configuration=configuration, dag=dag, task_group=task_group, domain=domain)
        self._whole = None
        # None where no task runs in this process, as in the DAG processor, or no plan is kept.
        self._part = PartialProject.of_running_task(
            rendering, lambda made: self._make(rendering, made), self._make_rest
        )
        if self._part is None:
            self._make(rendering, {})

    def _make(self, rendering: _Rendering, made: Mapping[str, TaskOrGroup]) -> None:
        self._whole = rendering.make(made)

    def _make_rest(self) -> None:
        """Make the missing tasks. Code that looks at the tasks meanwhile finds those that exist already."""
        part = self._part
        if part is None or part.is_making:
            return
        part.complete()
        self._part = None
        for relate in part.postponed:
            relate()

    @property
    def dbt_graph(self) -> DbtGraph:
        """The nodes that were loaded and selected."""
        return self._whole_project()[0]

    @property
    def plan(self) -> Plan:
        """The tasks and their order, as data."""
        return self._whole_project()[1]

    @property
    def tasks_map(self) -> dict[str, TaskOrGroup]:
        """The task or group of each rendered node, by the node's unique id."""
        return self._whole_project()[2]

    def _whole_project(self) -> tuple[DbtGraph, Plan, dict[str, TaskOrGroup]]:
        if self._whole is None:
            self._make_rest()
        if self._whole is None:
            raise AttributeError(f"{type(self).__name__} is still being made: its tasks are not known yet.")
        return self._whole

    def __reduce_ex__(self, protocol: Any) -> Any:
        """The whole project, for pickle and for a copy: a copy of a part could not make the rest.

        :param protocol: of pickle.
        """
        self._make_rest()
        return super().__reduce_ex__(protocol)


@dataclass(kw_only=True, eq=False, repr=False)  # to be imported faster, for each task
class _Rendering(ProjectInDag):
    """The rendering of one project into one DAG, or into one group of a DAG."""

    def make(self, there: Mapping[str, TaskOrGroup]) -> tuple[DbtGraph, Plan, dict[str, TaskOrGroup]]:
        """Load the project, plan it and make its tasks.

        :param there: the tasks and groups that are made already, by planned id.
        """
        with no_collection():
            plan = self._load_and_plan()
            if any(task.is_passage for task in plan.tasks):
                self.configuration.refuse_beside_dag(self.dag, passes_failures=True)
            if DAGS_HAVE_VERSIONS and settings.enable_dag_versioning:
                self._note_project_hash()
            return self.graph, plan, self._tasks(plan, there)

    def _note_project_hash(self) -> None:
        """Append the hash of the project to the DAG's documentation: another hash makes a new DAG version."""
        from cosmos_venv.project.fingerprint import project_hash

        request = self.graph.request()
        found = project_hash(
            self.graph.project_path,
            request.environment,
            has_deps=request.has_deps,
            excluded=tuple(each.strip() for each in settings.project_hash_excluded_dirs.split(",") if each.strip()),
            known=caches.kept_fingerprints(),
            seen=shared_by_import(),
        )
        if found is None:
            return
        line, said = f"**dbt project hash:** `{found}`", self.dag.doc_md
        if line not in (said or ""):  # another group of the same project may have added it
            self.dag.doc_md = f"{said}\n\n{line}" if said else line

    def _load_and_plan(self) -> Plan:
        """The plan; the graph is then loaded. Groups of a DAG file with the same configuration share both."""
        shared = shared_by_import()
        others: dict[_Key, tuple[DbtGraph, Plan]] = {} if shared is None else shared.setdefault(__name__, {})
        if others and (key := self._key()) in others:
            graph, plan = others[key]
            self.graph.share(graph)
            return plan
        with self._time_to_build():
            self.graph.load()  # it sets graph.version, so that _key() costs nothing
        if len(self.graph.nodes) > _MANY_NODES:
            _give_memory_back()
        plan = self._plan()
        if (key := self._key()) is not None:
            others[key] = self.graph, plan
            self._keep(key, plan)
        return plan

    def _key(self) -> _Key | None:
        """The folder of the project and the key of the plan; None where that cannot be known.

        ``plan_key`` holds no path, and another group may render a copy of the project from another folder.
        """
        try:
            with self._time_to_build():
                version = self.graph.version
        except (CosmosLoadDbtException, CosmosConfigException):  # load() will raise the same
            return None
        key = plan_key(self.configuration, version)
        return None if key is None else (self.graph.project_path, key)

    def _keep(self, key: _Key, plan: Plan) -> None:
        kept = caches.kept_plans()
        if kept is not None and not kept.path(key[1]).exists():
            keep(kept, key[1], plan, key[0])
            kept.share(key[1])

    def _time_to_build(self) -> AbstractContextManager[None]:
        return import_time_out_paused(for_task=dag_to_run() == self.dag.dag_id)

    def _plan(self) -> Plan:
        from cosmos_venv.rendering.plan_request import PlanRequest
        from cosmos_venv.rendering.planner import plan

        given, graph = self.configuration, self.graph
        request = PlanRequest(
            nodes=graph.filtered_nodes,
            known=graph.nodes,
            may_hide=not graph.is_whole,
            render=given.render,
            execution=given.execution,
            project=given.project,
            operator_args=given.operator_args,
            ready_tasks=None if self.domain is None else self.domain.ready_tasks,
            settings=given.planning_settings(),
        )
        return plan(request)

    def _tasks(self, plan: Plan, there: Mapping[str, TaskOrGroup]) -> dict[str, TaskOrGroup]:
        from cosmos_venv.rendering.converters import Converters

        shared = self.configuration.shared_arguments(self.prefix)
        converters = Converters(configuration=self.configuration, nodes=self.graph.filtered_nodes, shared=shared)
        return make_tasks(plan, shared, dag=self.dag, task_group=self.task_group, converters=converters, there=there)


class RenderedGroup(RenderedProject, TaskGroup):
    """A TaskGroup of which only a part may be made yet. All methods are those of Airflow's TaskGroup."""

    holds_dbt_project = True
    """By this attribute tasks tell the group of their project from groups of folders and tests."""

    def _set_relatives(self, task_or_task_list: Any, upstream: bool = False, edge_modifier: Any = None) -> None:
        """Draw an edge that a method of the group was called for. Before the rest is made, the part gets it, too."""
        others = task_or_task_list if isinstance(task_or_task_list, Sequence) else [task_or_task_list]
        self._need_all_for_labels(edge_modifier, *others)
        relate = partial(super()._set_relatives, task_or_task_list, upstream=upstream, edge_modifier=edge_modifier)
        if self._part is None:
            relate()
            return
        self._part.postponed.append(relate)
        for task in self._part.first if upstream else self._part.last:
            set_relatives(task, task_or_task_list, upstream=upstream)

    def update_relative(self, other: Any, upstream: bool = True, edge_modifier: Any = None) -> None:
        """Note an edge that a method of the other side was called for. It then asks for the first or last tasks.

        :param other: the task or group on the other side.
        :param upstream: whether ``other`` comes before the group.
        :param edge_modifier: Airflow's label of the edge; None: there is none.
        """
        self._need_all_for_labels(edge_modifier, other)
        if self._part is not None:
            self._part.postponed.append(partial(other.set_downstream if upstream else other.set_upstream, self))
        super().update_relative(other, upstream, edge_modifier=edge_modifier)

    def _need_all_for_labels(self, *edge_modifiers: Any) -> None:
        """Make all tasks if an edge has a label: the label is for all first or last tasks, or for their groups."""
        if any(hasattr(each, "add_edge_info") for each in edge_modifiers):
            self._make_rest()

    def get_roots(self) -> Generator[BaseOperator, None, None]:
        """The tasks of the group that come after no other task of the group."""
        yield from self._part.first if self._part and is_put_in_order() else super().get_roots()

    def get_leaves(self) -> Generator[BaseOperator, None, None]:
        """The tasks of the group that come before no other task of the group."""
        yield from self._part.last if self._part and is_put_in_order() else super().get_leaves()


def _give_memory_back() -> None:
    """Give freed memory back to the system.

    The C library keeps freed blocks of up to 32 MiB: of 71 MB resident after a manifest of 31 MB was read, 33 MB were
    free.
    """
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
