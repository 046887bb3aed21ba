"""The checks: each is a function of a file's record, and has a name that stands in the ids of its items."""

from __future__ import annotations

import ast
import difflib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pytest_cosmos_venv.dag_checks import task_ids
from pytest_cosmos_venv.dag_checks.nodes import node_faults, test_faults, tests_of
from pytest_cosmos_venv.dag_checks.projects_of_file import CLASSES
from pytest_cosmos_venv.dag_checks.record import DagRecord, Installation
from pytest_cosmos_venv.dag_checks.store import SEEDS
from pytest_cosmos_venv.dags.side_effects import THROUGH
from pytest_cosmos_venv.environments.kept_dbt import uv_program
from pytest_cosmos_venv.throwaway import throwaway_folder

NETWORK_OPTION = "--cosmos-dags-network"
_SHOWN_LINES = 40
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_HAS_SOURCE = re.compile(r": a test of (?:.*, )?source\.")
_SHOWN_PARTS = 8
_LONGEST_RESOLUTION = 300.0
_LAST_LINES = 15
_LOCK_FILE = re.compile(r"(^|[/=]|^-r)pylock(\.[^./]+)?\.toml$")


@dataclass(frozen=True, kw_only=True)
class NotChecked:
    """The answer of a check that could not be made.

    :param reason: why, with the way out.
    :param is_gap: whether a run in CI fails for it: somebody has to do something before it can be made.
    """

    reason: str
    is_gap: bool = False


Answer: TypeAlias = "str | NotChecked | None"
"""The failure in words, why there was no check, or None: passed."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a check may look at.

    :param file: the DAG file.
    :param name: the file as the run names it, relative to the root directory.
    :param record: returns the record of a seed of Python's hashes.
    :param others: returns the records of all DAG files of the run but this one, by their names.
    :param budget: seconds that the import may take; None: Airflow's own limit.
    :param has_network: whether requirements are resolved.
    :param written: returns the record whose task ids become the snapshot; None: no snapshot is written in this run.
    """

    file: Path
    name: str
    record: Callable[[str], DagRecord]
    others: Callable[[], Mapping[str, DagRecord]]
    budget: float | None
    has_network: bool
    written: Callable[[], DagRecord] | None


def answer(check: str, question: Question) -> Answer:
    """Make a check, and return its answer.

    :param check: the name of the check.
    :param question: what it may look at.
    """
    record = question.record(SEEDS[0])
    if record.error is not None and check != "imports":
        return NotChecked(reason="the file cannot be imported: see ::imports")
    if record.needs is not None and not question.has_network:
        way_out = f"run once with {NETWORK_OPTION}, which installs it and keeps it in --cosmos-cache-dir"
        return NotChecked(reason=f"{record.needs}: {way_out}, or name a manifest", is_gap=True)
    if record.error is None and not record.tasks and not _needs_no_dag(check, question.file):
        if _only_defines(question.file):
            return NotChecked(reason="the file builds no DAG: it only defines functions or classes")
        way_out = f"bind it to a global name, or leave the file out with --ignore={question.name}"
        return NotChecked(reason=f"the file builds no DAG that Airflow would find: {way_out}", is_gap=True)
    return CHECKS[check](question, record)


def _needs_no_dag(check: str, file: Path) -> bool:
    """Whether a check has something to look at in a file without DAGs."""
    if check == "task_ids":
        return task_ids.snapshot_file(file).is_file()
    return check in ("imports", "no_side_effects")


def _only_defines(file: Path) -> bool:
    """Whether the import of a file would build no DAG on any condition: nothing at its top calls what makes one."""
    tree = ast.parse(file.read_bytes())
    makers = {*CLASSES, "DAG", "dag"}
    for each in tree.body:
        names = {getattr(inner, "id", None) or getattr(inner, "attr", None) for inner in ast.walk(each)}
        if isinstance(each, _DEFINITIONS) and names & makers:
            makers.add(each.name)
    return makers.isdisjoint(_called_at_import(tree))


def _called_at_import(tree: ast.AST) -> Iterator[str]:
    """Yield the names of what is called outside of functions, decorators included."""
    for node in ast.iter_child_nodes(tree):
        called = [node.func] if isinstance(node, ast.Call) else getattr(node, "decorator_list", [])
        yield from (str(getattr(each, "attr", getattr(each, "id", ""))) for each in called)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            # Of a decorator with arguments.
            yield from _called_at_import(ast.Tuple(elts=node.decorator_list, ctx=ast.Load()))
        elif not isinstance(node, ast.Lambda):
            yield from _called_at_import(node)


def _imports(question: Question, record: DagRecord) -> Answer:
    if record.error is not None:
        return f"{question.name} cannot be imported:\n{record.error.rstrip()}"
    budget = record.limit if question.budget is None else question.budget
    if record.seconds <= budget:
        return None
    parts = [f"{seconds:8.3f} s  {name}" for name, seconds in record.parts[:_SHOWN_PARTS]]
    said = "Airflow's dagbag_import_timeout" if question.budget is None else "cosmos_dags_budget"
    lines = "\n".join(parts)
    return f"The import took {record.seconds:.3f} s of {budget:g} s ({said}). The time went to:\n{lines}"


def _no_side_effects(_: Question, record: DagRecord) -> Answer:
    found = []
    for each in record.effects:
        own, *through = each.where.split(THROUGH)
        found.append("\n    through ".join([f"{own}: {each.kind}: {each.what}", *through]))
    if not found:
        return None
    return _list("The import did what Airflow would do again at every parse:", found)


def _nodes(_: Question, record: DagRecord) -> Answer:
    if not record.projects:
        return NotChecked(reason="the DAGs of the file were not made from a dbt project")
    found = [line for each in record.projects for line in node_faults(each, record.tasks.get(each.dag_id, {}))]
    return _list("Tasks and edges are not those of the dbt project:", found) if found else None


def _tests(_: Question, record: DagRecord) -> Answer:
    if not record.projects:
        return NotChecked(reason="the DAGs of the file were not made from a dbt project")
    meant = [each for each in record.projects if each.test_behavior != "none"]
    if not meant:
        return NotChecked(reason="RenderConfig.test_behavior says that no test is run")
    found = [line for each in meant for line in test_faults(each, record.tasks.get(each.dag_id, {}))]
    if not found:
        return None
    count = sum(len(tests_of(each)) for each in meant)
    way_out = "All are run with TestBehavior.AFTER_ALL."
    if any(_HAS_SOURCE.search(line) for line in found):
        way_out = f"A test of a source has a task where RenderConfig.source_rendering_behavior shows it. {way_out}"
    return _list(f"{len(found)} of {count} tests are run by no task:", found, way_out)


def _task_ids(question: Question, record: DagRecord) -> Answer:
    now = task_ids.ids_of(record)
    if question.written is not None:
        return _write_snapshot(question.file, question.written(), now)
    stored = task_ids.read_snapshot(question.file)
    file = task_ids.snapshot_file(question.file)
    if stored is None:
        return NotChecked(reason=f"no snapshot in {file}: write it with {task_ids.UPDATE}, and commit it", is_gap=True)
    found = task_ids.differences(stored, now)
    if not found:
        return None
    return _list(f"The task ids are not those of {file}:", found, f"If it is meant so: {task_ids.UPDATE}")


def _write_snapshot(file: Path, first: DagRecord, now: task_ids.Ids) -> Answer:
    """Write the ids of the first release of dbt, with which those of the others are compared."""
    if first.error is not None:
        return NotChecked(reason="no snapshot is written: the file cannot be imported with the first release of dbt")
    ids = task_ids.ids_of(first)
    task_ids.write_snapshot(file, ids)
    found = task_ids.differences(ids, now)
    return _list("The task ids are not those of the first release of dbt:", found) if found else None


def _assets(question: Question, record: DagRecord) -> Answer:
    own = _assets_of(record)
    if not own:
        return NotChecked(reason="no assets are known when the file is parsed")
    found: list[str] = [
        f"{asset} is updated by {len(places)} tasks: {', '.join(places)}"
        for asset, places in own.items()
        if len(places) > 1
    ]
    for name, other in question.others().items():
        for asset, places in _assets_of(other).items():
            if asset in own:
                found.append(f"{asset} is updated by {own[asset][0]}, and in {name} by {places[0]}")
    if not found:
        return None
    return _list("DAGs that wait for such an asset run several times:", found)


def _assets_of(record: DagRecord) -> dict[str, list[str]]:
    """Return the assets that are known at parse time, and relations for which a task will add one: -> tasks."""
    found: dict[str, list[str]] = {}
    for dag, tasks in record.tasks.items():
        for name, task in tasks.items():
            for uri in task.outlets:
                found.setdefault(uri, []).append(f"{dag}.{name}")
    for project in record.projects:
        for node, ids in project.tasks_of.items():
            known = project.nodes.get(node)
            emitting = [each for each in ids if each in record.tasks.get(project.dag_id, {})]
            emitting = [each for each in emitting if record.tasks[project.dag_id][each].emits]
            if known is not None and known.relation and emitting:
                found.setdefault(f"relation {known.relation}", []).append(f"{project.dag_id}.{emitting[0]}")
    return found


def _profile(_: Question, record: DagRecord) -> Answer:
    if not record.projects:
        return NotChecked(reason="the DAGs of the file were not made from a dbt project")
    found = [f"{each.name}: {each.profile_error}" for each in record.projects if each.profile_error is not None]
    return (
        _list("The profile does not render, with a Connection of the fields that it requires:", found)
        if found
        else None
    )


def _requirements(question: Question, record: DagRecord) -> Answer:
    if not record.installations:
        return NotChecked(reason="no task installs requirements")
    if not question.has_network:
        return NotChecked(reason=f"needs the network: {NETWORK_OPTION}, or cosmos_dags_network in the ini file")
    found = [error for error in map(_resolution_error, record.installations) if error is not None]
    return _list("The installer finds no set of releases for:", found) if found else None


def _resolution_error(installation: Installation) -> str | None:
    """Return why the installer cannot resolve requirements; None where it can. Nothing is installed."""
    words = words_to_resolve(installation)
    if not words:
        return None
    with throwaway_folder("cosmos-resolve-") as folder:
        try:
            done = subprocess.run(
                [*_installer(installation.python), "--target", str(folder), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=_LONGEST_RESOLUTION,
            )
        except subprocess.TimeoutExpired:
            return f"{_set(installation)}: no answer within {_LONGEST_RESOLUTION:.0f} s"
    if done.returncode == 0:
        return None
    said = "\n    ".join(done.stdout.splitlines()[-_LAST_LINES:])
    return f"{_set(installation)} (task {installation.task}):\n    {said}"


def words_to_resolve(installation: Installation) -> list[str]:
    """Return the words of an installer's command line; none where nothing has to be resolved.

    A lock file (PEP 751) is resolved, and no installer takes other requirements beside it.

    :param installation: requirements and options.
    """
    requirements: list[str] = []
    for text in installation.requirements:
        requirements += shlex.split(text) if text.lstrip().startswith("-") else [text]
    options, requirements = _without_lock_files(installation.options), _without_lock_files(requirements)
    return [*options, *requirements] if requirements else []


def _without_lock_files(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for word in words:
        if not _LOCK_FILE.search(word):
            kept.append(word)
        elif not word.startswith("-"):
            del kept[-1:]  # the option whose value it is
    return kept


def _installer(python: str | None) -> Sequence[str]:
    uv = uv_program()
    if uv is not None:
        return [uv, "pip", "install", "--dry-run", "--python", python or sys.executable]
    version = ["--python-version", python, "--only-binary", ":all:"] if python and python[0].isdigit() else []
    return [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", *version]


def _set(installation: Installation) -> str:
    return " ".join(installation.requirements)


def _same_dag(question: Question, record: DagRecord) -> Answer:
    other = question.record(SEEDS[1])
    if other.error is not None:
        return f"With another seed of Python's hashes the import fails:\n{other.error}"
    for title, forms in (
        ("The second import in one process gives another DAG", record.again),
        ("Another seed of Python's hashes gives another DAG: something depends on the order of a set", other.forms),
    ):
        lines = _difference(record.forms, forms)
        if lines:
            return _list(f"{title}. Airflow would store a new version at every parse:", lines)
    return None


def _difference(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for dag in sorted({*first, *second}):
        one, other = first.get(dag, ""), second.get(dag, "")
        if one != other:
            lines = difflib.unified_diff(
                one.splitlines(), other.splitlines(), f"{dag} (first)", f"{dag} (then)", n=2, lineterm=""
            )
            found.extend(lines)
    return found


def _list(head: str, lines: list[str], tail: str = "") -> str:
    shown = lines[:_SHOWN_LINES]
    rest = [f"… and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else []
    return "\n".join([head, *(f"  {line}" for line in [*shown, *rest]), *([tail] if tail else [])])


CHECKS: Mapping[str, Callable[[Question, DagRecord], Answer]] = {
    "imports": _imports,
    "no_side_effects": _no_side_effects,
    "nodes": _nodes,
    "tests": _tests,
    "task_ids": _task_ids,
    "assets": _assets,
    "profile": _profile,
    "requirements": _requirements,
    "same_dag": _same_dag,
}
"""The checks by their names, in the order of the items."""
