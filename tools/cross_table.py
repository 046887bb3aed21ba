"""Judge each faulty implementation (mutant) by all requirements, a few mutants at a time. It takes hours.

    .venv/bin/python -m tools.cross_table [--again] [--most 20]

The results are kept after each few mutants, and the next start goes on there. Prints what it has found, and writes
docs/reference/conformance/mutants.json, of which the build of the site makes a table.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT
from benchmarks.suite_run import run_suite
from conformance.requirements import read_specification
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.conformance.mutants import catalogue  # noqa: F401 - registers them
from tests.conformance.mutants.mutant import MUTANTS
from tests.conformance.mutants.plugin import CAUGHT, FULL, NAMES, TABLE
from tools.mutants import TOLD, VARIABLES, roomy_folder

KEPT = ROOT / "docs" / "reference" / "conformance" / "mutants.json"
TOGETHER = 10
"""Number of mutants in one run: the start of a run and its smoke check are paid once."""
DEADLINE = 30
"""Seconds for one task: a fault that lets tasks hang does so in each of a hundred checks."""

_SPECIFICATION = read_specification()
ORDINARY = [name for name, cls in MUTANTS.items() if not _SPECIFICATION[cls.kills].has_servers]
"""The mutants of the ordinary run: the run with servers of Airflow judges only its own areas."""

Known = dict[str, dict[str, Any]]
"""Name of a mutant -> its row, as the plugin writes it, and the day on which it was judged."""


def judge(names: Sequence[str]) -> Known:
    """Judge these mutants by all requirements.

    :raises SystemExit: when the run has left nothing.
    """
    with throwaway_folder("mutants-", within=roomy_folder()) as folder:
        table = folder / "table.json"
        told = {FULL: "1", TABLE: str(table), NAMES: ",".join(names)}
        variables = {**VARIABLES, "TMPDIR": str(folder), **told}
        run_suite(Path(sys.executable), "cosmos_venv", *TOLD, f"--cosmos-timeout={DEADLINE}", variables=variables)
        found: Known = json.loads(table.read_text(encoding="utf-8"))
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    return {name: {**row, "date": today} for name, row in found.items()}


def keep(known: Known) -> None:
    """Write the file atomically."""
    new = KEPT.with_name(f".{KEPT.name}.new")
    new.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    new.replace(KEPT)


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while chunk := list(islice(rest, TOGETHER)):
        yield chunk


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the mutants that have no result yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--again", action="store_true", help="forget what is known")
    parser.add_argument("--most", type=int, default=len(ORDINARY), help="end after so many mutants")
    asked = parser.parse_args(argv)
    known: Known = {} if asked.again or not KEPT.exists() else json.loads(KEPT.read_text(encoding="utf-8"))
    # A fault that another requirement must catch by now is judged again.
    known = {name: row for name, row in known.items() if name in ORDINARY and row["kills"] == MUTANTS[name].kills}
    if known:
        keep(known)
    for chunk in _chunks(islice((name for name in ORDINARY if name not in known), asked.most)):
        found = judge(chunk)
        known.update(found)
        keep(known)
        for name, row in found.items():
            failed = ", ".join(row["failed"])
            print(f"{len(known):>4} of {len(ORDINARY)}  {name}: {row['verdict']}; fails {failed}", flush=True)
    return 0 if all(row["verdict"] == CAUGHT for row in known.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
