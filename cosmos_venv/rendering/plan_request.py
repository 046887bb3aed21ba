"""``PlanRequest``: everything that decides the plan of a project.

It also says which nodes are shown (``visibility``), which run together, and which tests run apart.

Pure: no Airflow is asked, and no setting is read.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property

import msgspec

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import (
    TESTS,
    BatchBy,
    DbtResourceType,
    ExecutionMode,
    SeedRenderingBehavior,
    SourceRenderingBehavior,
    TestBehavior,
    TestIndirectSelection,
)
from cosmos_venv.project.node import DbtNode, children_by_parent
from cosmos_venv.rendering.model import Batches, ReadyTask
from cosmos_venv.rendering.selectors import exact_selectors
from cosmos_venv.rendering.task_arguments import BUILT, PlanningSettings, arguments_of

logger = logging.getLogger(__name__)

AMBIGUOUS = (
    "dbt cannot select %s alone: %r also selects %s. Give one of them another name, without a dot or a space, or a "
    "file of another name."
)
"""The warning about a node that dbt cannot select alone: the node, its text, and the other nodes of that text."""

VERBS = {
    DbtResourceType.MODEL: ("Run", "run"),
    DbtResourceType.SEED: ("Seed", "seed"),
    DbtResourceType.SNAPSHOT: ("Snapshot", "snapshot"),
    DbtResourceType.SOURCE: ("Source", "source"),
    DbtResourceType.FUNCTION: ("Build", "function"),  # only dbt build makes functions
    DbtResourceType.SEMANTIC_METRIC_VIEW: ("SemanticMetricView", "semantic_metric_run"),
}
"""By each type that can have a task: the verb in the name of its operator, and the end of the task's id."""

NEVER_RUN = frozenset(
    {
        DbtResourceType.ANALYSIS,
        DbtResourceType.EXPOSURE,
        DbtResourceType.METRIC,
        DbtResourceType.OPERATION,
        DbtResourceType.SAVED_QUERY,
        DbtResourceType.SEMANTIC_MODEL,
    }
)
"""The types that only describe, or that users run by hand: dbt runs none of these. It may run an unknown newer type."""

_WITH_NODES = (TestBehavior.AFTER_EACH, TestBehavior.BUILD)


class Visibility(Enum):
    """The ways in which a DAG can show a node."""

    TASK = auto()
    PLACEHOLDER = auto()
    NOTHING = auto()


_OF_SEEDS = {SeedRenderingBehavior.NONE: Visibility.NOTHING, SeedRenderingBehavior.RENDER_ONLY: Visibility.PLACEHOLDER}


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """Everything that decides the plan of a project.

    :param nodes: the selected nodes by unique id, tests among them: ``DbtGraph.filtered_nodes``.
    :param known: all known nodes of the project, ``DbtGraph.nodes``: the text for a selected node must not select one
        of the others. Empty: only ``nodes`` are known.
    :param may_hide: whether the project may have nodes that are not known.
    :param render: how nodes and tests are shown.
    :param execution: which operators run them.
    :param project: names the project.
    :param operator_args: the user's arguments for all tasks. Only ``exclude`` and arguments that
        name the dbt are read.
    :param ready_tasks: the tasks for which DAGs of other domains wait; None: the nodes are no domain of a project.
    :param settings: the settings that the plan depends on.
    """

    nodes: Mapping[str, DbtNode]
    known: Mapping[str, DbtNode] = field(default_factory=dict)
    may_hide: bool = False
    render: RenderConfig
    execution: ExecutionConfig
    project: ProjectConfig
    operator_args: Mapping[str, object]
    ready_tasks: Sequence[ReadyTask] | None = None
    settings: PlanningSettings = field(default_factory=PlanningSettings)

    @property
    def is_watched(self) -> bool:
        """Whether the tasks watch one producer."""
        return self.execution.execution_mode is ExecutionMode.WATCHER

    @cached_property
    def operator_pattern(self) -> str:
        """The import path of the operators, with ``{}`` for what they run."""
        mode = self.execution.dbt_mode(self.operator_args).value
        return f"operators.{mode}.Dbt{{}}{mode.title()}Operator"

    @cached_property
    def all_nodes(self) -> Mapping[str, DbtNode]:
        """All known nodes, by unique id; the selected nodes know their tests."""
        return {**self.known, **self.nodes}

    @cached_property
    def visibility(self) -> Mapping[str, Visibility]:
        """The way in which the DAG shows each node, by its unique id."""
        read = {parent for node in self.nodes.values() for parent in node.depends_on}
        return {unique_id: visibility(node, self.render, read) for unique_id, node in self.nodes.items()}

    @cached_property
    def tests_of(self) -> Mapping[str, list[str]]:
        """The unique ids of the selected tests of each node that has any, unit tests among them."""
        return children_by_parent(each for each in self.nodes.items() if each[1].resource_type in TESTS)

    @cached_property
    def all_tests_of(self) -> Mapping[str, list[str]]:
        """The unique ids of the tests of each node that has any, whether they are selected or not."""
        return children_by_parent(each for each in self.all_nodes.items() if each[1].resource_type in TESTS)

    @cached_property
    def selectors(self) -> Mapping[str, str]:
        """The text by which dbt selects each node and test alone; a warning names nodes that no text selects alone."""
        texts, ambiguous = exact_selectors(self.nodes.values(), self.all_nodes.values(), may_hide=self.may_hide)
        for unique_id, others in ambiguous.items():
            logger.warning(AMBIGUOUS, unique_id, texts[unique_id], ", ".join(others))
        return texts

    @cached_property
    def batches(self) -> Batches | None:
        """The nodes that run together; None: each has tasks of its own.

        A node that needs a task of its own is in no batch: a node with its own arguments or profile, a converted node,
        a seed that is loaded only when it has changed, a source. A node with ``on_error: continue`` is in no batch
        either: the task of a batch does not show which node has failed.
        """
        if self.render.batch_by is None:
            return None
        from cosmos_venv.rendering.batches import batches_of  # few DAGs have any

        rendered, together = {}, set()
        for unique_id, node in self.nodes.items():
            shown, is_converted = self.visibility[unique_id], node.resource_type in self.converted
            if shown is Visibility.NOTHING and not is_converted:
                continue
            rendered[unique_id] = node
            is_built = shown is Visibility.TASK or node.has_ephemeral_materialization
            has_own_task = is_converted or has_own_arguments(node) or self.runs_only_changed(node)
            # With one batch for all nodes, dbt itself runs the children of a failed node.
            has_own_task |= self.render.batch_by is not BatchBy.ALL and self.passes_failure(node)
            if is_built and node.resource_type in BUILT and not has_own_task:
                together.add(unique_id)
        return batches_of(rendered, together, self.render.batch_by)

    @cached_property
    def converted(self) -> frozenset[DbtResourceType]:
        """The types of nodes whose tasks a converter of the user makes."""
        return frozenset(DbtResourceType(kind) for kind in self.render.node_converters or ())

    @cached_property
    def detached(self) -> DetachedTests:
        """The tests that do not run with each node that they test."""
        return DetachedTests(self.nodes, self.render, self.batches)

    @property
    def indirect_selection(self) -> TestIndirectSelection:
        """The tests that come with nodes; EAGER in WATCHER, whose producer names each test."""
        return TestIndirectSelection.EAGER if self.is_watched else self.execution.test_indirect_selection

    def tests_with(self, members: Iterable[str], test_ids: Sequence[str]) -> list[str]:
        """The tests among ``test_ids`` that dbt runs with the nodes.

        :param members: unique ids of the nodes that one command selects.
        :param test_ids: unique ids of tests, each of which reads one of the nodes.
        """
        if self.indirect_selection is TestIndirectSelection.EAGER:
            return list(test_ids)
        if self.indirect_selection is TestIndirectSelection.EMPTY:
            return []
        within = {*members}
        if self.indirect_selection is TestIndirectSelection.BUILDABLE:
            within |= self._ancestors(within)
        return [each for each in test_ids if within.issuperset(self.all_nodes[each].depends_on)]

    def runs_only_changed(self, node: DbtNode) -> bool:
        """Whether the node is a seed that its task loads only if it has changed.

        :param node: the node.
        """
        only_changed = self.render.seed_rendering_behavior is SeedRenderingBehavior.WHEN_SEED_CHANGES
        return only_changed and node.resource_type is DbtResourceType.SEED

    def passes_failure(self, node: DbtNode) -> bool:
        """Whether the children of a node run although the node has failed.

        :param node: a selected node.
        """
        if not node.continues_on_error or self.visibility[node.unique_id] is not Visibility.TASK:
            return False
        has_tests = node.has_test and self.render.test_behavior is not TestBehavior.NONE
        return node.resource_type not in self.converted and bool(node.downstream or has_tests)

    def _ancestors(self, members: Iterable[str]) -> set[str]:
        """The ancestors of some nodes, and all sources: dbt counts sources as built."""
        found = {each for each, node in self.all_nodes.items() if node.resource_type is DbtResourceType.SOURCE}
        left = [*members]
        while left:
            node = self.all_nodes.get(left.pop())
            above = {*node.depends_on} - found if node else set()
            found |= above
            left += above
        return found


def visibility(node: DbtNode, render: RenderConfig, read: Collection[str]) -> Visibility:
    """The way in which a DAG shows a node.

    :param node: a selected node.
    :param render: which kinds of nodes the DAG shows.
    :param read: unique ids of all that selected nodes and tests read: a source may be shown only there.
    """
    kind = node.resource_type
    if kind not in VERBS:
        return Visibility.NOTHING
    if kind is DbtResourceType.SEED:
        return _OF_SEEDS.get(render.seed_rendering_behavior, Visibility.TASK)
    if kind is DbtResourceType.SOURCE:
        return _of_source(node, render, is_read=node.unique_id in read)
    if render.ephemeral_models_as_empty_operator and node.has_ephemeral_materialization:
        return Visibility.PLACEHOLDER
    return Visibility.TASK


def _of_source(node: DbtNode, render: RenderConfig, *, is_read: bool) -> Visibility:
    behavior = render.source_rendering_behavior
    if behavior is SourceRenderingBehavior.NONE or (render.source_pruning and not is_read):
        return Visibility.NOTHING
    if node.has_freshness:
        return Visibility.TASK
    if behavior is SourceRenderingBehavior.ALL:
        return Visibility.PLACEHOLDER
    # Without freshness the task checks nothing and succeeds. So it is in Cosmos, whose ids and classes are kept.
    return Visibility.TASK if node.has_test else Visibility.NOTHING


def has_own_arguments(node: DbtNode) -> bool:
    """Whether a node gives arguments or a profile to its own task.

    :param node: the node.
    """
    return bool(node.operator_kwargs_to_override or node.profile_config_to_override)


class DetachedTests:
    """The tests that do not run with each node that they test.

    With ``should_detach_multiple_parents_tests`` each test of more than one parent has a task of its own. In a plan of
    batches a test runs in the batch of its parents. If its parents are in several batches, it runs in the last of
    these, or in a task of its own if none is the last. Tests of one fqn count as one test: dbt cannot select one of
    them alone.

    :param nodes: the selected nodes; a test counts when one of its parents is among them.
    :param render: whether tests are wanted apart, and how tests run.
    :param batches: the batches of the plan; None: there are none.
    """

    def __init__(self, nodes: Mapping[str, DbtNode], render: RenderConfig, batches: Batches | None = None) -> None:
        self.by_parent: dict[str, list[DbtNode]] = {}
        """The tests that a selected node's own test task must leave out, in the project's order."""
        self.tests: list[DbtNode] = []
        """The tests with their own tasks, sorted by unique id: one for each fqn, with the parents of all its tests."""
        self.of_one_task: dict[str, list[str]] = {}
        """By the unique id of each of these: the unique ids of all tests that run in its task."""
        self.of_unit: dict[int, list[DbtNode]] = {}
        """The tests that run in a batch, by the number of the batch."""
        self.ids: set[str] = set()
        """The unique ids of all detached tests."""
        wants_apart = render.should_detach_multiple_parents_tests
        if render.test_behavior in _WITH_NODES and (wants_apart or batches):
            self._find(nodes, batches, wants_apart=wants_apart)

    def _find(self, nodes: Mapping[str, DbtNode], batches: Batches | None, *, wants_apart: bool) -> None:
        in_batches = {each.unit for each in batches.batches} if batches else set()
        tests = [node for node in nodes.values() if node.resource_type in TESTS]
        for alike in _of_one_fqn(tests):
            parents = [
                each for each in dict.fromkeys(each for test in alike for each in test.depends_on) if each in nodes
            ]
            units = batches.units_of(parents) if batches else []
            is_apart = parents and wants_apart and any(map(_is_detachable, alike))
            # A batch has no place for arguments of one test.
            if is_apart or (units and any(map(arguments_of, alike))):
                self._join(alike)
            elif batches and units and (last := batches.last_of(units)) in in_batches:
                self.of_unit.setdefault(last, []).extend(alike)
            elif len(units) > 1:
                self._join(alike)
            else:
                continue
            for test in alike:
                self.ids.add(test.unique_id)
                for parent in dict.fromkeys(test.depends_on):
                    if parent in nodes:
                        self.by_parent.setdefault(parent, []).append(test)
        self.tests.sort(key=lambda test: test.unique_id)

    def _join(self, tests: list[DbtNode]) -> None:
        joined = _joined(tests)
        self.tests.append(joined)
        self.of_one_task[joined.unique_id] = [test.unique_id for test in tests]


def _of_one_fqn(tests: Iterable[DbtNode]) -> Iterable[list[DbtNode]]:
    """Lists of tests that dbt's selection cannot tell apart: generic tests of one ``name`` in one folder, and the unit
    tests of the versions of a model.
    """
    found: dict[tuple[DbtResourceType, str], list[DbtNode]] = {}
    for test in tests:
        name = ".".join(test.fqn) if test.fqn else test.unique_id
        found.setdefault((test.resource_type, name), []).append(test)
    return found.values()


def _joined(tests: list[DbtNode]) -> DbtNode:
    """The first test that has arguments of its own, else the first test, with the parents of all tests."""
    first = next(filter(has_own_arguments, tests), tests[0])
    reads = list(dict.fromkeys(each for test in tests for each in test.depends_on))
    return first if len(tests) == 1 else msgspec.structs.replace(first, depends_on=reads)


def _is_detachable(node: DbtNode) -> bool:
    """Whether it is a test of more than one node, selected or not."""
    return node.resource_type is DbtResourceType.TEST and len(set(node.depends_on)) > 1
