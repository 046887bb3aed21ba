"""Load, plan, make the tasks; DAG and group alike.

How does a dbt project come into a DAG? Loaded, planned and made; or, in a worker, the one task of it that runs.

How does a dbt group stand between other tasks before all of it is made?

``before >> group`` puts tasks before the first ones of the group. Where only the task is made that this process runs,
it does so if that is one of them; and again for the others should they be made after all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import DAG, TaskGroup, import_time_out_paused, is_mapped, is_typed_command, running_task
from cosmos_venv.managed import from_settings
from cosmos_venv.processes.gc_pause import give_back, no_collection
from cosmos_venv.rendering.airflow_tasks import TaskOrGroup, make_one_task, make_tasks, refuse_unknown_arguments
from cosmos_venv.rendering.configuration import Configuration
from cosmos_venv.rendering.partial import PUTTING_IN_ORDER, AskingDict, who_looks
from cosmos_venv.rendering.plan_cache import KeptTask, find, keep, plan_key

if TYPE_CHECKING:
    from cosmos_venv.compat import BaseOperator
    from cosmos_venv.project.graph import DbtGraph
    from cosmos_venv.rendering.model import Plan


_MANY_NODES = 2000
_OF_THE_WHOLE = frozenset({"dbt_graph", "plan", "tasks_map"})


class RenderedProject:
    """What a DbtDag and a DbtTaskGroup both know of their project.

    :ivar dbt_graph: the nodes that were loaded and selected.
    :ivar plan: the tasks and their order, as data.
    :ivar tasks_map: the task or group of each rendered node, by the node's unique id.
    """

    if TYPE_CHECKING:
        dbt_graph: DbtGraph
        plan: Plan
        tasks_map: dict[str, BaseOperator | TaskGroup]

    _part: PartOfProject | None = None
    """While there is no more: what the task that this process runs needs."""
    _make_rest: Callable[[], object] | None = None
    _is_making = False

    # A worker is forked from a process that has imported all of Airflow: looking through that once takes 150 ms.
    @no_collection()
    def _render(self, configuration: Configuration, *, dag: DAG, task_group: TaskGroup | None) -> None:
        # Before dbt is asked: with a misspelt py_requirements it could not be.
        refuse_unknown_arguments("operator_args", configuration.operator_args)
        rendering = _Rendering(configuration=configuration, dag=dag, task_group=task_group)
        part = rendering.make_running_task()
        if part is None:
            self._make_whole(rendering, {})
            return
        self._part, self._make_rest = part, lambda: self._make_whole(rendering, part.made)
        if not isinstance(dag.task_dict, AskingDict):
            dag.task_dict = AskingDict(dag.task_dict, part.running, PUTTING_IN_ORDER)
        host = task_group or dag.task_group
        host.children = AskingDict(host.children, part.running)
        for asked in (dag.task_dict, host.children):
            asked.ask(rendering.prefix, self._make_all, claims=bool(part.made))

    def _make_whole(self, rendering: _Rendering, there: Mapping[str, TaskOrGroup]) -> None:
        self.dbt_graph, self.plan, self.tasks_map = rendering.make(there)

    def _make_all(self) -> None:
        """Make what is not there yet. Whoever asks for it while it is made is answered with what there is."""
        if self._make_rest is None or self._is_making:
            return
        self._is_making = True
        try:
            self._make_rest()
        finally:
            self._is_making = False
        self._part = self._make_rest = None

    def __getattr__(self, name: str) -> Any:
        if name in _OF_THE_WHOLE and self._make_rest is not None and not self._is_making:
            self._make_all()
            return getattr(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


@dataclass(frozen=True, kw_only=True)
class PartOfProject:
    """As much of a project as one task needs.

    :param running: id of that task.
    :param made: the task and its groups, by planned id; nothing for a task that is none of the project's.
    :param first: the task, if none of the project comes before it; likewise ``last``.
    """

    running: str
    made: Mapping[str, TaskOrGroup] = field(default_factory=dict)
    first: tuple[BaseOperator, ...] = ()
    last: tuple[BaseOperator, ...] = ()


@dataclass(kw_only=True)
class _Rendering:
    """One project on its way into one DAG, or into one group of it."""

    configuration: Configuration
    dag: DAG
    task_group: TaskGroup | None

    @cached_property
    def prefix(self) -> str:
        """With which the ids of all its tasks begin."""
        if self.task_group is None:
            return ""
        prefix: str = self.task_group.child_id("")  # type: ignore[no-untyped-call]
        return prefix

    def make_running_task(self) -> PartOfProject | None:
        """What the task that this process runs needs of the project; None: make all of it."""
        dag_id, task_id = running_task() or (None, "")
        if dag_id != self.dag.dag_id or is_mapped(self.task_group) or from_settings.kept_plans() is None:
            return None
        if not task_id.startswith(self.prefix):
            # Of another group, which says so, or of the user's own: then all is made when Airflow takes it.
            return PartOfProject(running=task_id)
        found = self._find(task_id.removeprefix(self.prefix))
        if found is None:
            return None
        shared = self.configuration.shared_arguments()
        made = make_one_task(found, shared, dag=self.dag, task_group=self.task_group, prefix=self.prefix)
        task: Any = made[found.task.task_id]
        return PartOfProject(
            running=task_id,
            made=made,
            first=() if found.upstream else (task,),
            last=() if found.downstream else (task,),
        )

    def make(self, there: Mapping[str, TaskOrGroup]) -> tuple[DbtGraph, Plan, dict[str, TaskOrGroup]]:
        """Load the project, plan it and make its tasks.

        :param there: what is made already, by planned id.
        """
        with no_collection():
            # Whoever types "airflow dags test" can end the wait; a DAG processor has more files to parse.
            with import_time_out_paused() if is_typed_command() else nullcontext():
                self._graph.load()
            if len(self._graph.nodes) > _MANY_NODES:
                give_back()
            plan = self._plan()
            self._keep(plan)
            return self._graph, plan, self._tasks(plan, there)

    def _keep(self, plan: Plan) -> None:
        kept = from_settings.kept_plans()
        key = None if kept is None else plan_key(self.configuration, self._graph.loaded_version)
        if kept is not None and key is not None and not kept.path(key).exists():
            keep(kept, key, plan, self._graph.project_path)

    def _plan(self) -> Plan:
        from cosmos_venv.rendering.planner import plan

        given, graph = self.configuration, self._graph
        return plan(
            graph.filtered_nodes,
            tests_per_model=graph.tests_per_model,
            render_config=given.render,
            execution_config=given.execution,
            project_config=given.project,
            operator_args=given.operator_args,
            settings=given.drawing_settings(),
        )

    def _tasks(self, plan: Plan, there: Mapping[str, TaskOrGroup]) -> dict[str, TaskOrGroup]:
        from cosmos_venv.rendering.converters import Converters

        shared = self.configuration.shared_arguments()
        converters = Converters(configuration=self.configuration, nodes=self._graph.filtered_nodes, shared=shared)
        return make_tasks(plan, shared, dag=self.dag, task_group=self.task_group, converters=converters, there=there)

    def _find(self, planned_id: str) -> KeptTask | None:
        kept = from_settings.kept_plans()
        key = None if kept is None else plan_key(self.configuration, self._graph.version())
        return None if kept is None or key is None else find(kept, key, planned_id, self._graph.project_path)

    @cached_property
    def _graph(self) -> DbtGraph:
        from cosmos_venv.project.graph import DbtGraph

        given = self.configuration
        return DbtGraph(
            project=given.project,
            render_config=given.render,
            execution_config=given.execution,
            profile_config=given.profile,
            operator_args=given.operator_args,
        )


class RenderedGroup(RenderedProject, TaskGroup):
    """A TaskGroup that may be there in part only. All methods are those of Airflow's TaskGroup."""

    #: tells it, to the tasks in it, from the groups of its folders and tests.
    holds_dbt_project = True
    _postponed: tuple[Callable[[], object], ...] = ()

    def _make_all(self) -> None:
        super()._make_all()
        if self._part is None:
            postponed, self._postponed = self._postponed, ()
            for relate in postponed:
                relate()

    def _set_relatives(self, task_or_task_list: Any, upstream: bool = False, edge_modifier: Any = None) -> None:
        """Whatever comes before or after the group by its own methods."""
        others = task_or_task_list if isinstance(task_or_task_list, Sequence) else [task_or_task_list]
        self._need_all_for_labels(edge_modifier, *others)
        relate = partial(super()._set_relatives, task_or_task_list, upstream=upstream, edge_modifier=edge_modifier)
        if self._part is None:
            relate()
            return
        self._postponed += (relate,)
        for task in self._part.first if upstream else self._part.last:
            task._set_relatives(task_or_task_list, upstream=upstream)

    def update_relative(self, other: Any, upstream: bool = True, edge_modifier: Any = None) -> None:
        """What comes before or after it by the methods of the other side, which asks for first or last tasks then."""
        self._need_all_for_labels(edge_modifier, other)
        if self._part is not None:
            self._postponed += (partial(other.set_downstream if upstream else other.set_upstream, self),)
        super().update_relative(other, upstream, edge_modifier=edge_modifier)

    def _need_all_for_labels(self, *edge_modifiers: Any) -> None:
        """A label is for all the first or last tasks together, or for the groups that these stand in."""
        if any(hasattr(each, "add_edge_info") for each in edge_modifiers):
            self._make_all()

    def get_roots(self) -> Generator[BaseOperator, None, None]:
        """The tasks before which none of the group comes."""
        yield from self._part.first if self._part and self._is_put_in_order() else super().get_roots()

    def get_leaves(self) -> Generator[BaseOperator, None, None]:
        """The tasks after which none of the group comes."""
        yield from self._part.last if self._part and self._is_put_in_order() else super().get_leaves()

    def _is_put_in_order(self) -> bool:
        return who_looks(PUTTING_IN_ORDER) is None
