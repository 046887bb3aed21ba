"""What is said of a DAG of a dbt project, and what becomes of it? Plain data, so that it is built elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .tasks import Task

BEFORE, AFTER = "before", "after"
"""Ids of the ordinary tasks around task groups."""


@dataclass(frozen=True, kw_only=True)
class DagPlan:
    """What a DAG file says of a dbt project.

    An argument that takes a member of an enum has the member's value, such as ``virtualenv``.

    :param project: arguments of ``ProjectConfig``, its first one as ``dbt_project_path``.
    :param profile: as of a ``Task``.
    :param execution: arguments of ``ExecutionConfig``.
    :param render: arguments of ``RenderConfig``.
    :param operator_args: of all its operators.
    :param groups: ids of DbtTaskGroups, each between two ordinary tasks ``before`` and ``after``; none: a DbtDag.
    :param dag: arguments of the DAG, or of the DbtDag.
    :param variables: of the environment of the process that builds it.
    :param folder: the current directory of that process; None: it does not matter.
    """

    project: Mapping[str, Any]
    profile: Mapping[str, Any]
    execution: Mapping[str, Any] = field(default_factory=dict)
    render: Mapping[str, Any] = field(default_factory=dict)
    operator_args: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    dag: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None


@dataclass(frozen=True, kw_only=True)
class TaskOfDag(Task):
    """The task of a DAG whose operator runs ``command``; profile and arguments are those of the DAG."""

    plan: DagPlan
    profile: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RenderedTask:
    """One task of a DAG.

    :param operator: name of its class; where it runs dbt, that of ``OPERATOR_CLASSES`` or the same of another mode.
    :param group: id of the group that it stands in, or None.
    :param downstream: ids of the tasks right after it, in order.
    """

    operator: str
    group: str | None = None
    downstream: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What became of a plan.

    :param tasks: by their ids.
    :param exception: type and text of what building the DAG raised, or None.
    """

    tasks: Mapping[str, RenderedTask] = field(default_factory=dict)
    exception: str | None = None

    @property
    def edges(self) -> frozenset[tuple[str, str]]:
        """Every pair of a task and one right after it."""
        return frozenset((name, after) for name, task in self.tasks.items() for after in task.downstream)

    def __str__(self) -> str:
        if self.exception is not None:
            return self.exception
        told = (f"{name} ({task.operator}) before {list(task.downstream)}" for name, task in self.tasks.items())
        return f"{len(self.tasks)} tasks: {', '.join(told)}"
