"""What is different between two plans of a DAG: tasks, edges and arguments. Pure: two plans in, their changes out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from cosmos_venv.rendering.model import Plan, PlannedTask, edges_of, kind_of

_COMMAND = re.compile(r"Dbt([A-Z][a-z]+)")
_ABSENT = "-"
_LONGEST_VALUE = 200  # characters, for people; JSON has the whole
_COLORS = {"added": "#2da44e", "removed": "#cf222e", "renamed": "#bf8700", "changed": "#0969da"}
_NOT_PLAIN = re.compile(r"[^\w .-]")


class ArgumentChange(msgspec.Struct, frozen=True, kw_only=True):
    """An argument of a task that is another one now.

    :param task_id: of the task, as it is called now.
    :param name: of the argument; ``operator`` is the class.
    :param before: as JSON; ``-``: there was none.
    :param after: as JSON; ``-``: there is none.
    """

    task_id: str
    name: str
    before: str
    after: str


class PlanChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The changes between two plans.

    :param added: ids of tasks that are new.
    :param removed: ids of tasks that are gone.
    :param renamed: ids of tasks that run the same command for the same node under another id: the one before, and the
        one now. Airflow's history of the task stays with the one before.
    :param edges_added: upstream and downstream task of edges that are new.
    :param edges_removed: likewise of those that are gone; renamed tasks have their new ids.
    :param arguments: arguments of tasks that stand in both plans.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    edges_added: tuple[tuple[str, str], ...] = ()
    edges_removed: tuple[tuple[str, str], ...] = ()
    arguments: tuple[ArgumentChange, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The changes as JSON-like data."""
        data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return data

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__struct_fields__)

    @property
    def summary(self) -> str:
        """How many there are of each, in a line."""
        counts = {
            "{} task{} added": len(self.added),
            "{} task{} removed": len(self.removed),
            "{} task{} renamed": len(self.renamed),
            "{} edge{} added": len(self.edges_added),
            "{} edge{} removed": len(self.edges_removed),
            "{} argument{} changed": len(self.arguments),
        }
        found = [text.format(count, "s" * (count != 1)) for text, count in counts.items() if count]
        return ", ".join(found) or "no changes"


def changes_between(before: Plan, after: Plan) -> PlanChanges:
    """The changes that lead from one plan to another.

    Tasks of node converters are compared by their keys, since only the converter knows their ids.

    :param before: the older plan.
    :param after: the newer one.
    """
    old, new = _entries(before), _entries(after)
    renamed = _renamed(
        {key: task for key, task in old.items() if key not in new},
        {key: task for key, task in new.items() if key not in old},
    )
    now = dict(renamed)
    old_edges = {(now.get(above, above), now.get(below, below)) for above, below in edges_of(before)}
    new_edges = {*edges_of(after)}
    same = [(old[key], new[now.get(key, key)]) for key in old if now.get(key, key) in new]
    return PlanChanges(
        added=tuple(sorted(new.keys() - old.keys() - {*now.values()})),
        removed=tuple(sorted(old.keys() - new.keys() - {*now})),
        renamed=tuple(renamed),
        edges_added=tuple(sorted(new_edges - old_edges)),
        edges_removed=tuple(sorted(old_edges - new_edges)),
        arguments=tuple(change for pair in same for change in _argument_changes(*pair)),
    )


def _entries(plan: Plan) -> dict[str, PlannedTask | None]:
    """The tasks by id, and nothing for what converters make, by key."""
    return {task.task_id: task for task in plan.tasks} | {each.key: None for each in plan.conversions}


def _renamed(gone: Mapping[str, PlannedTask | None], new: Mapping[str, PlannedTask | None]) -> list[tuple[str, str]]:
    """Ids of tasks that run the same command for the same node."""
    of_role = {_role(task): key for key, task in new.items() if task is not None and task.node_id is not None}
    pairs = ((key, of_role.get(_role(task))) for key, task in gone.items() if task is not None)
    return sorted((before, after) for before, after in pairs if after is not None)


def _role(task: PlannedTask) -> tuple[str | None, str]:
    command = _COMMAND.search(kind_of(task))
    return task.node_id, command[1] if command else kind_of(task)


def _argument_changes(before: PlannedTask | None, after: PlannedTask | None) -> Iterator[ArgumentChange]:
    if before is None or after is None:
        return
    old, new = _arguments(before), _arguments(after)
    for name in sorted(old.keys() | new.keys()):
        texts = [_as_text(given.get(name, _ABSENT)) for given in (old, new)]
        if texts[0] != texts[1]:
            yield ArgumentChange(task_id=after.task_id, name=name, before=texts[0], after=texts[1])


def _arguments(task: PlannedTask) -> dict[str, Any]:
    profile = {f"profile_config.{name}": value for name, value in task.profile.items()}
    return {**task.defaults, **task.arguments, **profile, "operator": kind_of(task)}


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()


def to_lines(changes: PlanChanges, name: str) -> list[str]:
    """The changes as lines of text, the summary first.

    :param changes: the changes.
    :param name: what the two plans are called.
    """
    lines = [f"{name}: {changes.summary}"]
    lines += [f"added     {task_id}" for task_id in changes.added]
    lines += [f"removed   {task_id}" for task_id in changes.removed]
    lines += [f"renamed   {before} -> {after}" for before, after in changes.renamed]
    lines += [f"edge +    {above} -> {below}" for above, below in changes.edges_added]
    lines += [f"edge -    {above} -> {below}" for above, below in changes.edges_removed]
    lines += [
        f"argument  {each.task_id}: {each.name}: {_short(each.before)} -> {_short(each.after)}"
        for each in changes.arguments
    ]
    return lines


def to_markdown(changes: PlanChanges, name: str, picture: str) -> str:
    """The changes as a comment on a pull request: the summary, tables, and a picture.

    :param changes: the changes.
    :param name: what the two plans are called.
    :param picture: a Mermaid flowchart of them.
    """
    parts = [f"### {_cell(name)}\n\n{changes.summary[:1].upper()}{changes.summary[1:]}.\n"]
    if changes.renamed or changes.removed:
        parts.append("Airflow keeps the history of a task under its id: it stays with the ids that are gone.\n")
    tasks = [("added", "", each) for each in changes.added]
    tasks += [("renamed", before, after) for before, after in changes.renamed]
    tasks += [("removed", each, "") for each in changes.removed]
    parts.append(_table(("task", "before", "after"), tasks))
    edges = [("added", *each) for each in changes.edges_added] + [("removed", *each) for each in changes.edges_removed]
    parts.append(_table(("edge", "upstream", "downstream"), edges))
    arguments = [(each.task_id, each.name, _short(each.before), _short(each.after)) for each in changes.arguments]
    parts.append(_table(("task", "argument", "before", "after"), arguments))
    if changes:
        parts.append(f"```mermaid\n{picture}```\n")
    return "\n".join(part for part in parts if part)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [headings, ["---"] * len(headings), *([_cell(each) for each in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def changes_to_mermaid(before: Plan, after: Plan, changes: PlanChanges) -> str:
    """The changed tasks and their neighbours as a Mermaid flowchart, in colors: added, removed, renamed, changed.

    :param before: the older plan.
    :param after: the newer one.
    :param changes: between the two.
    """
    now = dict(changes.renamed)
    kinds = {each.task_id: "changed" for each in changes.arguments}
    kinds |= dict.fromkeys(changes.added, "added") | dict.fromkeys(changes.removed, "removed")
    kinds |= dict.fromkeys(now.values(), "renamed")
    edges = dict.fromkeys(edges_of(after), "-->")
    edges |= {(now.get(above, above), now.get(below, below)): "-->" for above, below in edges_of(before)}
    edges |= dict.fromkeys(changes.edges_removed, "-.-x") | dict.fromkeys(changes.edges_added, "==>")
    shown = {edge: arrow for edge, arrow in edges.items() if arrow != "-->" or kinds.keys() & {*edge}}
    names = sorted({*kinds} | {name for edge in shown for name in edge})
    ids = {name: f"task_{number}" for number, name in enumerate(names)}
    lines = [f'    {ids[name]}["{_NOT_PLAIN.sub(_entity, name)}"]' for name in names]
    lines += [f"    {ids[above]} {arrow} {ids[below]}" for (above, below), arrow in sorted(shown.items())]
    for kind, color in _COLORS.items():
        members = [ids[name] for name in names if kinds.get(name) == kind]
        if members:
            lines += [f"    classDef {kind} stroke:{color},stroke-width:3px", f"    class {','.join(members)} {kind}"]
    return "\n".join(["flowchart LR", *lines]) + "\n"


def _entity(found: re.Match[str]) -> str:
    return f"#{ord(found[0])};"
