"""The command ``cosmos-venv render``: it shows the plan of a DAG file or of a dbt project, and runs nothing."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape
from rich.tree import Tree

from cosmos_venv.cli.output import Result, counted, rendered, tell
from cosmos_venv.cli.parsing import add_action
from cosmos_venv.constants import LoadMode, TestBehavior
from cosmos_venv.exceptions import CosmosValueError
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
    upstream_of,
)

if TYPE_CHECKING:
    from cosmos_venv.cli.parsing import Actions

_INDENT = "    "


@dataclass(frozen=True, kw_only=True)
class RenderedPlan:
    """One dbt project in a DAG.

    :param dag_id: id of the DAG.
    :param group_id: None where the DAG is the project.
    :param plan: its tasks and their order.
    """

    dag_id: str
    group_id: str | None
    plan: Plan

    @property
    def name(self) -> str:
        """The name of the DAG, or of DAG and group."""
        return self.dag_id if self.group_id is None else f"{self.dag_id}, group {self.group_id}"

    @property
    def data(self) -> dict[str, Any]:
        """The plan as JSON shows it."""
        return {"dag_id": self.dag_id, "group_id": self.group_id, **self.plan.to_dict()}


def add_to(subjects: Actions) -> None:
    """Add ``cosmos-venv render``.

    :param subjects: the sub-commands of ``cosmos-venv``.
    """
    parser = add_action(subjects, "render", "show the plan of a DAG file or a dbt project", render)
    parser.add_argument(
        "target", type=Path, metavar="DAGFILE|PROJECT", help="a DAG file, a project's folder, a manifest"
    )
    parser.add_argument(
        "--format", choices=_WRITERS, help="the format, by default tree; --json is the same as --format json"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to this file, not to standard output")
    of_file = parser.add_argument_group("If a DAG file has several")
    of_file.add_argument("--dag-id", metavar="ID", help="the DAG to show")
    of_file.add_argument("--group", metavar="ID", help="the DbtTaskGroup to show, with the groups around it")
    of_project = parser.add_argument_group("For a project")
    for name in ("--select", "--exclude"):
        of_project.add_argument(
            name, nargs="+", action="extend", default=[], metavar="ITEM", help="items as in dbt's option of this name"
        )
    of_project.add_argument("--selector", metavar="NAME", help="a YAML selector of the manifest")
    of_project.add_argument(
        "--test-behavior",
        choices=[each.value for each in TestBehavior],
        help="where tests are placed, by default after_each",
    )


def render(options: argparse.Namespace) -> Result:
    """Show the tasks, groups and edges of a dbt project as a tree, as JSON, or as a Mermaid or DOT diagram.

    A DAG file is imported as Airflow does it, and its DbtDag or DbtTaskGroup is shown as it is configured. The folder
    of a project (with a target/manifest.json) or a manifest is rendered with the defaults and the options of this
    command. No task runs, but a DAG file that loads with dbt ls runs dbt ls. Exit code 1: the file cannot be imported
    or read, has no dbt project or several, the selection is refused, or the output cannot be written.

    :param options: the command line.
    :raises CosmosValueError: when there is no plan, or when one of several has to be chosen.
    """
    target, output = options.target, options.output
    if not target.exists():
        raise CosmosValueError(f"{target} does not exist. Give a DAG file, the folder of a dbt project or a manifest.")
    if is_project(target):
        if options.dag_id or options.group:
            options.parser.error(f"{target} is a project: --dag-id and --group say which one of a DAG file is meant")
        found = _of_project(options)
    else:
        of_project = ("select", "exclude", "selector", "test_behavior")
        if given := next((name for name in of_project if getattr(options, name)), None):
            option = f"--{given.replace('_', '-')}"
            options.parser.error(f"{target} is a DAG file, and its RenderConfig says what {option} would")
        found = _of_file(target, options.dag_id, options.group)
    write = _WRITERS[options.format or ("json" if options.json else "tree")]
    if output is None:
        return Result(data=found.data, shown=[write(found)])
    output.write_text(rendered([write(found)], has_colors=False), encoding="utf-8")
    tell(f"{output} is written.", "dim")
    return Result(data=found.data)


def is_project(target: Path) -> bool:
    """Return whether a path is a dbt project (a folder or a manifest) and not a DAG file.

    :param target: the path.
    """
    return target.is_dir() or target.suffix == ".json"


def _of_project(options: argparse.Namespace) -> RenderedPlan:
    from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
    from cosmos_venv.project.graph import DbtGraph
    from cosmos_venv.rendering.plan_request import PlanRequest
    from cosmos_venv.rendering.planner import plan

    manifest, folder = _manifest_of(Path(os.path.abspath(options.target)))  # noqa: PTH100 - "." and ".." have no name, a link has its own
    render_config = RenderConfig(
        load_method=LoadMode.DBT_MANIFEST,
        select=options.select,
        exclude=options.exclude,
        selector=options.selector,
        test_behavior=options.test_behavior or TestBehavior.AFTER_EACH,
    )
    project_config = ProjectConfig(project_name=folder.name, manifest_path=manifest)
    execution_config = ExecutionConfig(dbt_project_path=folder)
    graph = DbtGraph(project=project_config, render_config=render_config, execution_config=execution_config)
    graph.load()
    request = PlanRequest(
        nodes=graph.filtered_nodes,
        known=graph.nodes,
        render=render_config,
        execution=execution_config,
        project=project_config,
        operator_args={},
    )
    return RenderedPlan(dag_id=folder.name, group_id=None, plan=plan(request))


def _manifest_of(target: Path) -> tuple[Path, Path]:
    """The manifest, and the folder of its project."""
    if target.is_dir():
        manifest = target / "target" / "manifest.json"
        if not manifest.is_file():
            raise CosmosValueError(
                f"{target} has no target/manifest.json. Run `dbt parse` there, or name the manifest itself, or a DAG "
                "file that loads the project in another way."
            )
        return manifest, target
    return target, target.parent.parent if target.parent.name == "target" else target.parent


def _of_file(target: Path, dag_id: str | None, group_id: str | None) -> RenderedPlan:
    from cosmos_venv.cli.dag_files import FIND_IT, import_dag_file, why_passed_over

    try:
        dags = import_dag_file(target)
    # A DAG file may raise anything, and may end the interpreter.
    except (Exception, SystemExit) as error:
        raise CosmosValueError(f"{target} cannot be imported: {type(error).__name__}: {error}") from error
    found = [each for dag in dags for each in _plans_of(dag)]
    if not found:
        raise CosmosValueError(f"{target} makes no DbtDag and no DbtTaskGroup, so that it has no plan.")
    if passed_over := why_passed_over(target.read_bytes()):
        tell(f"{target}: {passed_over} {FIND_IT}", "yellow")
    chosen = [each for each in found if dag_id in (None, each.dag_id) and group_id in (None, each.group_id)]
    if len(chosen) == 1:
        return chosen[0]
    known = "; ".join(each.name for each in found)
    what = "several of these are meant" if chosen else "none of these is meant"
    raise CosmosValueError(f"{target} has {known}: {what}. Say which one with --dag-id and --group.")


def _plans_of(dag: object) -> list[RenderedPlan]:
    from cosmos_venv.dag import DbtDag, DbtTaskGroup

    dag_id: str = dag.dag_id  # type: ignore[attr-defined]
    groups: dict[str, object] = dag.task_group_dict  # type: ignore[attr-defined]
    found = [RenderedPlan(dag_id=dag_id, group_id=None, plan=dag.plan)] if isinstance(dag, DbtDag) else []
    for group_id, group in sorted(groups.items(), key=lambda each: each[0] or ""):
        if isinstance(group, DbtTaskGroup):
            found.append(RenderedPlan(dag_id=dag_id, group_id=group_id, plan=group.plan))
    return found


def _tree(shown: RenderedPlan) -> Tree:
    plan = shown.plan
    counts = {"task": len(plan.tasks) + len(plan.conversions), "group": len(plan.groups), "edge": len(plan.edges)}
    whole = ", ".join(counted(count, name) for name, count in counts.items())
    root = Tree(f"[bold]{escape(shown.name)}[/]  {whole}")
    _grow(root, outline(plan), upstream_of(plan))
    return root


def _grow(tree: Tree, members: Sequence[Member], upstream: Mapping[str, list[str]]) -> None:
    for member in members:
        before = ", ".join(upstream.get(member.key, ()))
        after = f"  [dim]<- {escape(before)}[/]" if before else ""
        if isinstance(member, Branch):
            _grow(tree.add(f"[bold]{escape(member.label)}[/]{after}"), member.members, upstream)
        else:
            tree.add(f"{escape(member.label)}  [cyan]{escape(kind_of(member))}[/]{after}")


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


_WRITERS: dict[str, Callable[[RenderedPlan], RenderableType]] = {
    "tree": _tree,
    "json": lambda shown: json.dumps(shown.data, indent=2),
    "mermaid": lambda shown: to_mermaid(shown.plan),
    "dot": lambda shown: to_dot(shown.plan, shown.name),
}
