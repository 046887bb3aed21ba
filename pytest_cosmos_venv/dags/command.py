"""The command ``cosmos-dag-shape``: it compares the shapes of DAG files with what is kept beside them.

It is for people, pre-commit and CI. The shape of ``dags/harbor.py`` is kept in ``dags/harbor.shape.txt``; a change of
the shape is committed together with the change that made it, where a reviewer reads it.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.dags.dag_files import built, file_builder, own_airflow_home
from pytest_cosmos_venv.dags.shape import dag_shape, known_fields
from pytest_cosmos_venv.errors import ToolkitMisuse

_VALUES = (type(None), bool, int, str)
_NEARLY = 0.8
UNCHANGED, CHANGED, BROKEN = 0, 1, 2
"""Exit codes: nothing has changed; a shape is not the kept one; a file cannot be parsed or a field is misspelt."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code.

    :param arguments: the command line without the program; None: that of this process.
    """
    given = _parser().parse_args(arguments)
    missing = [str(file) for file in given.files if not file.is_file()]
    if missing:
        print(f"cosmos-dag-shape: no such file: {', '.join(missing)}", file=sys.stderr)
        return BROKEN
    folder: Path = (given.dags_folder or given.files[0].parent).resolve()
    with own_airflow_home(folder):
        return max(_check(file, given.field, folder, is_update=given.update) for file in given.files)


def kept_shape(file: Path) -> Path:
    """Return the file in which the shape of a DAG file is kept.

    :param file: the DAG file.
    """
    return file.with_suffix(".shape.txt")


def difference(kept: str, now: str, *, file: Path) -> str:
    """Return a unified diff with five lines around each change; empty where there is none.

    :param kept: the text that is kept.
    :param now: the text as it is now.
    :param file: the DAG file, for the head.
    """
    lines = difflib.unified_diff(
        kept.splitlines(), now.splitlines(), f"{kept_shape(file)} (kept)", f"{file} (now)", lineterm="", n=5
    )
    return "\n".join(lines)


def _check(file: Path, fields: Sequence[str], folder: Path, *, is_update: bool) -> int:
    with file_builder(file, folder) as build:
        dags, error = built(build)
    shapes: list[str] = []
    try:
        refuse_misspelt(dags, fields)
        shapes = [dag_shape(dag, fields=known_fields(dag, fields)).text for dag in sorted(dags, key=_id_of)]
    except ToolkitMisuse as misuse:
        error = str(misuse)
    if error is not None:
        print(f"{file} could not be parsed:\n{error}", file=sys.stderr)
        return BROKEN
    return compare(file, "\n".join(shapes), is_update=is_update)


def _id_of(dag: Any) -> str:
    return str(dag.dag_id)


def refuse_misspelt(dags: Sequence[Any], fields: Sequence[str]) -> None:
    """Refuse a field that no task has when there is one of nearly that name; a DAG without dbt goes without the field.

    :param dags: the DAGs of a file.
    :param fields: names of arguments of operators.
    :raises ToolkitMisuse: a field is misspelt.
    """
    known = {name for dag in dags for name in known_fields(dag, fields)}
    tasks = [task for dag in dags for task in dag.task_dict.values()]
    there = {name for task in tasks for name in (*vars(task), *getattr(task, "partial_kwargs", ()))}
    there |= {name for kind in {type(task) for task in tasks} for name in _values_of(kind)}
    for field in fields:
        close = difflib.get_close_matches(field, there, n=1, cutoff=_NEARLY)
        if field not in known and close:
            raise ToolkitMisuse(f"--field {field}: no task has it. Did you mean {close[0]}?")


def _values_of(kind: type) -> set[str]:
    """Return the names of the values that an operator's class has for all its tasks: a field may be kept there."""
    return {name for base in kind.__mro__ for name, value in vars(base).items() if isinstance(value, _VALUES)}


def compare(file: Path, now: str, *, is_update: bool) -> int:
    """Compare the shapes of a DAG file with what is kept of them; print the difference, and return the exit code.

    :param file: the DAG file.
    :param now: all its shapes as text; empty where it builds no DAG.
    :param is_update: whether to keep ``now`` instead.
    """
    keeps = kept_shape(file)
    kept = keeps.read_text(encoding="utf-8") if keeps.is_file() else ""
    if kept == now:
        return UNCHANGED
    if is_update:
        keeps.write_text(now, encoding="utf-8")
        print(f"{keeps}: written")
        return UNCHANGED
    told = f"its shape is another than in {keeps}" if kept else f"no shape is kept in {keeps} yet"
    print(f"{file}: {told}\n{difference(kept, now, file=file)}\nIf it is meant so: cosmos-dag-shape --update {file}")
    return CHANGED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cosmos-dag-shape",
        description="Compare the DAGs of files with the shapes kept beside them (harbor.py: harbor.shape.txt).",
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="DAGFILE", help="a file; one without a DAG is passed over"
    )
    parser.add_argument("--update", action="store_true", help="keep what there is now")
    parser.add_argument(
        "--field",
        action="append",
        default=[],
        help="an argument of operators that counts too, such as select; repeat it",
    )
    parser.add_argument(
        "--dags-folder", type=Path, help="from which DAG files import each other; default: that of the first file"
    )
    return parser
