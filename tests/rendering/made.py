"""A few nodes and their plan, made by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import DbtResourceType, ExecutionMode
from cosmos_venv.project.graph import DbtGraph, link
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.model import Plan
from cosmos_venv.rendering.plan_request import PlanRequest
from cosmos_venv.rendering.planner import plan
from cosmos_venv.rendering.task_arguments import PlanningSettings


def node(
    unique_id: str, *depends_on: str, file: str | None = None, has_freshness: bool = False, **config: Any
) -> DbtNode:
    """:param file: the file that declares it; None: one of its name in models."""
    kind, package, name = unique_id.split(".", 2)
    parts = {"test": [name.partition(".")[0]], "source": name.split(".")}.get(kind, [name])
    return DbtNode(
        unique_id,
        DbtResourceType(kind),
        list(depends_on),
        Path("/srv/shop"),
        Path(file or f"models/{name}.sql"),
        config=config,
        has_freshness=has_freshness,
        fqn=[package, *parts],
    )


def planned(
    *nodes: DbtNode,
    render: RenderConfig | None = None,
    operator_args: dict[str, Any] | None = None,
    settings: PlanningSettings | None = None,
    known: Iterable[DbtNode] = (),
    execution: dict[str, Any] | None = None,
    mode: ExecutionMode = ExecutionMode.VIRTUALENV,
    may_hide: bool = False,
) -> Plan:
    """Return the plan of nodes.

    :param *nodes: the selected ones.
    :param known: further nodes of the project.
    :param execution: arguments of ExecutionConfig.
    :param may_hide: whether the project may have other nodes.
    """
    by_id = {each.unique_id: each for each in nodes}
    selection = link(by_id, detaching=bool(render and render.should_detach_multiple_parents_tests))
    return plan(
        PlanRequest(
            nodes=selection.nodes,
            may_hide=may_hide,
            render=render or RenderConfig(),
            execution=ExecutionConfig(mode, **(execution or {})),
            project=ProjectConfig("shop"),
            operator_args=operator_args or {},
            settings=settings or PlanningSettings(),
            known={each.unique_id: each for each in known},
        )
    )


def plan_of(graph: DbtGraph) -> Plan:
    """Return the plan of a graph that is loaded."""
    return plan(
        PlanRequest(
            nodes=graph.filtered_nodes,
            render=graph.render_config,
            execution=graph.execution_config,
            project=graph.project,
            operator_args={},
        )
    )
