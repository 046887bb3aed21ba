"""What is a plan made of? Plain data that can be printed, compared and kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

EMPTY = "empty"
"""The operator of a task that only holds a place in the drawing."""


@dataclass(frozen=True, kw_only=True)
class PlannedTask:
    """One task.

    :param task_id: its id below the root, the group's id in front: ``port_calls.run``.
    :param group: id of the group that it stands in, below the root; None: at the root.
    :param node_id: dbt's unique id; None for the one test task of AFTER_ALL.
    :param operator: import path below the package, or ``empty``.
    :param arguments: the operator's own arguments, JSON-like; they go over those that all tasks share.
    :param profile: what the node changes of the profile configuration for this task.
    :param context: what the task's context says of the node, JSON-like.
    :param document: what the task's docs say of it, where the user does not say something else there.
    """

    task_id: str
    group: str | None = None
    node_id: str | None = None
    operator: str
    arguments: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    document: str = ""

    @property
    def label(self) -> str:
        """The id within the group, which is what Airflow wants of a task in a group."""
        return self.task_id[len(self.group) + 1 :] if self.group else self.task_id

    @property
    def is_placeholder(self) -> bool:
        return self.operator == EMPTY


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All tasks of a dbt project and what comes after what.

    :param tasks: in topological order.
    :param groups: ids of the groups, in the order of their first task.
    :param edges: upstream and downstream task, sorted: every edge there is.
    :param outer_edges: those between what stands at the root, a group counting as one: an edge from a group leaves
        its test and one to a group enters its first task.
    :param tasks_map: unique id of each node that has tasks to its group's id, else to its task's.
    """

    tasks: tuple[PlannedTask, ...]
    groups: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    outer_edges: tuple[tuple[str, str], ...]
    tasks_map: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-like data."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data

    def render_tree(self) -> str:
        """The plan as text: groups, their tasks, what runs each, and after what."""
        upstream: dict[str, list[str]] = {}
        for before, after in self.edges:
            upstream.setdefault(after, []).append(before)
        first_of_group: dict[str, int] = {}
        for number, task in enumerate(self.tasks):
            first_of_group.setdefault(task.group or task.task_id, number)
        lines: list[str] = []
        opened = None
        for task in sorted(self.tasks, key=lambda each: first_of_group[each.group or each.task_id]):
            if task.group and task.group != opened:
                lines.append(task.group)
            opened = task.group
            after = f"  <- {', '.join(upstream[task.task_id])}" if task.task_id in upstream else ""
            lines.append(f"{'  ' if task.group else ''}{task.label}  {task.operator.rpartition('.')[2]}{after}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render_tree()
