"""The shape of a DAG as plain data: its tasks, groups and edges, without values that change between runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse

_STEP = "  "
_DEFAULT_RULE = "all_success"


@dataclass(frozen=True, kw_only=True)
class DagShape:
    """The shape of a DAG, to be compared with another or a stored shape.

    :param data: ``dag_id``, ``groups`` (id -> id of the group around it, or None) and ``tasks`` (id -> ``type``,
        ``group``, ``upstream``, ``trigger_rule``, and the fields that were asked for); everything sorted.
    """

    data: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The shape as a tree, with a line for each fact, so that a diff shows each change."""
        return "\n".join([f"dag {self.data['dag_id']}", *self._members(None, _STEP), ""])

    def __str__(self) -> str:
        return self.text

    def _members(self, group: str | None, indent: str) -> Iterator[str]:
        groups = [name for name, around in self.data["groups"].items() if around == group]
        tasks = [name for name, task in self.data["tasks"].items() if task["group"] == group]
        for name in sorted([*groups, *tasks]):
            if name in groups:
                yield f"{indent}group {name}"
                yield from self._members(name, indent + _STEP)
            else:
                yield from _task_lines(name, self.data["tasks"][name], indent)


def dag_shape(dag: Any, *, fields: Sequence[str] = ()) -> DagShape:
    """Return the shape of a DAG, the same in every process and on Airflow 2 and 3.

    :param dag: a DAG, as a DAG file builds it.
    :param fields: arguments of operators that the shape includes, such as ``("select", "exclude")``; a task may lack
        them.
    :raises ToolkitMisuse: ``dag`` is no DAG, no task has such a field, or a field's value is no plain data.
    """
    if not (hasattr(dag, "task_dict") and hasattr(dag, "dag_id")):
        raise ToolkitMisuse(f"The shape of a DAG was asked for, and what was given is {_kind(dag)}.")
    if isinstance(fields, str):
        raise ToolkitMisuse(f"fields={fields!r}: give a list, such as [{fields!r}].")
    tasks = [dag.task_dict[name] for name in sorted(dag.task_dict)]
    unknown = [field for field in fields if field not in known_fields(dag, fields)]
    if unknown:
        raise ToolkitMisuse(f"fields={list(fields)!r}: no task of DAG {dag.dag_id!r} has {unknown[0]!r}.")
    return DagShape(
        data={
            "dag_id": dag.dag_id,
            "groups": dict(sorted(_groups(tasks))),
            "tasks": {task.task_id: _task(task, fields) for task in tasks},
        }
    )


def known_fields(dag: Any, fields: Sequence[str]) -> list[str]:
    """Return the fields that at least one task of a DAG has.

    :param dag: a DAG.
    :param fields: names of arguments of operators.
    """
    return [field for field in fields if any(_has(task, field) for task in dag.task_dict.values())]


def _task(task: Any, fields: Sequence[str]) -> dict[str, Any]:
    shape = {
        "type": task.task_type,
        "group": _group_id(task.task_group),
        "upstream": sorted(task.upstream_task_ids),
        "trigger_rule": _plain(task.trigger_rule, task, "trigger_rule"),
    }
    marks = {"mapped": hasattr(task, "partial_kwargs"), "setup": task.is_setup, "teardown": task.is_teardown}
    shape |= {mark: True for mark, is_set in marks.items() if is_set}
    return {**shape, **{field: _plain(_value(task, field), task, field) for field in fields if _has(task, field)}}


def _groups(tasks: Sequence[Any]) -> Iterator[tuple[str, str | None]]:
    for task in tasks:
        group = task.task_group
        while (name := _group_id(group)) is not None:
            yield name, _group_id(group.parent_group)
            group = group.parent_group


def _group_id(group: Any) -> str | None:
    return None if group is None else group.group_id


def _has(task: Any, field: str) -> bool:
    return hasattr(task, field) or field in getattr(task, "partial_kwargs", {})


def _value(task: Any, field: str) -> Any:
    # A mapped task keeps the arguments that its instances share in ``partial_kwargs``.
    shared = getattr(task, "partial_kwargs", {})
    return shared[field] if field in shared else getattr(task, field)


def _plain(value: Any, task: Any, field: str) -> Any:
    """Return a value as data that is written the same in every process."""
    if isinstance(value, Enum):
        return _plain(value.value, task, field)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (date, timedelta, PurePath)):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key], task, field) for key in sorted(value, key=str)}
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(one, task, field) for one in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [_plain(one, task, field) for one in value]
    raise ToolkitMisuse(
        f"Field {field!r} of task {task.task_id!r} is {_kind(value)}, which is written differently in every process: "
        "leave it out of fields=."
    )


def _task_lines(name: str, task: Mapping[str, Any], indent: str) -> Iterator[str]:
    marks = [mark for mark in ("mapped", "setup", "teardown") if mark in task]
    yield f"{indent}{name} ({', '.join([task['type'], *marks])})"
    for upstream in task["upstream"]:
        yield f"{indent}{_STEP}after {upstream}"
    if task["trigger_rule"] != _DEFAULT_RULE:
        yield f"{indent}{_STEP}trigger rule {task['trigger_rule']}"
    for field in sorted(task.keys() - {"type", "group", "upstream", "trigger_rule", *marks}):
        yield f"{indent}{_STEP}{field} = {task[field]!r}"


def _kind(value: Any) -> str:
    return f"an object of {type(value).__module__}.{type(value).__qualname__}"
