"""How are many edges drawn in linear time? As Airflow's ``>>`` leaves them, but all at once.

``a >> b`` hashes the DAG with all its task ids twice, to find out that both stand in the same one. That is known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cosmos_venv.compat import BaseOperator, TaskGroup

TaskOrGroup = BaseOperator | TaskGroup


def draw(edges: Iterable[tuple[BaseOperator, BaseOperator]]) -> None:
    """Put the first task of each pair before the second; all stand in one DAG."""
    for before, after in edges:
        before.downstream_task_ids.add(after.task_id)
        after.upstream_task_ids.add(before.task_id)


def draw_outer(edges: Iterable[tuple[TaskOrGroup, TaskOrGroup]]) -> None:
    """Let groups know what is before and after them, which the graph view shows as one edge.

    It is what ``>>`` does beside the edges among the tasks, which have to be drawn before.
    """
    leaves: dict[int, set[str]] = {}
    for before, after in edges:
        if isinstance(before, TaskGroup):
            _ids(before, "downstream", after).add(after.node_id)
        if isinstance(after, TaskGroup):
            _ids(after, "upstream", before).add(before.node_id)
            if isinstance(before, TaskGroup):
                # Airflow puts the leaves of one group before the other; it does not put the roots after the first.
                if id(before) not in leaves:
                    leaves[id(before)] = {task.task_id for task in before.get_leaves()}
                after.upstream_task_ids |= leaves[id(before)]


def _ids(group: TaskGroup, direction: str, other: TaskOrGroup) -> set[Any]:
    ids: set[Any] = getattr(group, f"{direction}_{'group' if isinstance(other, TaskGroup) else 'task'}_ids")
    return ids
