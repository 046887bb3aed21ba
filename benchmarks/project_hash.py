"""Benchmark of the hash by which Airflow tells versions of a DAG. Prints a table and stores it.

    .venv/bin/python -m benchmarks.project_hash [--models 2000] [--rounds 9]

CPU milliseconds of one process, beside a bare look at the size and times of the same files.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.environments import Row, table
from benchmarks.storing import MACHINE, store
from cosmos_venv.files.file_cache import SETTLED_SECONDS, FileCache
from cosmos_venv.project.project_hash import project_hash
from pytest_cosmos_venv.throwaway import throwaway_folder

SQL = "select * from {{ ref('stg_orders') }}  -- one of some lines of a model\n" * 30
UNCHANGED_BOUND, READ_BOUND = 5.0, 15.0


def write_project(folder: Path, models: int) -> None:
    """Write a project whose files look as if nobody had touched them for a while."""
    for number in range(models):
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


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    """CPU milliseconds of one call, the median of some."""
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        taken.append(1000 * (time.process_time() - begun))
    return median(taken)


def rows(folder: Path, models: int, rounds: int) -> list[Row]:
    """The table of one size."""
    project = folder / "project"
    write_project(project, models)
    (folder / "cache").mkdir(mode=0o700)
    known = FileCache(folder=folder / "cache" / "fingerprints", suffix=".json", most=10)
    bare = milliseconds(lambda: look_at_all(project), rounds)
    read = milliseconds(lambda: project_hash(project, {}), rounds)
    # A change of the folders themselves is as young as this process.
    time.sleep(SETTLED_SECONDS)
    project_hash(project, {}, known=known)
    unchanged = milliseconds(lambda: project_hash(project, {}, known=known), rounds)
    floor = f"a bare look at the files {bare:.1f} ms"
    return [
        Row(
            what=f"{models} models, no file has changed, over a bare look at the files",
            figures=f"hash {unchanged:.1f} ms, {floor}",
            judged=unchanged / bare,
            bound=UNCHANGED_BOUND,
        ),
        Row(
            what=f"{models} models, every file is read, over a bare look at the files",
            figures=f"hash {read:.1f} ms, {floor}",
            judged=read / bare,
            bound=READ_BOUND,
        ),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=int, default=2000, help="number of models (default 2000)")
    parser.add_argument("--rounds", type=int, default=9, help="how often each figure is taken (default 9)")
    options = parser.parse_args(argv)
    load = os.getloadavg()[0]
    with throwaway_folder("cosmos-benchmark-") as folder:
        found = rows(folder, options.models, options.rounds)
    measured = f"{MACHINE}. Medians of {options.rounds} rounds; load before {load:.1f}."
    text = f"# What the hash of a project costs\n\n{measured}\n\n{table(found)}\n"
    print(text)
    store("project-hash", text, {"machine": MACHINE, "load": load, "rows": [row.as_dict() for row in found]})
    return 0 if all(row.is_kept for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
