"""Which tasks does a dbt project become? A graph and its configuration in, plain data out.

No Airflow is needed to make a plan, and it is the same in every process: tasks stand in topological order, those of
one step by id. Ids are those of Cosmos.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import DbtResourceType, TestBehavior
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.assembly import Assembly
from cosmos_venv.rendering.drawing import Drawing
from cosmos_venv.rendering.folders import Folders
from cosmos_venv.rendering.names import project_name
from cosmos_venv.rendering.own_arguments import DrawingSettings, OwnArguments
from cosmos_venv.rendering.planned import Plan

logger = logging.getLogger(__name__)

_DEFAULTS = DrawingSettings()
# dbt runs none of these: they describe, or somebody runs them by hand. A type of a newer dbt may be run.
_NEVER_RUN = frozenset(
    {
        *(DbtResourceType.ANALYSIS, DbtResourceType.EXPOSURE, DbtResourceType.METRIC, DbtResourceType.OPERATION),
        *(DbtResourceType.SAVED_QUERY, DbtResourceType.SEMANTIC_MODEL),
    }
)


def plan(
    nodes: Mapping[str, DbtNode],
    *,
    tests_per_model: Mapping[str, list[str]],
    render_config: RenderConfig,
    execution_config: ExecutionConfig,
    project_config: ProjectConfig,
    operator_args: Mapping[str, object],
    settings: DrawingSettings = _DEFAULTS,
) -> Plan:
    """The tasks of the selected nodes.

    :param nodes: ``DbtGraph.filtered_nodes``.
    :param tests_per_model: ``DbtGraph.tests_per_model``.
    :param operator_args: what the user gives to all tasks; only its ``exclude`` is read, the rest is added later.
    :param settings: what Airflow's configuration says of the drawing.
    :raises CosmosLoadDbtException: when a node's ``meta`` is not what it must be, when two nodes would have one id, or
        when nodes depend on each other in a circle.
    :raises CosmosValueError: when a hook gives what cannot be an id, or an id is too long for Airflow.
    """
    folders = None
    if render_config.group_nodes_by_folder:
        folders = Folders((each.original_file_path.parent for each in nodes.values()), by_path=settings.groups_by_path)
    arguments = OwnArguments(
        nodes, render=render_config, execution=execution_config, operator_args=operator_args, settings=settings
    )
    drawing = Drawing(
        nodes,
        tests_per_model=tests_per_model,
        render=render_config,
        execution=execution_config,
        arguments=arguments,
        folders=folders,
    )
    drawn = {node.unique_id: done for node in nodes.values() if (done := drawing.draw(node)) is not None}
    drawn |= drawing.draw_detached()
    _tell_left_out(drawing.left_out)
    if arguments.dropped:
        logger.info(
            "Seeds are only shown (SeedRenderingBehavior.RENDER_ONLY) and run nothing. Of their operator_kwargs are "
            "dropped: %s.",
            ", ".join(sorted(arguments.dropped)),
        )
    end = None
    if render_config.test_behavior is TestBehavior.AFTER_ALL and drawn:
        end = drawing.draw_test_after_all(project_name(render_config, execution_config, project_config))
    return Assembly(drawn, end=end, folders=folders).plan()


def _tell_left_out(counts: Mapping[DbtResourceType, int]) -> None:
    """Say which selected nodes have no task since no task is made for their type; a warning where dbt may run them."""
    for level, is_run in ((logging.INFO, False), (logging.WARNING, True)):
        kinds = [f"{number} of type {kind.value}" for kind, number in counts.items() if (kind in _NEVER_RUN) != is_run]
        if kinds:
            _tell_once(level, ", ".join(kinds))


@cache  # once in a process, which may make many plans
def _tell_once(level: int, which: str) -> None:
    logger.log(level, "No task for these selected nodes: %s. RenderConfig.node_converters can make some.", which)
