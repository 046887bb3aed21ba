"""The command ``cosmos-venv render``: it shows the plan of a DAG file or of a dbt project, and runs nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from cosmos_venv.cli.output import OK, only_the_result_on_stdout, tell
from cosmos_venv.cli.parsing import add_action
from cosmos_venv.constants import LoadMode, TestBehavior
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    import argparse

    from cosmos_venv.cli.parsing import Actions
    from cosmos_venv.rendering.model import Member, Plan

FORMATS = ("tree", "json", "mermaid", "dot", "markdown")
_OF_CHANGES = ("tree", "json", "mermaid", "markdown")
TEST_BEHAVIORS = tuple(behavior.value for behavior in TestBehavior)
_WIDE = 10_000  # columns: rich cuts off the lines of a tree
_DESCRIPTION = (
    "Shows the tasks, groups and edges of a dbt project as a tree, as JSON, or as a Mermaid or DOT diagram. A DAG "
    "file is imported as Airflow does it, and its DbtDag or DbtTaskGroup is shown as it is configured. The folder of "
    "a project (with a target/manifest.json) or a manifest is rendered with the defaults and the options of this "
    "command. No task runs, but a DAG file that loads with dbt ls runs dbt ls. Exit code 1: the file cannot be "
    "imported or read, has no dbt project or several, the selection is refused, or the output cannot be written. With "
    "--against it shows what has changed since a git revision or a stored plan."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The selection of a project to render, as dbt's command line says it.

    :param select: dbt selection texts; empty: all nodes.
    :param exclude: dbt selection texts of what is left out of these.
    :param selector: name of a selector in ``selectors.yml``; None: there is none.
    :param test_behavior: where tests stand, a value of ``TestBehavior``; None: the default.
    """

    select: Sequence[str] = ()
    exclude: Sequence[str] = ()
    selector: str | None = None
    test_behavior: str | None = None

    @property
    def given(self) -> list[str]:
        """Return the options that were used, as they are written."""
        return [f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value]

    @property
    def words(self) -> list[str]:
        """The options as words of a command line."""
        given = [("--select", self.select), ("--exclude", self.exclude)]
        words = [word for name, items in given if items for word in (name, *items)]
        for name, value in (("--selector", self.selector), ("--test-behavior", self.test_behavior)):
            words += [name, value] if value else []
        return words


@dataclass(frozen=True, kw_only=True)
class Rendered:
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


def add_to(subjects: Actions) -> None:
    """Add ``cosmos-venv render``.

    :param subjects: the sub-commands of ``cosmos-venv``.
    """
    parser = add_action(subjects, "render", "show the plan of a DAG file or a dbt project", _DESCRIPTION)
    parser.add_argument(
        "target", type=Path, metavar="DAGFILE|PROJECT", help="a DAG file, a project's folder, a manifest"
    )
    parser.add_argument(
        "--format", choices=FORMATS, help="the format, by default tree; --json is the same as --format json"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to this file, not to standard output")
    parser.add_argument(
        "--against",
        metavar="REVISION|FILE",
        help="show only what has changed since a git revision, or since a plan that --format json has stored; markdown "
        "is a comment for a pull request",
    )
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
        "--test-behavior", choices=TEST_BEHAVIORS, help="where tests are placed, by default after_each"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    asked = Options(
        select=options.select, exclude=options.exclude, selector=options.selector, test_behavior=options.test_behavior
    )
    target = options.target
    if options.json and options.format not in (None, "json"):
        options.parser.error(f"--json and --format {options.format} are two formats: give one")
    if is_project(target):
        if options.dag_id or options.group:
            options.parser.error(f"{target} is a project: --dag-id and --group say which one of a DAG file is meant")
    elif asked.given:
        options.parser.error(f"{target} is a DAG file, and its RenderConfig says what {asked.given[0]} would")
    form = "json" if options.json else options.format or "tree"
    if options.against is None and form == "markdown":
        options.parser.error("--format markdown shows changes: give --against")
    if options.against is not None and form not in _OF_CHANGES:
        options.parser.error(
            f"--against has no --format {form}: give {', '.join(_OF_CHANGES[:-1])} or {_OF_CHANGES[-1]}"
        )
    return render(
        target,
        asked,
        dag_id=options.dag_id,
        group_id=options.group,
        form=form,
        output=options.output,
        against=options.against,
    )


def is_project(target: Path) -> bool:
    """Return whether a path means a dbt project: a folder or a manifest, and no DAG file.

    :param target: the path.
    """
    return target.is_dir() or target.suffix == ".json"


def render(
    target: Path,
    options: Options,
    *,
    dag_id: str | None,
    group_id: str | None,
    form: str,
    output: Path | None,
    against: str | None = None,
) -> int:
    """Show the plan of a DAG file or a dbt project, or what has changed in it.

    :param target: a DAG file, the folder of a dbt project, or a manifest.
    :param options: for a project.
    :param dag_id: which DAG is meant, where a DAG file has several; None: the only one.
    :param group_id: which group is meant, where a DAG has several; None: the only one.
    :param form: one of ``FORMATS``.
    :param output: file in place of stdout; None: stdout.
    :param against: a git revision or the file of a plan, with which it is compared; None: the whole is shown.
    :returns: the exit code.
    :raises CosmosValueError: when there is none to show, or it cannot be written.
    :raises CosmosLoadDbtException: when the project cannot be loaded.
    """
    try:
        with only_the_result_on_stdout():
            rendered = _of_project(target, options) if is_project(target) else _of_file(target, dag_id, group_id)
        if against is None:
            _show(rendered, form, output)
        else:
            _show_changes(rendered, against, target, [*options.words, *_chosen(dag_id, group_id)], form, output)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CosmosValueError(str(error)) from error
    return OK


def _of_project(target: Path, options: Options) -> Rendered:
    from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
    from cosmos_venv.project.graph import DbtGraph
    from cosmos_venv.rendering.planner import plan

    manifest, folder = _manifest_of(Path(os.path.abspath(target)))  # noqa: PTH100 - "." and ".." have no name, a link has its own
    render_config = RenderConfig(
        load_method=LoadMode.DBT_MANIFEST,
        select=list(options.select),
        exclude=list(options.exclude),
        selector=options.selector,
        test_behavior=TestBehavior(options.test_behavior) if options.test_behavior else TestBehavior.AFTER_EACH,
    )
    project_config = ProjectConfig(project_name=folder.name, manifest_path=manifest)
    execution_config = ExecutionConfig(dbt_project_path=folder)
    graph = DbtGraph(project=project_config, render_config=render_config, execution_config=execution_config)
    graph.load()
    planned = plan(
        graph.filtered_nodes,
        render_config=render_config,
        execution_config=execution_config,
        project_config=project_config,
        operator_args={},
    )
    return Rendered(dag_id=folder.name, group_id=None, plan=planned)


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
    if not target.is_file():
        raise CosmosValueError(f"{target} does not exist. Give a DAG file, the folder of a dbt project or a manifest.")
    return target, target.parent.parent if target.parent.name == "target" else target.parent


def _of_file(target: Path, dag_id: str | None, group_id: str | None) -> Rendered:
    if not target.is_file():
        raise CosmosValueError(f"{target} does not exist. Give a DAG file, the folder of a dbt project or a manifest.")
    from cosmos_venv.cli.dag_files import import_dag_file

    try:
        dags = import_dag_file(target)
    # A DAG file may raise anything, and may end the interpreter.
    except (Exception, SystemExit) as error:
        raise CosmosValueError(f"{target} cannot be imported: {type(error).__name__}: {error}") from error
    found = [rendered for dag in dags for rendered in _plans_of(dag)]
    if not found:
        raise CosmosValueError(f"{target} makes no DbtDag and no DbtTaskGroup, so that it has no plan.")
    _warn_if_passed_over(target)
    chosen = [each for each in found if _is_meant(each, dag_id, group_id)]
    if len(chosen) == 1:
        return chosen[0]
    known = "; ".join(each.name for each in found)
    what = "several of these are meant" if chosen else "none of these is meant"
    raise CosmosValueError(f"{target} has {known}: {what}. Say which one with --dag-id and --group.")


def _warn_if_passed_over(target: Path) -> None:
    """Say that Airflow would not look into a file, which is imported all the same."""
    from cosmos_venv.cli.doctor.configuration_check import FIND_IT, why_passed_over
    from cosmos_venv.compat import looks_for_words

    if looks_for_words() and (passed_over := why_passed_over(target.read_bytes())):
        tell(f"{target}: {passed_over} {FIND_IT}", "yellow")


def _is_meant(rendered: Rendered, dag_id: str | None, group_id: str | None) -> bool:
    return dag_id in (None, rendered.dag_id) and group_id in (None, rendered.group_id)


def _plans_of(dag: object) -> list[Rendered]:
    from cosmos_venv.dag import DbtDag, DbtTaskGroup

    dag_id: str = dag.dag_id  # type: ignore[attr-defined]
    groups: dict[str, object] = dag.task_group_dict  # type: ignore[attr-defined]
    found = [Rendered(dag_id=dag_id, group_id=None, plan=dag.plan)] if isinstance(dag, DbtDag) else []
    for group_id, group in sorted(groups.items(), key=lambda each: each[0] or ""):
        if isinstance(group, DbtTaskGroup):
            found.append(Rendered(dag_id=dag_id, group_id=group_id, plan=group.plan))
    return found


def _show(rendered: Rendered, form: str, output: Path | None) -> None:
    if form == "tree" and output is None:
        console = Console(highlight=False, width=_WIDE)
        with console.capture() as capture:
            console.print(_tree(rendered))
        sys.stdout.write(capture.get())
        return
    _write(_WRITERS[form](rendered), output)


def _chosen(dag_id: str | None, group_id: str | None) -> list[str]:
    return [word for name, value in (("--dag-id", dag_id), ("--group", group_id)) if value for word in (name, value)]


def _show_changes(
    rendered: Rendered, against: str, target: Path, words: list[str], form: str, output: Path | None
) -> None:
    from cosmos_venv.cli.render_against import plan_against
    from cosmos_venv.rendering.plan_changes import changes_between, changes_to_mermaid, to_lines, to_markdown

    before = plan_against(against, target, words)
    changes = changes_between(before, rendered.plan)
    name = f"{rendered.name} against {against}"
    if form == "json":
        text = json.dumps({"dag_id": rendered.dag_id, "group_id": rendered.group_id, **changes.to_dict()}, indent=2)
    elif form == "tree":
        text = "\n".join(to_lines(changes, name))
    else:
        text = changes_to_mermaid(before, rendered.plan, changes).rstrip("\n")
        if form == "markdown":
            text = to_markdown(changes, name, f"{text}\n").rstrip("\n")
    _write(f"{text}\n", output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    output.write_text(text, encoding="utf-8")
    tell(f"{output} is written.", "dim")


def _tree(rendered: Rendered) -> Tree:
    from cosmos_venv.rendering.model import outline, upstream_of

    plan = rendered.plan
    root = Tree(f"[bold]{escape(rendered.name)}[/]  {_counted(plan)}")
    _grow(root, outline(plan), upstream_of(plan))
    return root


def _grow(tree: Tree, members: Sequence[Member], upstream: Mapping[str, list[str]]) -> None:
    from cosmos_venv.rendering.model import Branch, key_of, kind_of, label_of

    for member in members:
        before = ", ".join(upstream.get(key_of(member), ()))
        after = f"  [dim]<- {escape(before)}[/]" if before else ""
        if isinstance(member, Branch):
            _grow(tree.add(f"[bold]{escape(label_of(member))}[/]{after}"), member.members, upstream)
        else:
            tree.add(f"{escape(label_of(member))}  [cyan]{escape(kind_of(member))}[/]{after}")


def _counted(plan: Plan) -> str:
    from cosmos_venv.rendering.model import edges_of

    counts = {"task": len(plan.tasks) + len(plan.conversions), "group": len(plan.groups), "edge": len(edges_of(plan))}
    return ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())


def _tree_text(rendered: Rendered) -> str:
    console = Console(color_system=None, highlight=False, width=_WIDE)
    with console.capture() as capture:
        console.print(_tree(rendered))
    return capture.get()


def _json(rendered: Rendered) -> str:
    data = {"dag_id": rendered.dag_id, "group_id": rendered.group_id, **rendered.plan.to_dict()}
    return json.dumps(data, indent=2) + "\n"


def _mermaid(rendered: Rendered) -> str:
    from cosmos_venv.rendering.diagrams import to_mermaid

    return to_mermaid(rendered.plan)


def _dot(rendered: Rendered) -> str:
    from cosmos_venv.rendering.diagrams import to_dot

    return to_dot(rendered.plan, rendered.name)


_WRITERS: dict[str, Callable[[Rendered], str]] = {
    "tree": _tree_text,
    "json": _json,
    "mermaid": _mermaid,
    "dot": _dot,
}
