"""Diagrams of a plan as Mermaid and as DOT, for people and for the tools that they draw with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from cosmos_venv.rendering.model import (
    Branch,
    Entry,
    Member,
    Plan,
    PlannedConversion,
    PlannedGroup,
    PlannedTask,
    kind_of,
    outline,
)

_INDENT = "    "


def to_mermaid(plan: Plan) -> str:
    """A plan as a Mermaid flowchart, groups as subgraphs, conversions as hexagons.

    Ids are made of numbers: Mermaid has reserved words and allows few characters. Labels hold the text for people.

    :param plan: the plan.
    """
    ids = {task.task_id: f"task_{number}" for number, task in enumerate(plan.tasks)}
    ids |= {made.key: f"made_{number}" for number, made in enumerate(plan.conversions)}
    ids |= {group.group_id: f"group_{number}" for number, group in enumerate(plan.groups)}

    def opened(group: PlannedGroup) -> str:
        return f'subgraph {ids[group.group_id]} ["{_for_mermaid(group.label)}"]'

    def drawn(entry: Entry) -> str:
        begin, end = ("{{", "}}") if isinstance(entry, PlannedConversion) else ("[", "]")
        if _is_placeholder(entry):
            begin, end = "([", "])"
        return f'{ids[entry.key]}{begin}"{_for_mermaid(_text_of(entry))}"{end}'

    lines = [*_nested(outline(plan), opened, drawn, closed="end")]
    lines += [f"{_INDENT}{ids[before]} --> {ids[after]}" for before, after in plan.edges]
    return "\n".join(["flowchart LR", *lines])


def to_dot(plan: Plan, name: str = "dag") -> str:
    """A plan in Graphviz's language, groups as clusters, conversions as hexagons.

    Nodes are called by the ids of their tasks, or by the keys of their conversions.

    :param plan: the plan.
    :param name: the name of the graph.
    """

    def opened(group: PlannedGroup) -> str:
        # Only a subgraph named cluster... gets a frame. An edge of the group ends at a point in it, cut at the frame.
        name, point = _for_dot(_cluster(group.group_id)), _for_dot(group.group_id)
        return f"subgraph {name} {{ label={_for_dot(group.label)}; {point} [shape=point, style=invis];"

    def drawn(entry: Entry) -> str:
        style = ", style=dashed" if _is_placeholder(entry) else ""
        style += ", shape=hexagon" if isinstance(entry, PlannedConversion) else ""
        return f"{_for_dot(entry.key)} [label={_for_dot(_text_of(entry))}, tooltip={_for_dot(kind_of(entry))}{style}];"

    lines = [f"digraph {_for_dot(name)} {{", f"{_INDENT}rankdir=LR;", f"{_INDENT}compound=true;"]
    lines += [f"{_INDENT}node [shape=box];", *_nested(outline(plan), opened, drawn, closed="}")]
    groups = {group.group_id for group in plan.groups}
    lines += [f"{_INDENT}{_dot_edge(before, after, groups)};" for before, after in plan.edges]
    return "\n".join([*lines, "}"])


def _dot_edge(before: str, after: str, groups: Collection[str]) -> str:
    frames = [f"ltail={_for_dot(_cluster(before))}"] if before in groups else []
    frames += [f"lhead={_for_dot(_cluster(after))}"] if after in groups else []
    return f"{_for_dot(before)} -> {_for_dot(after)}" + (f" [{', '.join(frames)}]" if frames else "")


def _cluster(group_id: str) -> str:
    return f"cluster_{group_id}"


def _text_of(entry: Entry) -> str:
    """The text in the shape of a task. Several conversions may have the same id: their converter tells them apart."""
    return f"{entry.label} {kind_of(entry)}" if isinstance(entry, PlannedConversion) else entry.label


def _is_placeholder(entry: Entry) -> bool:
    return isinstance(entry, PlannedTask) and entry.is_placeholder


def _nested(
    members: Sequence[Member],
    opened: Callable[[PlannedGroup], str],
    drawn: Callable[[Entry], str],
    *,
    closed: str,
    depth: int = 1,
) -> Iterator[str]:
    indent = _INDENT * depth
    for member in members:
        if isinstance(member, Branch):
            yield indent + opened(member.group)
            yield from _nested(member.members, opened, drawn, closed=closed, depth=depth + 1)
            yield indent + closed
        else:
            yield indent + drawn(member)


def _for_mermaid(text: str) -> str:
    """Escape the characters that end a label, or begin an entity, a tag or Markdown."""
    kept = " .-_"
    return "".join(each if each.isalnum() or each in kept else f"#{ord(each)};" for each in text)


def _for_dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
