"""The way in which a DAG shows each node of a selection: as a task, as a placeholder, or not at all."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import DbtResourceType, SeedRenderingBehavior, SourceRenderingBehavior
from cosmos_venv.project.node import DbtNode

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


class Visibility(Enum):
    """The ways in which a DAG can show a node."""

    TASK = auto()
    PLACEHOLDER = auto()
    NOTHING = auto()


_OF_SEEDS = {SeedRenderingBehavior.NONE: Visibility.NOTHING, SeedRenderingBehavior.RENDER_ONLY: Visibility.PLACEHOLDER}


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
