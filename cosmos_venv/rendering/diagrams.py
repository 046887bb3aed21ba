"""How is a plan drawn, for people and for the tools that they draw with? As Mermaid, as DOT, and as an outline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Union

from cosmos_venv.rendering.planned import Plan, PlannedTask

_INDENT = "    "


@dataclass(frozen=True, kw_only=True)
class DrawnGroup:
    """A group of tasks.

    :param parent: id of the group that it stands in; None: at the root.
    """

    id: str
    label: str
    parent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A group with what stands in it, in the order of the plan."""

    group: DrawnGroup
    members: tuple[Member, ...]


Member = Union[Branch, PlannedTask]  # noqa: UP007 - it is made while Python 3.10 reads the file


def drawn_groups(plan: Plan) -> list[DrawnGroup]:
    """The groups of a plan, a group before those that stand in it."""
    return [DrawnGroup(id=group.group_id, label=group.label, parent=group.parent) for group in plan.groups]


def outline(plan: Plan, groups: Sequence[DrawnGroup] | None = None) -> list[Member]:
    """What stands at the root: tasks and branches, in the order of their first tasks.

    :param groups: default: those of the plan.
    """
    groups = drawn_groups(plan) if groups is None else groups
    first = {task.task_id: number for number, task in reversed([*enumerate(plan.tasks)])}
    inside: dict[str | None, list[tuple[int, Member]]] = {}
    for task in plan.tasks:
        inside.setdefault(task.group, []).append((first[task.task_id], task))
    for group in reversed(groups):  # whose members are known by now
        members = sorted(inside.pop(group.id, []), key=lambda each: each[0])
        place = members[0][0] if members else len(plan.tasks)
        branch = Branch(group=group, members=tuple(member for _, member in members))
        inside.setdefault(group.parent, []).append((place, branch))
    return [member for _, member in sorted(inside.get(None, []), key=lambda each: each[0])]


def upstream_of(plan: Plan) -> dict[str, list[str]]:
    """Ids of the tasks that come right before each task which any come before."""
    found: dict[str, list[str]] = {}
    for before, after in plan.edges:
        found.setdefault(after, []).append(before)
    return found


def kind_of(task: PlannedTask) -> str:
    """What runs the task, in a word: the operator's class, or ``empty``."""
    return task.operator.rpartition(".")[2]


def to_mermaid(plan: Plan) -> str:
    """The plan as a Mermaid flowchart, groups as subgraphs.

    Ids are made of numbers, as Mermaid has words of its own and takes few characters; what people read is in labels.
    """
    tasks = {task.task_id: f"task_{number}" for number, task in enumerate(plan.tasks)}
    groups = {group.id: f"group_{number}" for number, group in enumerate(drawn_groups(plan))}

    def opened(group: DrawnGroup) -> str:
        return f'subgraph {groups[group.id]} ["{_for_mermaid(group.label)}"]'

    def drawn(task: PlannedTask) -> str:
        begin, end = ("([", "])") if task.is_placeholder else ("[", "]")
        return f'{tasks[task.task_id]}{begin}"{_for_mermaid(task.label)}"{end}'

    lines = [*_nested(outline(plan), opened, drawn, closed="end")]
    lines += [f"{_INDENT}{tasks[before]} --> {tasks[after]}" for before, after in plan.edges]
    return "\n".join(["flowchart LR", *lines]) + "\n"


def to_dot(plan: Plan, name: str = "dag") -> str:
    """The plan in Graphviz's language, groups as clusters. Nodes are called by the ids of their tasks.

    :param name: of the graph.
    """

    def opened(group: DrawnGroup) -> str:
        # Only what is called cluster... gets a frame.
        return f"subgraph {_for_dot(f'cluster_{group.id}')} {{ label={_for_dot(group.label)};"

    def drawn(task: PlannedTask) -> str:
        style = ", style=dashed" if task.is_placeholder else ""
        return f"{_for_dot(task.task_id)} [label={_for_dot(task.label)}, tooltip={_for_dot(kind_of(task))}{style}];"

    lines = [f"digraph {_for_dot(name)} {{", f"{_INDENT}rankdir=LR;", f"{_INDENT}node [shape=box];"]
    lines += _nested(outline(plan), opened, drawn, closed="}")
    lines += [f"{_INDENT}{_for_dot(before)} -> {_for_dot(after)};" for before, after in plan.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _nested(
    members: Sequence[Member],
    opened: Callable[[DrawnGroup], str],
    drawn: Callable[[PlannedTask], str],
    *,
    closed: str,
    depth: int = 1,
) -> Iterator[str]:
    indent = _INDENT * depth
    for member in members:
        if isinstance(member, PlannedTask):
            yield indent + drawn(member)
        else:
            yield indent + opened(member.group)
            yield from _nested(member.members, opened, drawn, closed=closed, depth=depth + 1)
            yield indent + closed


def _for_mermaid(text: str) -> str:
    """Without what ends a label, begins an entity, a tag or Markdown."""
    kept = " .-_"
    return "".join(each if each.isalnum() or each in kept else f"#{ord(each)};" for each in text)


def _for_dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
