"""With which arguments does the task of one node run, beside those that all tasks share?"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cosmos_venv.config import ExecutionConfig, RenderConfig
from cosmos_venv.constants import DbtResourceType, SeedRenderingBehavior, TestIndirectSelection
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.rendering.detached import selector_of

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode

logger = logging.getLogger(__name__)

OF_THE_PLAN = frozenset({"dag", "task_group", "task_id"})
"""Arguments of an operator that nobody gives: they say where the task stands."""


@dataclass(frozen=True, kw_only=True)
class DrawingSettings:
    """What Airflow's configuration says of the drawing; the planner itself reads none.

    :param groups_by_path: ``enable_hierarchical_naming_for_group_nodes_by_folder``.
    :param uses_models_flag: ``pre_dbt_fusion``: nodes are named by ``--models`` instead of ``--select``.
    """

    groups_by_path: bool = False
    uses_models_flag: bool = False


class OwnArguments:
    """The arguments of single tasks under one configuration.

    :param nodes: the selected nodes, tests among them.
    :param operator_args: what the user gives to all tasks; only its ``exclude`` is read.
    :ivar dropped: what seeds that are only shown have said of a task, and by which of it nothing is shown.
    """

    def __init__(
        self,
        nodes: Mapping[str, DbtNode],
        *,
        render: RenderConfig,
        execution: ExecutionConfig,
        operator_args: Mapping[str, object],
        settings: DrawingSettings,
    ) -> None:
        self.dropped: set[str] = set()
        self._nodes = nodes
        self._render = render
        self._selecting = "models" if settings.uses_models_flag else "select"
        choice = execution.test_indirect_selection
        self._indirect = {} if choice is TestIndirectSelection.EAGER else {"indirect_selection": choice.value}
        shared: Any = operator_args.get("exclude") or []
        self._shared_exclude: list[str] = shared.split() if isinstance(shared, str) else list(shared)

    def of_node(self, node: DbtNode, given: Mapping[str, Any]) -> dict[str, Any]:
        """Of ``dbt run``, ``seed``, ``snapshot``.

        :param given: what else the task gets, which the node's own arguments may replace.
        """
        return {self._selecting: _selector(node), **given, **arguments_of(node), **self.owner_of(node)}

    def of_build(self, node: DbtNode, given: Mapping[str, Any], apart: Iterable[str]) -> dict[str, Any]:
        """:param apart: names of the tests that run in tasks of their own."""
        return self.of_node(node, {**self._exclude(apart), **self._indirect, **given})

    def of_source(self, node: DbtNode, given: Mapping[str, Any]) -> dict[str, Any]:
        """Of ``dbt source freshness``."""
        return {"select": f"source:{node.resource_name}", **given, **arguments_of(node), **self.owner_of(node)}

    def of_tests(self, node: DbtNode, test_ids: Iterable[str], apart: Iterable[str]) -> dict[str, Any]:
        """Of the ``dbt test`` behind one node: what the tests in it say goes over what the node says."""
        is_source = node.resource_type is DbtResourceType.SOURCE
        return {
            "select": f"source:{node.resource_name}" if is_source else node.resource_name,
            **self._exclude(apart),
            **self._indirect,
            "emit_datasets": False,
            **arguments_of(node),
            **self._merged(node, test_ids),
            **self.owner_of(node),
        }

    def of_detached(self, test: DbtNode) -> dict[str, Any]:
        """Of the ``dbt test`` of one test alone."""
        return {
            "select": selector_of(test),
            **self._exclude(()),
            **self._indirect,
            "emit_datasets": False,
            **arguments_of(test),
            **self.owner_of(test),
        }

    def of_all_tests(self) -> dict[str, Any]:
        """Of the one ``dbt test`` of AFTER_ALL."""
        return {
            # Also where they are None: what all tasks share must not select for this one.
            "select": " ".join(self._render.select) or None,
            "exclude": " ".join(self._render.exclude) or None,
            "selector": self._render.selector,
            **self._indirect,
            "emit_datasets": False,
        }

    def of_placeholder(self, node: DbtNode, given: Mapping[str, Any]) -> dict[str, Any]:
        """It runs nothing, so of what the node says only how it is shown is of use."""
        said = arguments_of(node)
        shown = {key: value for key, value in said.items() if key == "task_display_name"}
        if node.resource_type is DbtResourceType.SEED:
            self.dropped |= said.keys() - shown.keys()
        # A source has no owner in Cosmos; other placeholders have.
        owner = {} if node.resource_type is DbtResourceType.SOURCE else self.owner_of(node)
        return {**given, **shown, **owner}

    def owner_of(self, node: DbtNode) -> dict[str, str]:
        owner = node.owner if self._render.enable_owner_inheritance else ""
        return {"owner": owner} if owner else {}

    def runs_only_changed(self, node: DbtNode) -> bool:
        """Whether the task is to be told that it should run only if its seed has changed."""
        return (
            node.resource_type is DbtResourceType.SEED
            and self._render.seed_rendering_behavior is SeedRenderingBehavior.WHEN_SEED_CHANGES
        )

    def _exclude(self, apart: Iterable[str]) -> dict[str, str]:
        """What the user excludes for all tasks, then what the DAG excludes: an excluded test must not run after all."""
        own = [*self._render.exclude, *apart]
        return {"exclude": " ".join(dict.fromkeys([*self._shared_exclude, *own]))} if own else {}

    def _merged(self, node: DbtNode, test_ids: Iterable[str]) -> dict[str, Any]:
        """What the tests that run in one task say to it; the last one wins, as in Cosmos."""
        merged: dict[str, Any] = {}
        for test_id in test_ids:
            for key, value in arguments_of(self._nodes[test_id]).items():
                if merged.setdefault(key, value) != value:
                    logger.warning(
                        "The tests of %s run in one task but differ in operator_kwargs.%s: %r of %s replaces %r.",
                        *(node.unique_id, key, value, test_id, merged[key]),
                    )
                merged[key] = value
        return merged


def arguments_of(node: DbtNode) -> dict[str, Any]:
    """What ``config.meta.cosmos.operator_kwargs`` of the node gives to its task.

    :raises CosmosLoadDbtException: when it is no mapping, or sets what a node cannot.
    """
    arguments = node.operator_kwargs_to_override
    for name in OF_THE_PLAN & arguments.keys():
        raise CosmosLoadDbtException(
            f"{node.unique_id}: config.meta.cosmos.operator_kwargs sets {name}, which is decided for each task by the "
            "project. Drop it; task_display_name changes what is shown."
        )
    if "profile_config" in arguments:
        raise CosmosLoadDbtException(
            f"{node.unique_id}: config.meta.cosmos.operator_kwargs sets profile_config. Write it beside "
            "operator_kwargs, as config.meta.cosmos.profile_config."
        )
    if not isinstance(arguments.get("extra_context") or {}, Mapping):
        raise CosmosLoadDbtException(
            f"{node.unique_id}: config.meta.cosmos.operator_kwargs.extra_context={arguments['extra_context']!r} must "
            "be a mapping."
        )
    return arguments


def _selector(node: DbtNode) -> str:
    return f"fqn:{'.'.join(node.fqn)}" if node.fqn else node.resource_name
