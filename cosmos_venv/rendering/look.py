"""Does a node become a task, a task that only holds its place, or nothing?"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from functools import cached_property

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import DbtResourceType, SeedRenderingBehavior, SourceRenderingBehavior
from cosmos_venv.project.node import DbtNode

VERBS = {
    DbtResourceType.MODEL: ("Run", "run"),
    DbtResourceType.SEED: ("Seed", "seed"),
    DbtResourceType.SNAPSHOT: ("Snapshot", "snapshot"),
    DbtResourceType.SOURCE: ("Source", "source"),
}
"""What runs a node of each type that can have a task, and how its task's id ends."""


class Look(Enum):
    """What is seen of a node in the DAG."""

    TASK = auto()
    PLACEHOLDER = auto()
    NOTHING = auto()


_OF_SEEDS = {SeedRenderingBehavior.NONE: Look.NOTHING, SeedRenderingBehavior.RENDER_ONLY: Look.PLACEHOLDER}


class Looks:
    """How the nodes of one selection look under one RenderConfig.

    :param nodes: all selected nodes, tests among them: a source may be drawn only where one of them reads it.
    """

    def __init__(self, render: RenderConfig, nodes: Mapping[str, DbtNode]) -> None:
        self._render = render
        self._nodes = nodes

    def of(self, node: DbtNode) -> Look:
        kind = node.resource_type
        if kind not in VERBS:
            return Look.NOTHING
        if kind is DbtResourceType.SEED:
            return _OF_SEEDS.get(self._render.seed_rendering_behavior, Look.TASK)
        if kind is DbtResourceType.SOURCE:
            return self._of_source(node)
        if self._render.ephemeral_models_as_empty_operator and node.has_ephemeral_materialization:
            return Look.PLACEHOLDER
        return Look.TASK

    def _of_source(self, node: DbtNode) -> Look:
        behavior = self._render.source_rendering_behavior
        if behavior is SourceRenderingBehavior.NONE or self._is_pruned(node):
            return Look.NOTHING
        if node.has_freshness:
            return Look.TASK
        if behavior is SourceRenderingBehavior.ALL:
            return Look.PLACEHOLDER
        # dbt has no age to look at there and the task succeeds: so it is in Cosmos, whose ids and classes count.
        return Look.TASK if node.has_test else Look.NOTHING

    def _is_pruned(self, node: DbtNode) -> bool:
        return self._render.source_pruning and node.unique_id not in self._read

    @cached_property
    def _read(self) -> set[str]:
        return {parent for node in self._nodes.values() for parent in node.depends_on}
