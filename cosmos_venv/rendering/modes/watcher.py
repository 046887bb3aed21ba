"""The plan of ExecutionMode.WATCHER: one task per node, and each task watches one producer that builds all nodes.

The tasks, groups and edges are the same as in other modes. A producer stands before them. Behind all stands a task that
runs nothing: through it the run fails where a node has failed and its children were skipped.

Some tasks still run dbt themselves. The check of a source's freshness does, before the producer, unless the producer
checks it. A node with a profile or an environment of its own does, behind the producer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv.constants import (
    PRODUCER_WATCHER_DONE_TASK_ID,
    PRODUCER_WATCHER_TASK_ID,
    TASK_TESTS,
    TESTS,
    DbtResourceType,
    ExecutionMode,
    TestBehavior,
)
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.rendering.model import EMPTY, Plan, PlannedTask, end_task
from cosmos_venv.rendering.plan_request import Visibility
from cosmos_venv.rendering.task_arguments import BUILT, NO_OTHER_TESTS, context_of_batch, continuing
from cosmos_venv.rendering.task_docs.node_page import document_of_batch

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode
    from cosmos_venv.rendering.plan_request import PlanRequest

_NAME = "watcher"
# Arguments of a node by which another dbt runs it.
_OWN_DBT = frozenset({"py_requirements", "virtualenv_dir", "py_executable", "adbc_drivers", "dbt_executable_path"})
# Replaces the shared arguments of an installed dbt, where only the producer has an environment.
_NO_INSTALLED_DBT = {"dbt_executable_path": None, "invocation_mode": None}
# Cosmos's numbers: the producer has priority over the tasks that wait for it.
_PRODUCER_FIRST = {"priority_weight": 20, "weight_rule": "absolute"}
_AFTER_PRODUCER = {"priority_weight": 2, "weight_rule": "absolute"}
_ON_WORKER = {**_AFTER_PRODUCER, "starts_on_worker": True}
_MOST_IN_TRIGGERER = 400
"""The number of tasks of the largest plan whose watching tasks start in the triggerer.

For each task that starts there, Airflow (seen in 3.3.2) sends the whole DAG to the triggerer and deserializes it. With
1,000 nodes the triggerer took 7 GB and 600 s of CPU. A worker that defers a task parses the file for this task alone.
"""
_WATCHER_OF = {
    f"operators.{module}.Dbt{verb}{mode}Operator": f"operators.watcher.Dbt{verb}Watcher{suffix}Operator"
    for module, mode, suffix in (("local", "Local", ""), ("virtualenv", "Virtualenv", "Virtualenv"))
    for verb in ("Batch", "Build", "Run", "Seed", "SemanticMetricView", "Snapshot", "Source", "Test")
}
_PRODUCER_OF = {
    ExecutionMode.LOCAL: "operators.watcher.DbtProducerWatcherOperator",
    ExecutionMode.VIRTUALENV: "operators.watcher.DbtProducerWatcherVirtualenvOperator",
}


def watched_plan(plan: Plan, request: PlanRequest) -> Plan:
    """The plan in which each task of a built node watches the producer, which runs no tests with AFTER_ALL and NONE.

    :param plan: of the same nodes as tasks of their own.
    :param request: what is planned.
    :raises CosmosValueError: when a node that needs its own profile or environment has no task, or other nodes read it.
    """
    nodes, has_tests = request.nodes, request.render.test_behavior is TestBehavior.AFTER_EACH
    built = {each: node for each, node in nodes.items() if _is_built(node, nodes, has_tests=has_tests)}
    built = _without_own_dbt(built, plan)
    if not built:
        return plan
    sources = _sources(request) if request.settings.asks_freshness else {}
    ids_of = _watched_ids(plan, built, nodes, sources)
    defaults = _AFTER_PRODUCER if len(plan.tasks) <= _MOST_IN_TRIGGERER else _ON_WORKER
    tasks = [_watching(task, ids_of[task.task_id], defaults) if task.task_id in ids_of else task for task in plan.tasks]
    told = {each: request.selectors[each] for each in built}
    mode = request.execution.producer_dbt_mode(request.operator_args)
    producer = PlannedTask(
        task_id=PRODUCER_WATCHER_TASK_ID,
        operator=_PRODUCER_OF[mode],
        arguments={
            "select": None,
            "models": None,
            "selector": None,
            "nodes": told,
            **continuing(built.values()),
            **NO_OTHER_TESTS,
            **({"sources": sources} if sources else {}),
            **(_NO_INSTALLED_DBT if mode is not request.execution.dbt_mode(request.operator_args) else {}),
        },
        defaults=_PRODUCER_FIRST,
        context=context_of_batch(_NAME, told),
        document=document_of_batch(built.values(), request.settings.longest_page),
    )
    # Behind all tasks: else a skipped task would skip the tasks behind the group before this one knows of a failure.
    done = end_task(PRODUCER_WATCHER_DONE_TASK_ID)
    ended = msgspec.structs.replace(plan, tasks=tuple(tasks)).between(None, done)
    before, after = _neighbours(tasks, plan.edges)
    edges = {*((each, producer.task_id) for each in before), *((producer.task_id, each) for each in after)}
    # The producer succeeds although a source is stale.
    edges |= {
        (task_id, done.task_id) for task_id, node_ids in ids_of.items() if not sources.keys().isdisjoint(node_ids)
    }
    looks = [each.key for each in plan.conversions if each.resource_type == DbtResourceType.SOURCE]
    edges |= {(each, producer.task_id) for each in looks}
    return msgspec.structs.replace(
        ended,
        tasks=(
            *(task for task in tasks if task.task_id in before),
            producer,
            *(task for task in ended.tasks if task.task_id not in before),
        ),
        edges=tuple(sorted({*ended.edges, *edges, (producer.task_id, done.task_id)})),
    )


def number_of_watching(plan: Plan) -> int:
    """How many tasks watch the producer.

    :param plan: of ``watched_plan``.
    """
    return sum("node_ids" in task.arguments for task in plan.tasks)


def _is_built(node: DbtNode, nodes: Mapping[str, DbtNode], *, has_tests: bool) -> bool:
    """Whether the producer names a node to dbt: also a seed that the DAG does not show, as ``dbt build`` does."""
    if node.resource_type in TESTS:
        return has_tests and any(parent in nodes for parent in node.depends_on)
    return node.resource_type in BUILT and not node.has_ephemeral_materialization


def _without_own_dbt(built: Mapping[str, DbtNode], plan: Plan) -> dict[str, DbtNode]:
    """The nodes that the producer's ``dbt build`` can build. A node with its own profile or environment runs dbt in
    its own task, behind the producer, and so do its tests.
    """
    models = {each: node for each, node in built.items() if node.resource_type not in TESTS}
    apart = {each for each, node in models.items() if _has_own_dbt(node)}
    run = {task.node_id for task in plan.tasks if not task.is_placeholder and ".DbtTest" not in task.operator}
    for each in sorted(apart):
        if each not in run:
            raise CosmosValueError(
                f"{each}: a profile_config or an environment of its own (meta.cosmos) does not go with "
                "ExecutionMode.WATCHER for a node without a task: nobody would build it. Drop it, or show the seed by "
                "SeedRenderingBehavior.ALWAYS."
            )
    for each, node in models.items():
        if each not in apart and (read := apart & {*node.depends_on}):
            raise CosmosValueError(
                f"{min(read)}: a profile_config or an environment of its own (meta.cosmos) does not go with "
                f"ExecutionMode.WATCHER where another node reads it, such as {each}: one dbt builds these. Drop it, "
                "leave one of the two out with RenderConfig.exclude, or use ExecutionMode.LOCAL or VIRTUALENV."
            )
    return {each: node for each, node in built.items() if each not in apart and apart.isdisjoint(node.depends_on)}


def _has_own_dbt(node: DbtNode) -> bool:
    return bool(node.profile_config_to_override or _OWN_DBT & node.operator_kwargs_to_override.keys())


def _sources(request: PlanRequest) -> dict[str, str]:
    """The sources whose freshness the DAG shows and the producer's dbt can look at, with the text that selects each."""
    return {
        each: request.selectors[each]
        for each, node in request.nodes.items()
        if node.resource_type is DbtResourceType.SOURCE
        and node.has_freshness
        and request.visibility[each] is Visibility.TASK
        and not _has_own_dbt(node)
    }


def _watched_ids(
    plan: Plan, built: Mapping[str, DbtNode], nodes: Mapping[str, DbtNode], sources: Mapping[str, str]
) -> dict[str, list[str]]:
    """Unique ids of the nodes that each task watches, by task id; none for tests that run in another task."""
    found: dict[str, list[str]] = {}
    for task in plan.tasks:
        if task.operator not in _WATCHER_OF:
            continue
        if ".DbtSource" in task.operator:
            if task.node_id in sources:
                found[task.task_id] = [str(task.node_id)]
        elif task.node_id is None:
            if joined := task.arguments.get("nodes"):
                found[task.task_id] = [*joined]
        elif task.node_id in built:
            tests = [each for each in task.context.get(TASK_TESTS, ()) if each in built]
            found[task.task_id] = tests if ".DbtTest" in task.operator else [task.node_id]
        elif (
            node := nodes[task.node_id]
        ).has_ephemeral_materialization or node.resource_type is DbtResourceType.SOURCE:
            found[task.task_id] = [each for each in task.context.get(TASK_TESTS, ()) if each in built]
    return found


def _watching(task: PlannedTask, node_ids: list[str], defaults: dict[str, Any]) -> PlannedTask:
    if not node_ids:  # all tests of the node also read a node with its own dbt, and run behind that node
        return msgspec.structs.replace(task, operator=EMPTY, arguments={}, profile={}, context={}, document="")
    arguments: dict[str, Any] = {
        **task.arguments,
        "node_ids": sorted(node_ids),
        "model_unique_id": task.node_id,
        "producer_task_id": PRODUCER_WATCHER_TASK_ID,
        # All tasks wait from the start of the run: a task that starts after the end of another one is 3 to 7 s late.
        "trigger_rule": "always",
    }
    return msgspec.structs.replace(task, operator=_WATCHER_OF[task.operator], arguments=arguments, defaults=defaults)


def _neighbours(tasks: Collection[PlannedTask], edges: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Ids of the tasks right before the producer, which check sources with a dbt of their own, and right after it."""
    watching = {task.task_id for task in tasks if task.operator.startswith("operators.watcher.")}
    sources = {task.task_id for task in tasks if ".DbtSource" in task.operator} - watching
    # Passages stand behind tasks that watch. One set for all edges: a set for each edge took 72 s with 20,000 models.
    parents = watching | {task.task_id for task in tasks if task.is_passage}
    has_parent = {after for before, after in edges if before in parents}
    return sorted(sources), sorted(watching - has_parent)
