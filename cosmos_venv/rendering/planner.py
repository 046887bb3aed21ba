"""The plan of a project, made of its nodes and a configuration: a node becomes a task, a placeholder, or nothing.

No Airflow is needed to make a plan, and the plan is the same in every process: tasks stand in topological order, and
tasks of the same step are sorted by id. Ids are those of Cosmos.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from cosmos_venv.constants import (
    METRIC_VIEWS,
    NODE_CONFIG,
    TASK_TESTS,
    TESTS,
    BatchBy,
    DbtResourceType,
    ExecutionMode,
    TestBehavior,
    TestIndirectSelection,
)
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.node import DbtNode, as_id
from cosmos_venv.rendering.command_arguments import CommandArguments, NodeTests
from cosmos_venv.rendering.model import (
    EMPTY,
    READY,
    Batch,
    Entry,
    Plan,
    PlannedConversion,
    PlannedNode,
    PlannedTask,
    conversion_of,
    passage_behind,
)
from cosmos_venv.rendering.plan_graph import Assembly, FolderGroups, with_end_of_failed, with_tasks_of_run
from cosmos_venv.rendering.plan_request import NEVER_RUN, VERBS, PlanRequest, Visibility
from cosmos_venv.rendering.selectors import test_name
from cosmos_venv.rendering.task_arguments import (
    LONGEST_ID,
    context_of_batch,
    context_of_node,
    name_of,
    project_name,
)
from cosmos_venv.rendering.task_docs.node_page import document_of_batch, with_pages

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """The place of a node's own tasks: ``group`` is its own group if it has one, else that of its folder."""

    folder: str | None
    group: str | None

    def id_of(self, label: str) -> str:
        return f"{self.group}.{label}" if self.group else label

    def task(self, node: DbtNode, label: str, **more: Any) -> PlannedTask:
        """A task in this place.

        :param node: the node.
        :param label: the id of the task within the group.
        :param **more: further fields of the PlannedTask.
        """
        task_id = self.id_of(label)
        return PlannedTask(task_id=task_id, group=self.group, folder=self.folder, node_id=node.unique_id, **more)


class NodePlanner:
    """The tasks of the nodes of one selection under one configuration.

    :param request: what is planned.
    :ivar left_out: how many nodes of each type have no task because this type never has one.
    """

    def __init__(self, request: PlanRequest) -> None:
        self.left_out: Counter[DbtResourceType] = Counter()
        self.folders: FolderGroups | None = None
        self._request = request
        self._nodes, self._render, self._operator = request.nodes, request.render, request.operator_pattern
        self._batches = request.batches.batches if request.batches else ()
        self._in_batches = request.batches.members if request.batches else frozenset()
        self._arguments = CommandArguments(request)
        if self._render.group_nodes_by_folder:
            paths = (each.original_file_path.parent for each in self._nodes.values())
            self.folders = FolderGroups(paths, by_path=request.settings.groups_by_path)

    def plan_node(self, node: DbtNode) -> PlannedNode | None:
        """The tasks of a node; None when it has none, and for tests and nodes of batches, which other methods plan.

        :param node: a selected node.
        """
        kind = node.resource_type
        if kind is DbtResourceType.TEST or node.unique_id in self._in_batches:
            return None
        visibility = self._request.visibility[node.unique_id]
        if visibility is Visibility.NOTHING:
            return self._plan_hidden(node)
        folder = self._folder_of(node)
        if self._has_test_task(node):
            place = _Place(folder=folder, group=f"{folder}.{node.name}" if folder else node.name)
            return self._plan_group(node, place, visibility)
        entry = self._single(node, _Place(folder=folder, group=folder), visibility)
        return _planned(node, *self._with_passage(node, entry))

    def plan_detached(self) -> dict[str, PlannedNode]:
        """The tests that run apart, by unique id. A name that is too long becomes a number, in this order."""
        planned, shortened = {}, 0
        for test in self._request.detached.tests:
            place = _Place(folder=(folder := self._folder_of(test)), group=folder)
            label = f"{as_id(test_name(test))}_test"
            if len(place.id_of(label)) >= LONGEST_ID:
                label, shortened = f"detached_{shortened}_test", shortened + 1
            entry = self._tests(test, place, label, self._arguments.of_one_fqn(test))
            planned[test.unique_id] = _planned(test, entry)
        return planned

    def plan_batches(self) -> dict[str, PlannedNode]:
        """The task of each batch, under the unique ids of all its nodes. It stands at the root."""
        planned: dict[str, PlannedNode] = {}
        for batch in self._batches:
            members = tuple(self._nodes[each] for each in batch.members)
            entry = self._batch(batch, members)
            read = [parent for each in members for parent in each.depends_on]
            of_batch = PlannedNode(owner=f"the batch {entry.task_id}", depends_on=read, entries=(entry,))
            planned |= dict.fromkeys(batch.members, of_batch)
        return planned

    def _batch(self, batch: Batch, members: tuple[DbtNode, ...]) -> PlannedTask:
        texts = self._request.selectors
        tests = [test.unique_id for test in self._request.detached.of_unit.get(batch.unit, ())]
        # dbt runs all tests that one text selects.
        told = {texts[each] for each in self._request.tests_with(batch.members, tests)}
        run = [each.unique_id for each in members if not each.has_ephemeral_materialization]
        nodes = {each: texts[each] for each in (*run, *(each for each in tests if texts[each] in told))}
        task_id = f"{batch.name}_batch"
        if not nodes:
            return PlannedTask(task_id=task_id, operator=EMPTY)
        return PlannedTask(
            task_id=task_id,
            operator=self._operator.format("Batch"),
            arguments=self._arguments.of_batch(members, nodes),
            context=context_of_batch(batch.name, nodes),
            document=document_of_batch(members, self._request.settings.longest_page),
        )

    def plan_ready(self, planned_tests: Iterable[str]) -> dict[str, PlannedNode]:
        """The tasks for which DAGs of other domains wait, by id. Each stands behind the nodes that these DAGs read.

        :param planned_tests: unique ids of the tests that have tasks of their own.
        """
        planned = {}
        # In a run that chooses nodes, some of these may be skipped. A rule of the user is for tasks that run dbt.
        rule = "none_failed_min_one_success" if self._request.settings.is_choosable else "all_success"
        for task_id, uri, nodes in self._request.ready_tasks or ():
            task = PlannedTask(task_id=task_id, operator=READY, arguments={"asset_uri": uri, "trigger_rule": rule})
            tests = [each for each in planned_tests if not {*nodes}.isdisjoint(self._nodes[each].depends_on)]
            planned[task_id] = PlannedNode(owner=task_id, depends_on=[*nodes, *tests], entries=(task,))
        return planned

    def plan_test_after_all(self) -> PlannedNode:
        """The one task of all tests, at the root. Its id is made of the project's name."""
        request = self._request
        task_id = f"{project_name(request.render, request.execution, request.project)}_test"
        if DbtResourceType.TEST in request.converted:
            entry: Entry = PlannedConversion(key=task_id, resource_type=DbtResourceType.TEST.value, task_id=task_id)
        else:
            tests = [each for each, node in self._nodes.items() if node.resource_type in TESTS]
            # With another indirect selection dbt decides which tests run.
            is_known = request.indirect_selection is TestIndirectSelection.EAGER or self._arguments.names_all_tests
            entry = PlannedTask(
                task_id=task_id,
                operator=self._operator.format("Test"),
                arguments=self._arguments.of_all_tests(tests),
                context={TASK_TESTS: tests if is_known else []},
            )
        return PlannedNode(owner="the test task of AFTER_ALL", entries=(entry,))

    def _folder_of(self, node: DbtNode) -> str | None:
        return self.folders.group_of(node.original_file_path.parent) if self.folders else None

    def _plan_hidden(self, node: DbtNode) -> PlannedNode | None:
        """The conversion of a node that has no task; None where there is no converter for it."""
        kind = node.resource_type
        if kind in self._request.converted:
            return _planned(node, conversion_of(node, kind, self._folder_of(node), f"{node.name}_{kind.value}"))
        if kind not in VERBS and kind not in TESTS:  # tests run with the nodes that they read
            self.left_out[kind] += 1
        return None

    def _plan_group(self, node: DbtNode, place: _Place, visibility: Visibility) -> PlannedNode:
        verb, is_converted = VERBS[node.resource_type][1], node.resource_type in self._request.converted
        if is_converted and self._render.node_conversion_by_task_group:
            return _planned(node, conversion_of(node, node.resource_type, place.folder, verb))
        first = self._with_passage(node, self._entry(node, place, visibility, verb))
        last = self._tests(node, place, "test", self._arguments.tests_of(node))
        return _planned(node, *first, last, group=place.group, folder=place.folder)

    def _has_test_task(self, node: DbtNode) -> bool:
        """Whether the tests of a node run in a task behind it.

        With BUILD they do if the children run behind a failed node: the children must not run behind failed tests.
        """
        behavior = self._render.test_behavior
        is_apart = behavior is TestBehavior.AFTER_EACH or (
            behavior is TestBehavior.BUILD and self._request.passes_failure(node)
        )
        return is_apart and node.has_non_detached_test

    def _with_passage(self, node: DbtNode, entry: Entry) -> tuple[Entry, ...]:
        """The task of a node, and the passage behind it if the children run although the node has failed."""
        if isinstance(entry, PlannedTask) and self._request.passes_failure(node):
            return entry, passage_behind(entry)
        return (entry,)

    def _single(self, node: DbtNode, place: _Place, visibility: Visibility) -> Entry:
        kind = node.resource_type
        suffix = f"{kind.value}_build" if self._is_build(node, visibility) else VERBS[kind][1]
        label, display = name_of(node, f"{node.name}_{suffix}", self._render)
        return self._entry(node, place, visibility, label, display)

    def _is_build(self, node: DbtNode, visibility: Visibility) -> bool:
        if self._render.test_behavior is not TestBehavior.BUILD or node.resource_type is DbtResourceType.SOURCE:
            return False
        if self._has_test_task(node):
            return False
        return visibility is Visibility.TASK or node.resource_type is not DbtResourceType.SEED

    def _entry(
        self, node: DbtNode, place: _Place, visibility: Visibility, label: str, display: str | None = None
    ) -> Entry:
        """The task that runs a node, or what a converter makes of the node."""
        if node.resource_type in self._request.converted:
            return conversion_of(node, node.resource_type, place.group, label)
        given = {"task_display_name": display} if display is not None else {}
        if visibility is Visibility.PLACEHOLDER:
            return place.task(node, label, operator=EMPTY, arguments=self._arguments.of_placeholder(node, given))
        operator = self._operator.format(VERBS[node.resource_type][0])
        context = context_of_node(node, runs_only_changed=self._request.runs_only_changed(node))
        if self._is_build(node, visibility):
            operator = self._operator.format("Build")
            tests = self._arguments.tests_of(node)
            arguments = self._arguments.of_build(node, given, tests)
            context |= {TASK_TESTS: tests.ids}
        else:
            arguments = self._arguments.of_node(node, given)
            if self._render.wait_for_sources and node.has_freshness:
                operator = self._operator.replace("Operator", "Sensor").format("SourceFreshness")
        profile = node.profile_config_to_override
        return place.task(node, label, operator=operator, arguments=arguments, profile=profile, context=context)

    def _tests(self, node: DbtNode, place: _Place, label: str, tests: NodeTests) -> Entry:
        """The task that runs the tests of a node, or tests that run apart."""
        if DbtResourceType.TEST in self._request.converted:
            return conversion_of(node, DbtResourceType.TEST, place.group, label)
        return place.task(
            node,
            label,
            operator=self._operator.format("Test"),
            arguments=self._arguments.of_tests(node, tests),
            profile=node.profile_config_to_override,
            context={NODE_CONFIG: node.context_dict, TASK_TESTS: tests.ids},
        )


def _planned(node: DbtNode, *entries: Entry, group: str | None = None, folder: str | None = None) -> PlannedNode:
    return PlannedNode(owner=node.unique_id, depends_on=node.depends_on, entries=entries, group=group, folder=folder)


def plan(request: PlanRequest) -> Plan:
    """The tasks of the selected nodes.

    :param request: the nodes, and all that decides their plan.
    :raises CosmosLoadDbtException: when a node's ``meta`` is not what it must be, when two nodes would have one id, or
        when nodes depend on each other in a circle.
    :raises CosmosValueError: when a hook gives what cannot be an id, or an id is too long for Airflow.
    """
    render = request.render
    if request.settings.has_metric_views:
        known = _with_metric_views(request.known)
        request = dataclasses.replace(request, nodes=_with_metric_views(request.nodes), known=known)
    made = with_pages(_tasks_of_nodes(request), request)
    if request.settings.is_choosable:
        from cosmos_venv.rendering.run_params.choosable_plan import choosable_plan  # few DAGs let runs choose

        made = choosable_plan(made, request)
    if request.execution.execution_mode is ExecutionMode.AIRFLOW_ASYNC:
        from cosmos_venv.rendering.modes.airflow_async import async_plan  # few DAGs send queries

        return async_plan(made, request)
    if request.is_watched:
        from cosmos_venv.rendering.modes.watcher import number_of_watching, watched_plan  # few DAGs watch

        made = watched_plan(made, request)
        if render.batch_by is None and 0 < request.settings.most_watching < number_of_watching(made):
            in_batches = dataclasses.replace(render, batch_by=BatchBy.FOLDER)
            return plan(dataclasses.replace(request, render=in_batches))
    return with_tasks_of_run(made, request.nodes, render, request.operator_pattern)


def _with_metric_views(nodes: Mapping[str, DbtNode]) -> dict[str, DbtNode]:
    """The nodes; metric views have the resource type that Cosmos gives them."""
    return {
        unique_id: msgspec.structs.replace(node, resource_type=DbtResourceType.SEMANTIC_METRIC_VIEW)
        if node.resource_type is DbtResourceType.MODEL and str(node.config.get("materialized")).lower() in METRIC_VIEWS
        else node
        for unique_id, node in nodes.items()
    }


def _tasks_of_nodes(request: PlanRequest) -> Plan:
    """The plan with one task for each node or batch, before the changes of a mode."""
    nodes, render, planner = request.nodes, request.render, NodePlanner(request)
    planned = {node.unique_id: done for node in nodes.values() if (done := planner.plan_node(node)) is not None}
    planned |= planner.plan_batches()
    planned |= (detached := planner.plan_detached())
    _log_left_out(planner.left_out)
    if nodes and not planned and not render.allow_empty_selection:
        kinds = ", ".join(sorted({node.resource_type.value for node in nodes.values()}))
        raise CosmosValueError(
            f"RenderConfig selects {len(nodes)} nodes ({kinds}), and none of them has a task under test_behavior "
            f"{render.test_behavior}, source_rendering_behavior {render.source_rendering_behavior} and "
            f"seed_rendering_behavior {render.seed_rendering_behavior}: the DAG would be empty, and green. "
            "Correct the selection or these. If there may be no task: RenderConfig(allow_empty_selection=True)."
        )
    planned |= planner.plan_ready(detached)
    has_end = render.test_behavior is TestBehavior.AFTER_ALL and planned
    end = planner.plan_test_after_all() if has_end else None
    return with_end_of_failed(Assembly(planned, end=end, folders=planner.folders).plan())


def _log_left_out(counts: Mapping[DbtResourceType, int]) -> None:
    """Log which selected nodes have no task because of their type; as a warning where dbt may run the type."""
    for level, is_run in ((logging.INFO, False), (logging.WARNING, True)):
        kinds = [f"{number} of type {kind.value}" for kind, number in counts.items() if (kind in NEVER_RUN) != is_run]
        if kinds:
            _log_once(level, ", ".join(kinds))


@cache  # once in a process, which may make many plans
def _log_once(level: int, which: str) -> None:
    logger.log(level, "No task for these selected nodes: %s. RenderConfig.node_converters can make some.", which)
    if DbtResourceType.SAVED_QUERY.value in which:
        logger.info("dbt's exports of saved queries are not made: dbt Core has no command for them.")
