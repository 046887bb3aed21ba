"""What is a plan made of? Plain data that can be printed, compared and kept.

As structs, not dataclasses: a worker makes these classes anew for each task, in a tenth of the time, and a plan of
thousands of tasks is written and read as it is.
"""

from __future__ import annotations

from typing import Any

import msgspec

EMPTY = "empty"
"""The operator of a task that only holds a place in the drawing."""


class PlannedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One group of tasks: a folder, or a node with its tests.

    :param group_id: its id below the root: ``models.marts.port_calls``.
    :param label: its id within its parent: ``port_calls``.
    :param parent: id of the group that it stands in; None: at the root.
    :param order: its place among the groups, from 0; a parent comes before its children.
    """

    group_id: str
    label: str
    parent: str | None
    order: int


class PlannedTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task.

    :param task_id: its id below the root, the group's id in front: ``port_calls.run``.
    :param group: id of the group that it stands in, below the root; None: at the root.
    :param folder: id of the folder's group that its node stands in, where nodes are grouped by folder: ``group``, or
        the group around it.
    :param node_id: dbt's unique id; None for the one test task of AFTER_ALL.
    :param operator: import path below the package, or ``empty``.
    :param arguments: the operator's own arguments, JSON-like; they go over those that all tasks share.
    :param profile: what the node changes of the profile configuration for this task.
    :param context: what the task's context says of the node, JSON-like.
    :param document: what the task's docs say of it, where the user does not say something else there.
    """

    task_id: str
    group: str | None = None
    folder: str | None = None
    node_id: str | None = None
    operator: str
    arguments: dict[str, Any] = {}
    profile: dict[str, Any] = {}
    context: dict[str, Any] = {}
    document: str = ""

    @property
    def label(self) -> str:
        """The id within the group, which is what Airflow wants of a task in a group."""
        return self.task_id[len(self.group) + 1 :] if self.group else self.task_id

    @property
    def is_placeholder(self) -> bool:
        return self.operator == EMPTY


class PlannedConversion(msgspec.Struct, frozen=True, kw_only=True):
    """One task or group that a converter of the user's makes, under an id that only the converter knows.

    :param key: what edges and ``tasks_map`` call it; no id of Airflow's.
    :param group: id of the group that it stands in, below the root; None: at the root.
    :param node_id: dbt's unique id of the node to convert, for tests of a node that of the tested one; None for the one
        test task of AFTER_ALL.
    :param resource_type: the key in ``RenderConfig.node_converters``.
    :param task_id: what the converter is told as ``task_id``.
    """

    key: str
    group: str | None = None
    node_id: str | None = None
    resource_type: str
    task_id: str

    @property
    def label(self) -> str:
        """What it is called for people: no id."""
        return self.task_id


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks of a dbt project and what comes after what.

    :param tasks: in topological order.
    :param groups: sorted by id, so that each comes after its parent.
    :param conversions: what converters make, in topological order.
    :param edges: upstream and downstream task, sorted: every edge there is between ``tasks``.
    :param outer_edges: the same as far as they join two nodes, a node with a group of its own counting as one: an edge
        from a group leaves its test and one to a group enters its first task.
    :param converted_inner_edges: those within groups for which no task ids are known, since a converter has a hand in
        one of the ends: keys of conversions and task ids. Which tasks of a group are its first and last ones is known
        only when these are drawn.
    :param converted_outer_edges: likewise those that join two nodes: keys of conversions, task ids and group ids.
    :param tasks_map: unique id of each node that has tasks to its group's id, else to its task's or to the key of its
        conversion; beside them the one test task of AFTER_ALL under its default id.
    """

    tasks: tuple[PlannedTask, ...]
    groups: tuple[PlannedGroup, ...]
    conversions: tuple[PlannedConversion, ...] = ()
    edges: tuple[tuple[str, str], ...]
    outer_edges: tuple[tuple[str, str], ...]
    converted_inner_edges: tuple[tuple[str, str], ...] = ()
    converted_outer_edges: tuple[tuple[str, str], ...] = ()
    tasks_map: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-like data."""
        data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return data

    def render_tree(self) -> str:
        """The plan as text: groups, what stands in them, what runs each task, and after what."""
        from cosmos_venv.rendering.diagrams import to_text

        return to_text(self)

    def __str__(self) -> str:
        return self.render_tree()
