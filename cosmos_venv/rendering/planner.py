"""The plan of a project, made of its nodes and a configuration: a node becomes a task, a placeholder, or nothing.

No Airflow is needed to make a plan, and it is the same in every process: tasks stand in topological order, those of one
step by id. Ids are those of Cosmos.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import (
    NODE_CONFIG,
    TASK_TESTS,
    TESTS,
    BatchBy,
    DbtResourceType,
    ExecutionMode,
    SeedRenderingBehavior,
    TestBehavior,
    TestIndirectSelection,
)
from cosmos_venv.dbt.selection_texts import selected_with
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.node import DbtNode, as_id
from cosmos_venv.rendering.model import (
    EMPTY,
    Batch,
    Batches,
    Entry,
    Plan,
    PlannedConversion,
    PlannedNode,
    PlannedTask,
    conversion_of,
)
from cosmos_venv.rendering.plan_graph import Assembly, Folders, with_run_summary
from cosmos_venv.rendering.selectors import exact_selectors, test_name
from cosmos_venv.rendering.task_arguments import (
    BUILT,
    LONGEST_ID,
    DetachedTests,
    IndirectTests,
    PlanningSettings,
    TaskArguments,
    TaskName,
    context_of_batch,
    context_of_node,
    name_of,
    project_name,
)
from cosmos_venv.rendering.task_docs.node_page import document_of_batch, with_pages
from cosmos_venv.rendering.visibility import NEVER_RUN, VERBS, NodeVisibility, Visibility

logger = logging.getLogger(__name__)

AMBIGUOUS = (
    "dbt cannot select %s alone: %r also selects %s. Give one of them another name, without a dot or a space, or a "
    "file of another name."
)
"""The warning about a node, its text, and the nodes that no text of dbt leaves out."""

_DEFAULTS = PlanningSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """The place of a node's own task: ``group`` is its own group if it has one, else that of its folder."""

    folder: str | None
    group: str | None

    def id_of(self, label: str) -> str:
        return f"{self.group}.{label}" if self.group else label


class NodePlanner:
    """The tasks of the nodes of one selection under one configuration.

    :param nodes: the selected nodes by unique id.
    :param render: how nodes and tests are shown.
    :param indirect: which tests come with their parents.
    :param arguments: gives the arguments of each task.
    :param folders: the groups of the folders; None where nodes are not grouped by folder.
    :param visibility: how each node is shown.
    :param batches: the nodes that run together; None: each has tasks of its own.
    :param selectors: unique id of each node and test to the text by which dbt selects it alone.
    :param operator: import path of the operators, with ``{}`` for what they run.
    :param longest_page: about how many characters the documentation of a batch may have.
    :ivar left_out: how many nodes of each type have no task because this type never has one.
    """

    def __init__(
        self,
        nodes: Mapping[str, DbtNode],
        *,
        render: RenderConfig,
        indirect: IndirectTests,
        arguments: TaskArguments,
        folders: Folders | None,
        visibility: NodeVisibility,
        batches: Batches | None,
        selectors: Mapping[str, str],
        operator: str,
        longest_page: int,
    ) -> None:
        self.folders = folders
        self.left_out: Counter[DbtResourceType] = Counter()
        self.detached = DetachedTests(nodes, render, batches)
        self._nodes = nodes
        self._selectors = selectors
        self._batches = batches.batches if batches else ()
        self._in_batches = batches.members if batches else frozenset()
        self._selected_tests = _tests_of_each(nodes)
        self._render = render
        self._arguments = arguments
        self._visibility = visibility
        self._converters = {DbtResourceType(kind) for kind in render.node_converters or ()}
        self._indirect = indirect
        self._operator = operator
        self._longest_page = longest_page

    def draw(self, node: DbtNode) -> PlannedNode | None:
        """The tasks of a node; None when it has none of its own, as tests but for detached ones, and nodes of batches.

        :param node: a selected node.
        """
        kind = node.resource_type
        if kind is DbtResourceType.TEST or node.unique_id in self._in_batches:
            return None
        visibility = self._visibility.of(node)
        if visibility is Visibility.NOTHING:
            return self._draw_hidden(node)
        folder = self._folder_of(node)
        if self._render.test_behavior is TestBehavior.AFTER_EACH and node.has_non_detached_test:
            place = _Place(folder=folder, group=f"{folder}.{node.name}" if folder else node.name)
            return self._draw_group(node, place, visibility)
        entry = self._single(node, _Place(folder=folder, group=folder), visibility)
        return PlannedNode(node=node, first=entry, last=entry)

    def draw_detached(self) -> dict[str, PlannedNode]:
        """The tests that run apart, by unique id. Names that are too long are counted, in this order."""
        drawn, shortened = {}, 0
        for test in self.detached.tests:
            place = _Place(folder=(folder := self._folder_of(test)), group=folder)
            label = f"{as_id(test_name(test))}_test"
            if len(place.id_of(label)) >= LONGEST_ID:
                label, shortened = f"detached_{shortened}_test", shortened + 1
            entry = self._detached_test(test, place, label)
            drawn[test.unique_id] = PlannedNode(node=test, first=entry, last=entry)
        return drawn

    def draw_batches(self) -> dict[str, PlannedNode]:
        """The task of each batch, under the unique ids of all its nodes. It stands at the root."""
        if not self._batches:
            return {}
        members = {batch.unit: tuple(self._nodes[each] for each in batch.members) for batch in self._batches}
        told: dict[int, list[DbtNode]] = {}
        for unit, nodes in members.items():
            tests = [test.unique_id for test in self.detached.of_unit.get(unit, ())]
            # dbt runs all tests that one text selects.
            texts = {self._selectors[each] for each in self._indirect.of((node.unique_id for node in nodes), tests)}
            told[unit] = [
                *(each for each in nodes if not each.has_ephemeral_materialization),
                *(self._nodes[each] for each in tests if self._selectors[each] in texts),
            ]
        drawn: dict[str, PlannedNode] = {}
        for batch in self._batches:
            nodes = members[batch.unit]
            words = {each.unique_id: self._selectors[each.unique_id] for each in told[batch.unit]}
            entry = self._batch(batch, nodes, words)
            drawn |= dict.fromkeys(batch.members, PlannedNode(node=None, members=nodes, first=entry, last=entry))
        return drawn

    def _batch(self, batch: Batch, members: tuple[DbtNode, ...], nodes: Mapping[str, str]) -> PlannedTask:
        task_id = f"{batch.name}_batch"
        if not nodes:
            return PlannedTask(task_id=task_id, operator=EMPTY)
        return PlannedTask(
            task_id=task_id,
            operator=self._operator.format("Batch"),
            arguments=self._arguments.of_batch(members, nodes),
            context=context_of_batch(batch.name, nodes),
            document=document_of_batch(members, self._longest_page),
        )

    def draw_test_after_all(self, project_name: str) -> PlannedNode:
        """The one task of all tests, at the root.

        :param project_name: the project's name, of which its id is made.
        """
        task_id = f"{project_name}_test"
        if DbtResourceType.TEST in self._converters:
            entry: Entry = PlannedConversion(key=task_id, resource_type=DbtResourceType.TEST.value, task_id=task_id)
        else:
            tests = [each for each, node in self._nodes.items() if node.resource_type in TESTS]
            # With another mode dbt decides which tests a selection takes.
            is_known = self._indirect.choice is TestIndirectSelection.EAGER or self._arguments.names_all_tests
            entry = PlannedTask(
                task_id=task_id,
                operator=self._operator.format("Test"),
                arguments=self._arguments.of_all_tests(tests),
                context={TASK_TESTS: tests if is_known else []},
            )
        return PlannedNode(node=None, first=entry, last=entry)

    def _folder_of(self, node: DbtNode) -> str | None:
        return self.folders.group_of(node.original_file_path.parent) if self.folders else None

    def _draw_hidden(self, node: DbtNode) -> PlannedNode | None:
        """The result of a converter, which may make a task of what would have none."""
        kind = node.resource_type
        if kind in self._converters:
            entry = conversion_of(node, kind, self._folder_of(node), f"{node.name}_{kind.value}")
            return PlannedNode(node=node, first=entry, last=entry)
        if kind not in VERBS and kind not in TESTS:  # tests run with the nodes that they read
            self.left_out[kind] += 1
        return None

    def _draw_group(self, node: DbtNode, place: _Place, visibility: Visibility) -> PlannedNode:
        verb, is_converted = VERBS[node.resource_type][1], node.resource_type in self._converters
        if is_converted and self._render.node_conversion_by_task_group:
            entry = conversion_of(node, node.resource_type, place.folder, verb)
            return PlannedNode(node=node, first=entry, last=entry)
        first: Entry
        if is_converted:
            first = conversion_of(node, node.resource_type, place.group, verb)
        else:
            first = self._task(node, place, visibility, TaskName(label=verb))
        return PlannedNode(
            node=node, first=first, last=self._tests(node, place), group=place.group, folder=place.folder
        )

    def _single(self, node: DbtNode, place: _Place, visibility: Visibility) -> Entry:
        kind = node.resource_type
        suffix = f"{kind.value}_build" if self._is_build(node, visibility) else VERBS[kind][1]
        name = name_of(node, f"{node.name}_{suffix}", self._render)
        if kind in self._converters:
            return conversion_of(node, kind, place.group, name.label)
        return self._task(node, place, visibility, name)

    def _is_build(self, node: DbtNode, visibility: Visibility) -> bool:
        if self._render.test_behavior is not TestBehavior.BUILD or node.resource_type is DbtResourceType.SOURCE:
            return False
        return visibility is Visibility.TASK or node.resource_type is not DbtResourceType.SEED

    def _task(self, node: DbtNode, place: _Place, visibility: Visibility, name: TaskName) -> PlannedTask:
        given = {"task_display_name": name.display} if name.display is not None else {}
        task_id = place.id_of(name.label)
        if visibility is Visibility.PLACEHOLDER:
            return PlannedTask(
                task_id=task_id,
                group=place.group,
                folder=place.folder,
                node_id=node.unique_id,
                operator=EMPTY,
                arguments=self._arguments.of_placeholder(node, given),
            )
        operator = self._operator.format(VERBS[node.resource_type][0])
        context = context_of_node(node, runs_only_changed=self._arguments.runs_only_changed(node))
        if self._is_build(node, visibility):
            operator = self._operator.format("Build")
            test_ids, apart = self._tests_of(node)
            arguments = self._arguments.of_build(node, given, test_ids, apart)
            context |= {TASK_TESTS: test_ids}
        else:
            arguments = self._arguments.of_node(node, given)
            if self._render.wait_for_sources and node.has_freshness:
                operator = self._operator.replace("Operator", "Sensor").format("SourceFreshness")
        return PlannedTask(
            task_id=task_id,
            group=place.group,
            folder=place.folder,
            node_id=node.unique_id,
            operator=operator,
            arguments=arguments,
            profile=node.profile_config_to_override,
            context=context,
        )

    def _tests(self, node: DbtNode, place: _Place) -> Entry:
        if DbtResourceType.TEST in self._converters:
            return conversion_of(node, DbtResourceType.TEST, place.group, "test")
        test_ids, apart = self._tests_of(node)
        return PlannedTask(
            task_id=place.id_of("test"),
            group=place.group,
            folder=place.folder,
            node_id=node.unique_id,
            operator=self._operator.format("Test"),
            arguments=self._arguments.of_tests(node, test_ids, apart),
            profile=node.profile_config_to_override,
            context={NODE_CONFIG: node.context_dict, TASK_TESTS: test_ids},
        )

    def _tests_of(self, node: DbtNode) -> tuple[list[str], list[str]]:
        """The unique ids of the tests that run with a node, and of its tests that run apart."""
        apart = [test.unique_id for test in self.detached.by_parent.get(node.unique_id, ())]
        attached = self.detached.without(self._selected_tests.get(node.unique_id, ()))
        chosen = self._indirect.of([node.unique_id], attached)
        if self._arguments.dbt_adds(node, chosen, apart):
            return chosen, apart
        return selected_with(chosen, {each: self._selectors[each] for each in attached}), apart

    def _detached_test(self, test: DbtNode, place: _Place, label: str) -> Entry:
        if DbtResourceType.TEST in self._converters:
            return conversion_of(test, DbtResourceType.TEST, place.group, label)
        test_ids = self.detached.of_one_task[test.unique_id]
        return PlannedTask(
            task_id=place.id_of(label),
            group=place.group,
            folder=place.folder,
            node_id=test.unique_id,
            operator=self._operator.format("Test"),
            arguments=self._arguments.of_detached(test, test_ids),
            profile=test.profile_config_to_override,
            context={NODE_CONFIG: test.context_dict, TASK_TESTS: test_ids},
        )


def plan(
    nodes: Mapping[str, DbtNode],
    *,
    render_config: RenderConfig,
    execution_config: ExecutionConfig,
    project_config: ProjectConfig,
    operator_args: Mapping[str, object],
    settings: PlanningSettings = _DEFAULTS,
    known: Mapping[str, DbtNode] | None = None,
    may_hide: bool = False,
) -> Plan:
    """The tasks of the selected nodes.

    :param nodes: ``DbtGraph.filtered_nodes``.
    :param render_config: how nodes and tests are shown.
    :param execution_config: which operators run them.
    :param project_config: names the project.
    :param operator_args: what the user gives to all tasks; only its ``exclude`` is read, and which dbt it means.
    :param settings: what Airflow's configuration says of it.
    :param known: ``DbtGraph.nodes``: dbt must not take one of those that are not selected for one that is; None: no
        others are known.
    :param may_hide: whether the project may have nodes that are not known.
    :raises CosmosLoadDbtException: when a node's ``meta`` is not what it must be, when two nodes would have one id, or
        when nodes depend on each other in a circle.
    :raises CosmosValueError: when a hook gives what cannot be an id, or an id is too long for Airflow.
    """
    folders = None
    if render_config.group_nodes_by_folder:
        folders = Folders((each.original_file_path.parent for each in nodes.values()), by_path=settings.groups_by_path)
    visibility = NodeVisibility(render_config, nodes)
    batches = None if render_config.batch_by is None else _batches(nodes, visibility, render_config)
    is_watched = execution_config.execution_mode is ExecutionMode.WATCHER
    known = {**(known or {}), **nodes}
    selectors, ambiguous = exact_selectors(nodes.values(), known.values(), may_hide=may_hide)
    _warn_of_ambiguous(ambiguous, selectors)
    # The producer of WATCHER names each test.
    choice = TestIndirectSelection.EAGER if is_watched else execution_config.test_indirect_selection
    indirect = IndirectTests(choice, known)
    arguments = TaskArguments(
        nodes,
        render=render_config,
        indirect=indirect,
        operator_args=operator_args,
        settings=settings,
        selectors=selectors,
        tests_of=None if may_hide else _tests_of_each(known),
    )
    mode = execution_config.dbt_mode(operator_args).value
    operator = f"operators.{mode}.Dbt{{}}{mode.title()}Operator"
    drawing = NodePlanner(
        nodes,
        render=render_config,
        indirect=indirect,
        arguments=arguments,
        folders=folders,
        visibility=visibility,
        batches=batches,
        selectors=selectors,
        operator=operator,
        longest_page=settings.longest_page,
    )
    drawn = {node.unique_id: done for node in nodes.values() if (done := drawing.draw(node)) is not None}
    drawn |= drawing.draw_batches()
    drawn |= drawing.draw_detached()
    _log_left_out(drawing.left_out)
    if nodes and not drawn and not render_config.allow_empty_selection:
        kinds = ", ".join(sorted({node.resource_type.value for node in nodes.values()}))
        raise CosmosValueError(
            f"RenderConfig selects {len(nodes)} nodes ({kinds}), and none of them has a task under test_behavior "
            f"{render_config.test_behavior}, source_rendering_behavior {render_config.source_rendering_behavior} and "
            f"seed_rendering_behavior {render_config.seed_rendering_behavior}: the DAG would be empty, and green. "
            "Correct the selection or these. If there may be no task: RenderConfig(allow_empty_selection=True)."
        )
    if arguments.dropped:
        logger.info(
            "Seeds are only shown (SeedRenderingBehavior.RENDER_ONLY) and run nothing. Of their operator_kwargs are "
            "dropped: %s.",
            ", ".join(sorted(arguments.dropped)),
        )
    end = None
    if render_config.test_behavior is TestBehavior.AFTER_ALL and drawn:
        end = drawing.draw_test_after_all(project_name(render_config, execution_config, project_config))
    together = (batches.members if batches else frozenset()) | drawing.detached.ids
    if end is not None:
        together |= {each for each, node in nodes.items() if node.resource_type in TESTS}
    marks = {
        each: visibility.mark(node, is_drawn=each in drawn, runs_with_others=each in together)
        for each, node in nodes.items()
    }
    made = Assembly(drawn, end=end, folders=folders, marks=marks).plan()
    made = with_pages(
        made, known, longest=settings.longest_page, has_sql=settings.has_sql_pages, docs_base=settings.docs_base
    )
    if settings.is_choosable:
        from cosmos_venv.rendering.run_params.choosable_plan import choosable_plan  # few DAGs let runs choose

        made = choosable_plan(made, nodes, selectors, operator, execution_config.test_indirect_selection)
    if execution_config.execution_mode is ExecutionMode.AIRFLOW_ASYNC:
        from cosmos_venv.rendering.modes.airflow_async import async_plan  # few DAGs send queries

        return async_plan(made, nodes, render=render_config, operator=operator, settings=settings)
    if not is_watched:
        return with_run_summary(made) if render_config.run_summary else made
    from cosmos_venv.rendering.modes.watcher import number_of_watching, watched_plan  # few DAGs watch

    watched = watched_plan(
        made,
        nodes,
        selectors=selectors,
        test_behavior=render_config.test_behavior,
        operator=operator,
        longest_page=settings.longest_page,
    )
    if render_config.batch_by is not None or not 0 < settings.most_watching < number_of_watching(watched):
        return with_run_summary(watched) if render_config.run_summary else watched
    return plan(
        nodes,
        render_config=dataclasses.replace(render_config, batch_by=BatchBy.FOLDER),
        execution_config=execution_config,
        project_config=project_config,
        operator_args=operator_args,
        settings=settings,
        known=known,
        may_hide=may_hide,
    )


def _batches(nodes: Mapping[str, DbtNode], visibility: NodeVisibility, render: RenderConfig) -> Batches:
    """The batches of a plan. What needs a task of its own stays out of them: a node with arguments or a profile of its
    own, one that a converter makes, a seed that is loaded when it has changed, a look at the freshness of a source.
    """
    from cosmos_venv.rendering.batches import batches_of  # few DAGs have any

    assert render.batch_by is not None  # noqa: S101 - asked by the caller
    converters = {DbtResourceType(kind) for kind in render.node_converters or ()}
    drawn, together = {}, set()
    for unique_id, node in nodes.items():
        kind, shown = node.resource_type, visibility.of(node)
        if shown is Visibility.NOTHING and kind not in converters:
            continue
        drawn[unique_id] = node
        is_built = shown is Visibility.TASK or node.has_ephemeral_materialization
        has_own_task = (
            node.operator_kwargs_to_override
            or node.profile_config_to_override
            or kind in converters
            or (
                render.seed_rendering_behavior is SeedRenderingBehavior.WHEN_SEED_CHANGES
                and kind is DbtResourceType.SEED
            )
        )
        if is_built and kind in BUILT and not has_own_task:
            together.add(unique_id)
    return batches_of(drawn, together, render.batch_by)


def _tests_of_each(nodes: Mapping[str, DbtNode]) -> dict[str, list[str]]:
    """The unique ids of the tests of each node that has any, unit tests among them."""
    found: dict[str, list[str]] = {}
    for unique_id, node in nodes.items():
        if node.resource_type in TESTS:
            for parent in dict.fromkeys(node.depends_on):
                found.setdefault(parent, []).append(unique_id)
    return found


def _warn_of_ambiguous(ambiguous: Mapping[str, Sequence[str]], selectors: Mapping[str, str]) -> None:
    for unique_id, others in ambiguous.items():
        logger.warning(
            AMBIGUOUS,
            unique_id,
            selectors[unique_id],
            ", ".join(others),
        )


def _log_left_out(counts: Mapping[DbtResourceType, int]) -> None:
    """Say which selected nodes have no task since no task is made for their type; a warning where dbt may run them."""
    for level, is_run in ((logging.INFO, False), (logging.WARNING, True)):
        kinds = [f"{number} of type {kind.value}" for kind, number in counts.items() if (kind in NEVER_RUN) != is_run]
        if kinds:
            _log_once(level, ", ".join(kinds))


@cache  # once in a process, which may make many plans
def _log_once(level: int, which: str) -> None:
    logger.log(level, "No task for these selected nodes: %s. RenderConfig.node_converters can make some.", which)
    if DbtResourceType.SAVED_QUERY.value in which:
        logger.info("dbt's exports of saved queries are not made: dbt Core has no command for them.")
