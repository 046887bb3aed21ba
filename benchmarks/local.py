"""Benchmark of a LOCAL task beyond its dbt, beside astronomer-cosmos. Prints a table and stores it.

    .venv/bin/python -m benchmarks.local [--rounds 8]

The task is `dbt run` of one model of the example project on a real dbt-duckdb; right after it the same command runs as
a process alone. Each task has a worker of its own, as in Airflow, which has imported the operators and no dbt.
Implementations and modes take turns, so that a busy machine is busy for all. The other implementation is a black box in
an environment of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.harness import NO_BOUND, ROOT, Bench, Row, in_turns, main
from benchmarks.workers import PYTHONS, Implementation, TaskRun, workers

EXAMPLE = ROOT / "examples" / "dbt" / "harbor"
DBT = ROOT / ".cache" / "envs" / "dbt111"
MODEL = "stg_vessels"
MODES = ("subprocess", "dbt_runner")
TASK_BOUND = 1.05
# Airflow's own packages come first; dbt is found behind them, as if it were installed there.
BESIDE = "import site, sys; sys.path.append({packages!r})"


def example(folder: Path) -> Path:
    """A copy of the example project with a database in which everything stands, and a parse file."""
    project = folder / "harbor"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("target", "logs"))
    output = {"type": "duckdb", "path": str(folder / "harbor.duckdb")}
    (project / "profiles.yml").write_text(json.dumps({"harbor": {"target": "dev", "outputs": {"dev": output}}}))
    for command in ("seed", "run"):
        words = [str(DBT / "bin" / "dbt"), command, "--profiles-dir", "."]
        subprocess.run(words, cwd=project, check=True, stdout=subprocess.DEVNULL)
    return project


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One implementation in one mode."""

    root: str
    mode: str

    @property
    def name(self) -> str:
        return f"{self.root} {self.mode}"

    def task(
        self, bench: Bench, project: Path, *, select: str = MODEL, alone: Path | None = DBT / "bin" / "dbt"
    ) -> TaskRun:
        """One task, in a worker of its own; right after it that dbt alone."""
        implementation = Implementation(root=self.root, installer="uv", python=PYTHONS[self.root])
        variables = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(self._beside(bench))])}
        arguments = {
            "select": select,
            "install_deps": False,
            "dbt_executable_path": str(DBT / "bin" / "dbt"),
            "invocation_mode": self.mode,
        }
        with workers(implementation, variables, bench.folder) as (worker,):
            return worker.run(project, arguments, alone=alone, mode="local")

    def _beside(self, bench: Bench) -> Path:
        """A folder on the path whose start-up file lets a worker find dbt's packages behind its own."""
        folder = bench.folder / "beside"
        folder.mkdir(exist_ok=True)
        (packages,) = DBT.glob("lib/python3.*/site-packages")
        text = BESIDE.format(packages=str(packages)) if self.mode == "dbt_runner" else ""
        (folder / "sitecustomize.py").write_text(text)
        return folder


def tasks(bench: Bench) -> list[Row]:
    """A task over its dbt alone: ours has a bound, and that of the other implementation stands beside it."""
    project = example(bench.folder)
    contestants = [Contestant(root=root, mode=mode) for mode in MODES for root in ("cosmos_venv", "cosmos")]
    runs = in_turns({each.name: partial(each.task, bench, project) for each in contestants}, bench.rounds)
    return [_row(each, runs[each.name]) for each in contestants]


def _row(contestant: Contestant, runs: Sequence[TaskRun]) -> Row:
    figures = (
        f"{median(run.seconds for run in runs):.2f} s, dbt alone {median(run.alone for run in runs):.2f} s; "
        f"CPU {median(run.cpu for run in runs):.2f} s, alone {median(run.cpu_alone for run in runs):.2f} s, "
        f"ratio {median(run.cpu / run.cpu_alone for run in runs):.3f}"
    )
    judged = median(run.seconds / run.alone for run in runs)
    bound = TASK_BOUND if contestant.root == "cosmos_venv" else NO_BOUND
    return Row(f"{contestant.name}: task over dbt alone", figures, judged, bound)


if __name__ == "__main__":
    how = "Medians of {rounds} rounds; what is judged is wall time."
    sys.exit(main("local", "What a LOCAL task costs", {"tasks": tasks}, rounds=8, how=how, description=__doc__))
