"""Benchmark of tasks with dbt 2, a native program, beside the bare commands. Prints a table and stores it.

    .venv/bin/python -m benchmarks.dbt2 [--only warm] [--rounds 20]

dbt 2 takes a fifth of the time of dbt 1, so the task's own time is most of what can be lost. The figures are wall time,
so the machine should have nothing else to do; both sides are measured in turns.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import ROOT, Bench, Row, in_turns, main, ratio, uv_commands, wall_seconds
from benchmarks.workers import OURS, Implementation, workers, write_project

DBT = "dbt-core==2.0.0a4"
WHEELS = ROOT / ".cache" / "wheelhouse-dbt2"
DRIVER = ROOT / ".cache" / "drivers" / "libduckdb.so"
# 30 ms where the bare dbt run takes 111 ms. As a ratio: the same machine on another day took 48 ms and 198 ms.
WARM_BOUND = 0.27
COLD_BOUND = 1.15


class Tasks:
    """A project of one model, and a worker that runs tasks of it with dbt 2."""

    def __init__(self, bench: Bench) -> None:
        self.folder = bench.folder
        self.project = write_project(bench.folder / "harbor")

    def arguments(self, directory: Path) -> dict[str, Any]:
        """The arguments of an operator with dbt 2 and its driver."""
        return {
            "py_requirements": [DBT],
            "pip_install_options": ["--no-index", "--find-links", str(WHEELS)],
            "adbc_drivers": [str(DRIVER)],
            "virtualenv_dir": str(directory),
            "install_deps": False,
        }

    def directory(self) -> Path:
        """A new, empty ``virtualenv_dir``."""
        return self.folder / f"kept-{time.monotonic_ns()}"

    def worker(self) -> Any:
        """A worker of ours that installs with uv."""
        return workers(Implementation(root="cosmos_venv", installer="uv", python=OURS), {}, self.folder, 1)


def warm(bench: Bench) -> list[Row]:
    """A task whose environment is ready: its time beyond dbt itself."""
    tasks = Tasks(bench)
    directory = tasks.directory()
    arguments = tasks.arguments(directory)
    with tasks.worker() as (worker,):
        worker.run(tasks.project, arguments)  # builds
        (dbt,) = directory.glob("envs-v2/*/bin/dbt")
        runs = [worker.run(tasks.project, arguments, alone=dbt) for _ in range(bench.rounds)]
    more, alone = median(run.seconds - run.alone for run in runs), median(run.alone for run in runs)
    task = median(run.seconds for run in runs)
    figures = f"{1000 * more:,.0f} ms; task {1000 * task:,.0f} ms, bare dbt run {1000 * alone:,.0f} ms"
    installers = max(run.installers for run in runs)
    return [
        Row("warm task beyond its dbt, of the bare dbt run", figures, more / alone, WARM_BOUND),
        Row("the most that a warm task starts", f"{bench.rounds} tasks", installers, 0, "installers"),
    ]


def cold(bench: Bench) -> list[Row]:
    """A task that builds, in turns with the bare commands."""
    tasks = Tasks(bench)
    with tasks.worker() as (worker,):
        ways = {
            "ours": lambda: wall_seconds(lambda: worker.run(tasks.project, tasks.arguments(tasks.directory()))),
            "bare": lambda: wall_seconds(lambda: _bare(tasks)),
        }
        taken = in_turns(ways, max(3, bench.rounds // 4))
    figures = (
        f"{median(taken['ours']):.2f} s; uv venv, uv pip install, a copy of the driver, dbt run: "
        f"{median(taken['bare']):.2f} s"
    )
    return [Row("cold task, over the bare commands", figures, ratio(taken["ours"], taken["bare"]), COLD_BOUND)]


def _bare(tasks: Tasks) -> None:
    environment = tasks.directory()
    for command in uv_commands(environment, "--no-index", "--find-links", str(WHEELS), DBT):
        subprocess.run(command, check=True)
    shutil.copy(DRIVER, environment / "lib")
    dbt = environment / "bin" / "dbt"
    subprocess.run([dbt, "run"], cwd=tasks.project, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    how, title = "Wall time, medians of {rounds} rounds.", "What a task with dbt 2 costs"
    sys.exit(main("dbt2", title, {"warm": warm, "cold": cold}, rounds=20, how=how, description=__doc__))
