"""Which tasks does a dbt project become? A graph and its configuration in, plain data out.

No Airflow is needed to make a plan, and it is the same in every process: tasks stand in topological order, those of
one step by id. Ids are those of Cosmos.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.config.values import folder_name
from cosmos_venv.constants import DbtResourceType, SeedRenderingBehavior, TestBehavior, TestIndirectSelection
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.described import context_of_node, context_of_tests, document_of_node
from cosmos_venv.rendering.order import in_order
from cosmos_venv.rendering.planned import EMPTY, Plan, PlannedTask

logger = logging.getLogger(__name__)

# What runs a node, and how its task's id ends.
_VERBS = {
    DbtResourceType.MODEL: ("Run", "run"),
    DbtResourceType.SEED: ("Seed", "seed"),
    DbtResourceType.SNAPSHOT: ("Snapshot", "snapshot"),
}


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What one node became: ``outer`` is its group or its task; edges enter at ``first`` and leave at ``last``."""

    node: DbtNode
    tasks: tuple[PlannedTask, ...]

    @property
    def first(self) -> str:
        return self.tasks[0].task_id

    @property
    def last(self) -> str:
        return self.tasks[-1].task_id

    @property
    def outer(self) -> str:
        return self.tasks[0].group or self.tasks[0].task_id


@dataclass(frozen=True, kw_only=True)
class _Planner:
    nodes: Mapping[str, DbtNode]
    tests_per_model: Mapping[str, list[str]]
    render: RenderConfig
    execution: ExecutionConfig
    operator_args: Mapping[str, object]

    def draw(self, node: DbtNode) -> _Drawn | None:
        """The node's tasks; None when it has none."""
        if node.resource_type not in _VERBS:
            return None
        if (
            node.resource_type is DbtResourceType.SEED
            and self.render.seed_rendering_behavior is SeedRenderingBehavior.NONE
        ):
            return None
        if self.render.test_behavior is TestBehavior.AFTER_EACH and node.has_non_detached_test:
            return _Drawn(node=node, tasks=(self._node_task(node, group=node.name), self._test_task(node)))
        return _Drawn(node=node, tasks=(self._node_task(node, group=None),))

    def test_after_all(self, name: str) -> PlannedTask:
        return PlannedTask(
            task_id=f"{name}_test",
            operator=self._operator("Test"),
            arguments={
                # Also where they are None: what all tasks share must not select for this one.
                "select": " ".join(self.render.select) or None,
                "exclude": " ".join(self.render.exclude) or None,
                "selector": self.render.selector,
                **self._indirect_selection(),
                "emit_datasets": False,
            },
        )

    def _node_task(self, node: DbtNode, *, group: str | None) -> PlannedTask:
        prefix, suffix = _VERBS[node.resource_type]
        is_placeholder = self._is_placeholder(node)
        is_held_seed = is_placeholder and node.resource_type is DbtResourceType.SEED
        if self.render.test_behavior is TestBehavior.BUILD and not is_held_seed:
            prefix, suffix = "Build", f"{node.resource_type.value}_build"
        task_id = f"{group}.{suffix}" if group else f"{node.name}_{suffix}"
        if is_placeholder:
            return self._placeholder(node, task_id, group)
        selection: dict[str, Any] = {"select": f"fqn:{'.'.join(node.fqn)}" if node.fqn else node.resource_name}
        if prefix == "Build":
            selection |= self._exclude() | self._indirect_selection()
        task = self._dbt_task(node, task_id, group, prefix, {**selection, **_own_arguments(node)})
        return replace(task, context=context_of_node(node), document=document_of_node(node))

    def _test_task(self, node: DbtNode) -> PlannedTask:
        arguments = {
            "select": node.resource_name,
            **self._exclude(),
            **self._indirect_selection(),
            "emit_datasets": False,
            **_own_arguments(node),
        }
        arguments |= self._arguments_of_tests(node)
        return self._dbt_task(node, f"{node.name}.test", node.name, "Test", arguments)

    def _arguments_of_tests(self, node: DbtNode) -> dict[str, Any]:
        """What the tests that run in one task say to it; the last one wins, as in Cosmos."""
        merged: dict[str, Any] = {}
        for test_id in self.tests_per_model.get(node.unique_id, ()):
            for key, value in _own_arguments(self.nodes[test_id]).items():
                if merged.setdefault(key, value) != value:
                    logger.warning(
                        "The tests of %s run in one task but differ in operator_kwargs.%s: %r of %s replaces %r.",
                        *(node.unique_id, key, value, test_id, merged[key]),
                    )
                merged[key] = value
        return merged

    def _dbt_task(
        self, node: DbtNode, task_id: str, group: str | None, prefix: str, arguments: dict[str, Any]
    ) -> PlannedTask:
        return PlannedTask(
            task_id=task_id,
            group=group,
            node_id=node.unique_id,
            operator=self._operator(prefix),
            arguments={**arguments, **self._owner(node)},
            profile=node.profile_config_to_override,
            context=context_of_tests(node),
        )

    def _placeholder(self, node: DbtNode, task_id: str, group: str | None) -> PlannedTask:
        """It runs nothing, so of what the node says only how it is shown is of use."""
        shown = {key: value for key, value in _own_arguments(node).items() if key == "task_display_name"}
        return PlannedTask(
            task_id=task_id, group=group, node_id=node.unique_id, operator=EMPTY, arguments=shown | self._owner(node)
        )

    def _is_placeholder(self, node: DbtNode) -> bool:
        if node.resource_type is DbtResourceType.SEED:
            return self.render.seed_rendering_behavior is SeedRenderingBehavior.RENDER_ONLY
        return self.render.ephemeral_models_as_empty_operator and node.has_ephemeral_materialization

    def _operator(self, prefix: str) -> str:
        mode = self.execution.execution_mode.value
        return f"operators.{mode}.Dbt{prefix}{mode.title().replace('_', '')}Operator"

    def _owner(self, node: DbtNode) -> dict[str, str]:
        return {"owner": node.owner} if self.render.enable_owner_inheritance and node.owner else {}

    def _indirect_selection(self) -> dict[str, str]:
        choice = self.execution.test_indirect_selection
        return {} if choice is TestIndirectSelection.EAGER else {"indirect_selection": choice.value}

    def _exclude(self) -> dict[str, str]:
        """What the user excludes for all tasks, then what the DAG excludes: an excluded test must not run after all."""
        if not self.render.exclude:
            return {}
        shared: Any = self.operator_args.get("exclude") or []
        given = shared.split() if isinstance(shared, str) else shared
        return {"exclude": " ".join(dict.fromkeys([*given, *self.render.exclude]))}


def plan(
    nodes: Mapping[str, DbtNode],
    *,
    tests_per_model: Mapping[str, list[str]],
    render_config: RenderConfig,
    execution_config: ExecutionConfig,
    project_config: ProjectConfig,
    operator_args: Mapping[str, object],
) -> Plan:
    """The tasks of the selected nodes.

    :param nodes: ``DbtGraph.filtered_nodes``.
    :param tests_per_model: ``DbtGraph.tests_per_model``.
    :param operator_args: what the user gives to all tasks; only its ``exclude`` is read, the rest is added later.
    :raises CosmosLoadDbtException: when a node's ``meta`` is not what it must be, when two nodes would have one id, or
        when nodes depend on each other in a circle.
    """
    planner = _Planner(
        nodes=nodes,
        tests_per_model=tests_per_model,
        render=render_config,
        execution=execution_config,
        operator_args=operator_args,
    )
    drawn = {node.unique_id: done for node in nodes.values() if (done := planner.draw(node)) is not None}
    _refuse_shared_ids(drawn.values())
    pairs = _pairs(drawn)
    tasks = {task.task_id: task for each in drawn.values() for task in each.tasks}
    inner = {(each.first, each.last) for each in drawn.values() if each.first != each.last}
    between = {(parent.last, child.first) for parent, child in pairs}
    outer = {(parent.outer, child.outer) for parent, child in pairs}
    tasks_map = {unique_id: each.outer for unique_id, each in drawn.items()}
    if render_config.test_behavior is TestBehavior.AFTER_ALL and drawn:
        end = planner.test_after_all(_project_name(render_config, execution_config, project_config))
        leaves = {each.last for each in drawn.values()} - {parent for parent, _ in between}
        ending = {(leaf, end.task_id) for leaf in leaves}
        tasks[end.task_id] = end
        tasks_map[end.task_id] = end.task_id
        between, outer = between | ending, outer | ending
    ordered = [tasks[task_id] for task_id in in_order(tasks, inner | between)]
    return Plan(
        tasks=tuple(ordered),
        groups=tuple(dict.fromkeys(task.group for task in ordered if task.group)),
        edges=tuple(sorted(inner | between)),
        outer_edges=tuple(sorted(outer)),
        tasks_map=dict(sorted(tasks_map.items())),
    )


def _pairs(drawn: Mapping[str, _Drawn]) -> list[tuple[_Drawn, _Drawn]]:
    """Parents and children that both have tasks. A node without any bridges no gap."""
    return [
        (drawn[parent], child)
        for child in drawn.values()
        for parent in dict.fromkeys(child.node.depends_on)
        if parent in drawn
    ]


def _refuse_shared_ids(drawn: Iterable[_Drawn]) -> None:
    """Airflow has one name space for tasks and groups; here it can still be said which nodes are meant."""
    owners: dict[str, str] = {}
    for each in drawn:
        for used in (each.outer, *(task.task_id for task in each.tasks)):
            other = owners.setdefault(used, each.node.unique_id)
            if other != each.node.unique_id:
                raise CosmosLoadDbtException(
                    f"{other} and {each.node.unique_id} would both become {used!r}. Leave one out with "
                    "RenderConfig.exclude, or give each package a DbtTaskGroup of its own with RenderConfig.select."
                )


def _own_arguments(node: DbtNode) -> dict[str, Any]:
    arguments = node.operator_kwargs_to_override
    if "task_id" in arguments:
        raise CosmosLoadDbtException(
            f"{node.unique_id}: config.meta.cosmos.operator_kwargs sets task_id, which follows from the node's name. "
            "Drop it; task_display_name changes what is shown."
        )
    return arguments


def _project_name(render: RenderConfig, execution: ExecutionConfig, project: ProjectConfig) -> str:
    """The project folder's name where the parser sees one, whatever ``project_name`` says: so it is in Cosmos."""
    parsed = render.project_path or project.dbt_project_path
    if parsed is not None:
        return folder_name(parsed)
    return project.project_name or (folder_name(execution.project_path) if execution.project_path else "dbt")
