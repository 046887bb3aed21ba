"""Calls of the user's node converters, and what these may return."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cosmos_venv.compat import DAG, BaseOperator, DuplicateTaskIdFound, TaskGroup, dag_of, is_task_or_group
from cosmos_venv.constants import DbtResourceType
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.configuration import Configuration
from cosmos_venv.rendering.model import PlannedConversion
from cosmos_venv.rendering.plan_request import DetachedTests
from cosmos_venv.rendering.task_arguments import SETUP_OPERATOR_ARGS, project_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Converters:
    """The converters of one DbtDag or DbtTaskGroup.

    :param nodes: the selected nodes by unique id.
    :param shared: arguments of every dbt task, which converters are given as ``task_args``.
    :param configuration: has the converters.
    """

    configuration: Configuration
    nodes: Mapping[str, DbtNode]
    shared: Mapping[str, Any]

    def convert(
        self, planned: PlannedConversion, *, dag: DAG, task_group: TaskGroup | None
    ) -> BaseOperator | TaskGroup | None:
        """The result of a converter for a node: a task, a group, or None for no task at all.

        :param planned: the conversion, as the plan has it.
        :param dag: the DAG to make it in.
        :param task_group: the group to make it in; None: the DAG itself.
        :raises CosmosValueError: when the converter makes something else, or a task with an id that is taken.
        """
        converter = (self.configuration.render.node_converters or {})[DbtResourceType(planned.resource_type)]
        node = self.nodes[planned.node_id] if planned.node_id is not None else None
        name = _name_of(converter)
        logger.debug("Converting %s with %s.", planned.key, name)
        try:
            made = converter(
                dag=dag,
                task_group=task_group,
                node=node,
                task_id=planned.task_id,
                task_args={name: each for name, each in self.shared.items() if name != SETUP_OPERATOR_ARGS},
                **self._of_all,
            )
        except DuplicateTaskIdFound as error:
            raise CosmosValueError(
                f"RenderConfig.node_converters: {name} makes a task for {planned.key} under an id that is taken "
                f"({error}). It was told task_id={planned.task_id!r}; node.name is unlike for each node. With "
                "node_conversion_by_task_group=False it makes one task within the node's own group."
            ) from error
        if made is None:
            return None
        if not is_task_or_group(made):
            raise CosmosValueError(
                f"RenderConfig.node_converters: {name} gave {made!r} for {planned.key}. It must return a task, a task "
                "group, or None for no task."
            )
        if dag_of(made) is not dag:
            raise CosmosValueError(
                f"RenderConfig.node_converters: {name} made {made!r} for {planned.key} outside of the DAG. Pass "
                "dag=dag and task_group=task_group on to what it makes."
            )
        result: BaseOperator | TaskGroup = made
        return result

    @cached_property
    def _of_all(self) -> dict[str, Any]:
        """The arguments of every converter, by the names that Cosmos has for them."""
        render, execution = self.configuration.render, self.configuration.execution
        return {
            "dbt_project_name": project_name(render, execution, self.configuration.project),
            "execution_mode": execution.execution_mode,
            "test_behavior": render.test_behavior,
            "source_pruning": render.source_pruning,
            "source_rendering_behavior": render.source_rendering_behavior,
            "normalize_task_id": render.normalize_task_id,
            "normalize_task_display_name": render.normalize_task_display_name,
            "enable_owner_inheritance": render.enable_owner_inheritance,
            "test_indirect_selection": execution.test_indirect_selection,
            "on_warning_callback": self.configuration.on_warning_callback,
            "detached_from_parent": DetachedTests(self.nodes, render).by_parent,
        }


def _name_of(converter: Callable[..., object]) -> str:
    """The name of a converter. A callable instance has only the name of its class."""
    return getattr(converter, "__name__", None) or type(converter).__name__
