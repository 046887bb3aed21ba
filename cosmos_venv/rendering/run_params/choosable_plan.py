"""The plan of a DAG whose runs may choose nodes: a first task evaluates the selection, and the last one runs nothing.

The trigger rule of tasks is ``none_failed``: a chosen task runs although its parents were skipped, and no task runs
behind a failed one, except behind a model with ``on_error: continue``. A task skips itself if a task before it was
skipped for another reason. Tasks beyond placeholders count too, since Airflow runs placeholders by itself. The first
tasks keep Airflow's own rule: a run cannot choose the tasks before them.
The last task is for the tasks behind the project: it succeeds if all chosen tasks have succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv.constants import SELECT_DONE_TASK_ID, SELECT_TASK_ID, TASK_TESTS, TESTS, TestIndirectSelection
from cosmos_venv.rendering.model import Plan, PlannedTask, end_task, upstream_of
from cosmos_venv.rendering.task_arguments import NOTHING_ELSE

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode
    from cosmos_venv.rendering.plan_request import PlanRequest

_RULE = {"trigger_rule": "none_failed"}
_DOCUMENT = (
    "Evaluates the params of this run that select dbt nodes, once for all tasks. The tasks of other nodes are skipped. "
    "Where nothing is selected or excluded, it starts no dbt and all tasks run."
)


def choosable_plan(plan: Plan, request: PlanRequest) -> Plan:
    """The plan in which a run may choose nodes.

    :param plan: of the same nodes, without conversions.
    :param request: what is planned.
    """
    if not plan.tasks:
        return plan
    after = upstream_of(plan)
    contents = _contents(plan, request.nodes)
    for passage in (task.task_id for task in plan.tasks if task.is_passage):
        contents[after[passage][0]]["may_fail"] = True
    known = {each for content in contents.values() for each in content["nodes"]}
    choice = request.indirect_selection
    indirect = {} if choice is TestIndirectSelection.EAGER else {"indirect_selection": choice.value}
    select = PlannedTask(
        task_id=SELECT_TASK_ID,
        operator=request.operator_pattern.format("Select"),
        arguments={
            **NOTHING_ELSE,
            **indirect,
            "tasks": {each: {**content, "after": after.get(each, [])} for each, content in contents.items()},
            "selectors": {each: text for each, text in request.selectors.items() if each in known},
        },
        document=_DOCUMENT,
    )
    ruled = msgspec.structs.replace(plan, tasks=tuple(_with_rules(plan, after)))
    return ruled.between(select, end_task(SELECT_DONE_TASK_ID))


def _with_rules(plan: Plan, after: Mapping[str, Sequence[str]]) -> list[PlannedTask]:
    """The tasks with their trigger rules, and with the tasks, beside their parents, that they are skipped with."""
    running = {task.task_id for task in plan.tasks if not task.is_placeholder}
    before: dict[str, set[str]] = {}  # by task id: the nearest tasks before it that run something
    tasks = []
    for task in plan.tasks:
        parents = after.get(task.task_id, ())
        found = {each for parent in parents for each in ((parent,) if parent in running else before[parent])}
        before[task.task_id] = found
        own = {"skipped_with": sorted(found.difference(parents))} if task.task_id in running else {}
        # The tasks behind a passage look at the states of the tasks before the passage.
        arguments = {"trigger_rule": "all_done"} if task.is_passage else task.arguments
        defaults = {**task.defaults, **_RULE, **own} if found else task.defaults
        tasks.append(msgspec.structs.replace(task, arguments=arguments, defaults=defaults))
    return tasks


def _contents(plan: Plan, nodes: Mapping[str, DbtNode]) -> dict[str, dict[str, Any]]:
    """By task id: the unique ids of the nodes and tests that the task runs, and the node that it tests, if any.

    A placeholder runs none.
    """
    found: dict[str, dict[str, Any]] = {}
    for task in plan.tasks:
        tests = task.context.get(TASK_TESTS, [])
        content: dict[str, Any] = {"nodes": [*(task.arguments.get("nodes") or ()), *tests], "tested": None}
        if task.node_id is not None and not task.is_placeholder:
            is_test = ".DbtTest" in task.operator
            if not is_test:
                content["nodes"].insert(0, task.node_id)
            if (is_test or ".DbtBuild" in task.operator) and nodes[task.node_id].resource_type not in TESTS:
                content["tested"] = task.node_id
        found[task.task_id] = content
    return found
