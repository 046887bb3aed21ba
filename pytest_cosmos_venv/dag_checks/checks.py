"""The checks: each is a function of a DAG file's record, and its name stands in the test ids."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pytest_cosmos_venv.dag_checks.record import DagRecord
from pytest_cosmos_venv.dag_checks.store import SEEDS
from pytest_cosmos_venv.dags.side_effects import THROUGH

SNAPSHOTS = "cosmos-snapshots"
"""The folder of snapshots beside the DAG files."""
UPDATE = "--cosmos-update-snapshots"
_SHOWN_LINES = 40
_IF_MEANT = f"If it is meant so: {UPDATE}"


@dataclass(frozen=True, kw_only=True)
class NotChecked:
    """The answer of a check that could not be made.

    :param reason: why, with the way out.
    :param is_gap: whether a run in CI fails for it, because somebody has to make the check possible first.
    """

    reason: str
    is_gap: bool = False


Answer: TypeAlias = "str | NotChecked | None"
"""The failure in words, why there was no check, or None: passed."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """The input of a check.

    :param file: the DAG file.
    :param name: the file as the run names it, relative to the root directory.
    :param record: returns the record of a seed of Python's hashes.
    :param others: returns the records of all DAG files of the run but this one, by their names.
    :param written: returns the record whose shape becomes the snapshot; None: no snapshot is written in this run.
    """

    file: Path
    name: str
    record: Callable[[str], DagRecord]
    others: Callable[[], Mapping[str, DagRecord]]
    written: Callable[[], DagRecord] | None


def answer(check: str, question: Question) -> Answer:
    """Make a check, and return its answer.

    :param check: the name of the check.
    :param question: what it may look at.
    """
    record = question.record(SEEDS[0])
    if record.error is not None and check != "imports":
        return NotChecked(reason="the file cannot be imported: see ::imports")
    if record.needs is not None:
        way_out = "name the release that lists them, such as --cosmos-dbt=1.11, or a manifest"
        return NotChecked(reason=f"{record.needs}: {way_out}", is_gap=True)
    if record.error is None and not record.tasks and not _needs_no_dag(check, question.file):
        return NotChecked(reason="the file builds no DAG that Airflow would find")
    if check == "profile" and not record.projects:
        return NotChecked(reason="the DAGs of the file were not made from a dbt project")
    return CHECKS[check](question, record)


def _needs_no_dag(check: str, file: Path) -> bool:
    """Whether a check has something to look at in a file without DAGs."""
    if check == "shape":
        return snapshot_file(file).is_file()
    return check in ("imports", "no_side_effects")


def _imports(question: Question, record: DagRecord) -> Answer:
    if record.error is not None:
        return f"{question.name} cannot be imported:\n{record.error.rstrip()}"
    if record.seconds <= record.limit:
        return None
    return (
        f"The import took {record.seconds:.3f} s of {record.limit:g} s (Airflow's dagbag_import_timeout). "
        "Where the time went is told by: python -X importtime"
    )


def _no_side_effects(_: Question, record: DagRecord) -> Answer:
    found = []
    for each in record.effects:
        own, *through = each.where.split(THROUGH)
        found.append("\n    through ".join([f"{own}: {each.kind}: {each.what}", *through]))
    return _failure("The import did what Airflow would do again at every parse:", found)


def snapshot_file(dag_file: Path) -> Path:
    """Return the file in which the shape of a DAG file is stored.

    :param dag_file: the DAG file.
    """
    return dag_file.parent / SNAPSHOTS / f"{dag_file.stem}.shape.txt"


def _shape(question: Question, record: DagRecord) -> Answer:
    file = snapshot_file(question.file)
    if question.written is not None:
        return _write_snapshot(file, question.written(), record)
    if not file.is_file():
        return NotChecked(reason=f"no snapshot in {file}: write it with {UPDATE}, and commit it", is_gap=True)
    found = _diff(file.read_text(encoding="utf-8"), record.shape, f"{file} (stored)", f"{question.name} (now)")
    return _failure("A task that gets another id loses its history. The shape has changed:", found, _IF_MEANT)


def _write_snapshot(file: Path, first: DagRecord, now: DagRecord) -> Answer:
    """Write the shape with the first release of dbt, and compare the current release's shape with it."""
    if first.error is not None:
        return NotChecked(reason="no snapshot is written: the file cannot be imported with the first release of dbt")
    file.parent.mkdir(exist_ok=True)
    file.write_text(first.shape, encoding="utf-8")
    found = _diff(first.shape, now.shape, "the first release of dbt", "this one")
    return _failure("The shape is not that with the first release of dbt:", found)


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
    return _failure("DAGs that wait for such an asset run several times:", found)


def _assets_of(record: DagRecord) -> dict[str, list[str]]:
    """Return tasks by asset URI, or by relation where a task adds the asset when it runs."""
    found: dict[str, list[str]] = {}
    for dag, tasks in record.tasks.items():
        for name, task in tasks.items():
            for uri in task.outlets:
                found.setdefault(uri, []).append(f"{dag}.{name}")
    for project in record.projects:
        for node, ids in project.tasks_of.items():
            relation = project.nodes.get(node)
            emitting = [each for each in ids if each in record.tasks.get(project.dag_id, {})]
            emitting = [each for each in emitting if record.tasks[project.dag_id][each].emits]
            if relation and emitting:
                found.setdefault(f"relation {relation}", []).append(f"{project.dag_id}.{emitting[0]}")
    return found


def _profile(_: Question, record: DagRecord) -> Answer:
    found = [f"{each.name}: {each.profile_error}" for each in record.projects if each.profile_error is not None]
    return _failure("The profile does not render, with a Connection of the fields that it requires:", found)


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
            return _failure(f"{title}. Airflow would store a new version at every parse:", lines)
    return None


def _difference(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    dags = sorted({*first, *second})
    return [
        line
        for dag in dags
        for line in _diff(first.get(dag, ""), second.get(dag, ""), f"{dag} (first)", f"{dag} (then)")
    ]


def _diff(one: str, other: str, before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(one.splitlines(), other.splitlines(), before, after, n=2, lineterm="")
    return list(lines)


def _failure(head: str, lines: list[str], tail: str = "") -> str | None:
    """Return a failure with its lines, of which the first are shown; None where there are no lines."""
    if not lines:
        return None
    shown = lines[:_SHOWN_LINES]
    rest = [f"… and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else []
    return "\n".join([head, *(f"  {line}" for line in [*shown, *rest]), *([tail] if tail else [])])


CHECKS: Mapping[str, Callable[[Question, DagRecord], Answer]] = {
    "imports": _imports,
    "no_side_effects": _no_side_effects,
    "shape": _shape,
    "assets": _assets,
    "profile": _profile,
    "same_dag": _same_dag,
}
"""The checks by their names, in the order of the items."""
