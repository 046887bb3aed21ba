"""The way in which a DAG shows each node of a selection: as a task, as a placeholder, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from functools import cache, cached_property

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import (
    TESTS,
    DbtResourceType,
    SeedRenderingBehavior,
    SourceRenderingBehavior,
    TestBehavior,
)
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.model import NodeMark

VERBS = {
    DbtResourceType.MODEL: ("Run", "run"),
    DbtResourceType.SEED: ("Seed", "seed"),
    DbtResourceType.SNAPSHOT: ("Snapshot", "snapshot"),
    DbtResourceType.SOURCE: ("Source", "source"),
    DbtResourceType.FUNCTION: ("Build", "function"),  # no other command of dbt makes one
}
"""What runs a node of each type that can have a task, and how its task's id ends."""

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
"""The types that describe, or that somebody runs by hand: dbt runs none of them. A type of a newer dbt may be run."""


class Visibility(Enum):
    """The ways in which a DAG can show a node."""

    TASK = auto()
    PLACEHOLDER = auto()
    NOTHING = auto()


_OF_SEEDS = {SeedRenderingBehavior.NONE: Visibility.NOTHING, SeedRenderingBehavior.RENDER_ONLY: Visibility.PLACEHOLDER}


class NodeVisibility:
    """The way in which a DAG shows each node of one selection under one RenderConfig.

    :param render: which kinds of nodes it wants.
    :param nodes: all selected nodes, tests among them: a source may be shown only where one of them reads it.
    """

    def __init__(self, render: RenderConfig, nodes: Mapping[str, DbtNode]) -> None:
        self._render = render
        self._nodes = nodes

    def of(self, node: DbtNode) -> Visibility:
        """The way in which the DAG shows a node.

        :param node: a selected node.
        """
        kind = node.resource_type
        if kind not in VERBS:
            return Visibility.NOTHING
        if kind is DbtResourceType.SEED:
            return _OF_SEEDS.get(self._render.seed_rendering_behavior, Visibility.TASK)
        if kind is DbtResourceType.SOURCE:
            return self._of_source(node)
        if self._render.ephemeral_models_as_empty_operator and node.has_ephemeral_materialization:
            return Visibility.PLACEHOLDER
        return Visibility.TASK

    def mark(self, node: DbtNode, *, is_drawn: bool, runs_with_others: bool) -> NodeMark:
        """What the plan does with a node.

        :param node: a selected node.
        :param is_drawn: whether it has tasks of its own, or stands in a batch.
        :param runs_with_others: whether it stands in a batch, or is a test in a batch or in a task of tests alone.
        """
        is_ephemeral = node.has_ephemeral_materialization
        if node.resource_type in TESTS:
            is_built = is_drawn or runs_with_others or self._is_test_run(node)
        else:  # a batch does not name an ephemeral model to dbt, which would do nothing for it
            is_built = self.of(node) is Visibility.TASK and not (is_ephemeral and runs_with_others)
        is_reported = not is_ephemeral and node.resource_type not in NEVER_RUN
        return _mark(is_drawn, is_built, is_reported)

    def _is_test_run(self, test: DbtNode) -> bool:
        """Whether a test runs in the task of a node that it reads."""
        if self._render.test_behavior in (TestBehavior.NONE, TestBehavior.AFTER_ALL):
            return False
        return any(self._is_tested(self._nodes[each], test) for each in test.depends_on if each in self._nodes)

    def _is_tested(self, node: DbtNode, test: DbtNode) -> bool:
        if self._render.test_behavior is TestBehavior.BUILD:
            return self.of(node) is Visibility.TASK and node.resource_type is not DbtResourceType.SOURCE
        # A node with unit tests alone has no test task, as in Cosmos.
        has_task = test.resource_type is DbtResourceType.TEST or node.has_non_detached_test
        return has_task and self.of(node) is not Visibility.NOTHING

    def _of_source(self, node: DbtNode) -> Visibility:
        behavior = self._render.source_rendering_behavior
        if behavior is SourceRenderingBehavior.NONE or self._is_pruned(node):
            return Visibility.NOTHING
        if node.has_freshness:
            return Visibility.TASK
        if behavior is SourceRenderingBehavior.ALL:
            return Visibility.PLACEHOLDER
        # dbt has no age to look at there and the task succeeds: so it is in Cosmos, whose ids and classes count.
        return Visibility.TASK if node.has_test else Visibility.NOTHING

    def _is_pruned(self, node: DbtNode) -> bool:
        return self._render.source_pruning and node.unique_id not in self._read

    @cached_property
    def _read(self) -> set[str]:
        return {parent for node in self._nodes.values() for parent in node.depends_on}


@cache  # at most eight values, which thousands of nodes share
def _mark(is_drawn: bool, is_built: bool, is_reported: bool) -> NodeMark:
    return NodeMark(is_drawn=is_drawn, is_built=is_built, is_reported=is_reported)
