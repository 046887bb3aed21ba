"""Benchmark of the hash by which Airflow tells versions of a DAG. Prints a table and stores it.

    .venv/bin/python -m benchmarks.project_hash [--rounds 9]

CPU milliseconds of one process, beside a bare look at the size and times of the same files.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.harness import Bench, Row, cpu_seconds, in_turns, main
from cosmos_venv.files.file_cache import SETTLED_SECONDS, FileCache
from cosmos_venv.project.fingerprint import project_hash

MODELS = 2000
SQL = "select * from {{ ref('stg_orders') }}  -- one of some lines of a model\n" * 30
UNCHANGED_BOUND, READ_BOUND = 5.0, 15.0


def write_project(folder: Path) -> None:
    """Write a project whose files look as if nobody had touched them for a while."""
    for number in range(MODELS):
        file = folder / "models" / f"area_{number % 40}" / f"model_{number}.sql"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SQL, encoding="utf-8")
    (folder / "dbt_project.yml").write_text("name: fleet\n", encoding="utf-8")
    before = time.time() - 10 * SETTLED_SECONDS
    for path in folder.rglob("*"):
        os.utime(path, (before, before))


def look_at_all(folder: Path) -> None:
    """Ask for the size and times of each file."""
    for here, _, names in os.walk(folder):
        for name in names:
            os.stat(os.path.join(here, name))  # noqa: PTH116, PTH118 - the bare floor


def hashes(bench: Bench) -> list[Row]:
    """The hash of an unchanged project, and one for which every file is read."""
    project = bench.folder / "project"
    write_project(project)
    (bench.folder / "cache").mkdir(mode=0o700)
    known = FileCache(folder=bench.folder / "cache" / "fingerprints", suffix=".json", most=10)
    time.sleep(SETTLED_SECONDS)  # a change of the folders themselves is as young as this process
    project_hash(project, {}, known=known)
    ways = {
        "bare": lambda: cpu_seconds(lambda: look_at_all(project)),
        "unchanged": lambda: cpu_seconds(lambda: project_hash(project, {}, known=known)),
        "read": lambda: cpu_seconds(lambda: project_hash(project, {})),
    }
    taken = {name: 1000 * median(seconds) for name, seconds in in_turns(ways, bench.rounds).items()}
    floor = f"a bare look at the files {taken['bare']:.1f} ms"
    return [
        Row(
            f"{MODELS} models, {what}, over a bare look at the files",
            f"hash {taken[name]:.1f} ms, {floor}",
            taken[name] / taken["bare"],
            bound,
        )
        for name, what, bound in (
            ("unchanged", "no file has changed", UNCHANGED_BOUND),
            ("read", "every file is read", READ_BOUND),
        )
    ]


if __name__ == "__main__":
    how, title = "Medians of {rounds} rounds.", "What the hash of a project costs"
    sys.exit(main("project-hash", title, {"hashes": hashes}, rounds=9, how=how, description=__doc__))
