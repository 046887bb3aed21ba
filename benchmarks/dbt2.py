"""Benchmark of tasks with dbt 2, a native program, beside the bare commands. Prints a table and stores it.

    .venv/bin/python -m benchmarks.dbt2 [--only warm] [--rounds 20]

dbt 2 takes a fifth of the time of dbt 1, so what a task itself costs is most of what can be lost. Wall time, so the
machine should have nothing else to do; both sides are measured in turns.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environments import Row, table
from benchmarks.large_projects import with_two_tests
from benchmarks.storing import MACHINE, store
from benchmarks.workers import ROOT, Implementation, Worker, workers, write_project
from pytest_cosmos_venv.throwaway import throwaway_folder

DBT = "dbt-core==2.0.0a4"
WHEELS = ROOT / ".cache" / "wheelhouse-dbt2"
DRIVER = ROOT / ".cache" / "drivers" / "libduckdb.so"
DBT_111 = ROOT / ".cache" / "envs" / "dbt111" / "bin" / "dbt"
# 30 ms where the bare dbt run takes 111 ms. As a ratio: the same machine on another day took 48 ms and 198 ms.
WARM_BOUND = 0.27
COLD_BOUND = 1.15
MODELS = 1000
# Argument: folder of the project. Prints the seconds of loading it with dbt ls, twice.
LOAD = """
import sys, time
from pathlib import Path
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from cosmos_venv.project.graph import DbtGraph
project, directory, wheels, driver = sys.argv[1:]
for _ in range(2):
    graph = DbtGraph(
        project=ProjectConfig(project, install_dbt_deps=False),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV),
        profile_config=ProfileConfig(Path(project).name, "dev", profiles_yml_filepath=project + "/profiles.yml"),
        operator_args={"py_requirements": ["dbt-core==2.0.0a4"], "virtualenv_dir": directory,
            "pip_install_options": ["--no-index", "--find-links", wheels], "adbc_drivers": [driver]},
    )
    began = time.monotonic()
    graph.load()
    print("LOADED", time.monotonic() - began, len(graph.nodes))
"""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The folder of all measurements, and how often each is made.

    :param folder: for everything that is made.
    :param rounds: how often each figure is taken.
    """

    folder: Path
    rounds: int

    def arguments(self, directory: Path) -> dict[str, Any]:
        """The arguments of an operator that keeps its environment."""
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

    @property
    def project(self) -> Path:
        """A project of one model."""
        folder = self.folder / "harbor"
        return folder if folder.is_dir() else write_project(folder)

    def worker(self) -> Any:
        """A worker of ours that installs with uv."""
        return workers(Implementation(root="cosmos_venv", installer="uv"), {}, self.folder, 1)


def warm(bench: Bench) -> list[Row]:
    """A task whose environment stands: what it takes beyond dbt itself."""
    directory = bench.directory()
    arguments = bench.arguments(directory)
    with bench.worker() as (worker,):
        _run(worker, bench, arguments)
        (dbt,) = directory.glob("envs-v2/*/bin/dbt")
        runs = [_run(worker, bench, arguments, alone=dbt) for _ in range(bench.rounds)]
    more = median(run.seconds - run.alone for run in runs)
    ratio = more / median(run.alone for run in runs)
    task, alone = (1000 * median(seconds) for seconds in zip(*((run.seconds, run.alone) for run in runs), strict=True))
    figures = f"{1000 * more:,.0f} ms; task {task:,.0f} ms, bare dbt run {alone:,.0f} ms"
    return [
        Row(what="warm task beyond its dbt, of the bare dbt run", figures=figures, judged=ratio, bound=WARM_BOUND),
        Row(
            what="the most that a warm task starts",
            figures=f"{bench.rounds} tasks",
            judged=max(run.installers for run in runs),
            bound=0,
            unit="installers",
        ),
    ]


def _run(worker: Worker, bench: Bench, arguments: dict[str, Any], *, alone: Path | None = None) -> Any:
    return worker.run(bench.project, arguments, alone=alone)


def cold(bench: Bench) -> list[Row]:
    """A task that builds, in turns with the bare commands."""
    ours, bare = [], []
    with bench.worker() as (worker,):
        for _ in range(max(3, bench.rounds // 4) + 1):
            directory = bench.directory()
            began = time.monotonic()
            _run(worker, bench, bench.arguments(directory))
            ours.append(time.monotonic() - began)
            bare.append(_bare(bench))
    ours, bare = ours[1:], bare[1:]  # the first pair fills caches
    ratio = median(mine / floor for mine, floor in zip(ours, bare, strict=True))
    figures = f"{median(ours):.2f} s; uv venv, uv pip install, a copy of the driver, dbt run: {median(bare):.2f} s"
    return [Row(what="cold task, over the bare commands", figures=figures, judged=ratio, bound=COLD_BOUND)]


def _bare(bench: Bench) -> float:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "uv"
    environment = bench.directory()
    python, dbt = (str(environment / "bin" / name) for name in ("python", "dbt"))
    words = ["--no-index", "--find-links", str(WHEELS), DBT]
    began = time.monotonic()
    subprocess.run([uv, "venv", "--quiet", "--python", os.path.realpath(sys.executable), environment], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *words], check=True)
    shutil.copy(DRIVER, environment / "lib")
    subprocess.run([dbt, "run"], cwd=bench.project, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def parsing(bench: Bench) -> list[Row]:
    """A thousand models, parsed by both engines, and loaded by ``dbt ls``: without a promise."""
    project = with_two_tests(bench.folder, MODELS, has_files=True)
    name = project.folder.name
    profile = f"{name}: {{target: dev, outputs: {{dev: {{type: duckdb, path: x.duckdb}}}}}}\n"
    (project.folder / "profiles.yml").write_text(profile)
    directory = bench.directory()
    with bench.worker() as (worker,):
        _run(worker, bench, bench.arguments(directory))
    (dbt,) = directory.glob("envs-v2/*/bin/dbt")
    seconds = {name: _parse(program, project.folder) for name, program in (("2.0", dbt), ("1.11", DBT_111))}
    words = [sys.executable, "-c", LOAD, str(project.folder), str(directory), str(WHEELS), str(DRIVER)]
    variables = {"AIRFLOW__COSMOS_VENV__CACHE_DIR": str(bench.folder / "cache"), "AIRFLOW_HOME": str(bench.folder)}
    done = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("LOADED")]
    (first, nodes), (second, _) = (map(float, words) for words in loaded)
    return [
        Row(
            what=f"dbt parse of {MODELS:,} models, dbt 2 over dbt 1.11",
            figures=f"{seconds['2.0']:.2f} s, dbt 1.11 {seconds['1.11']:.2f} s, each without a parse file",
            judged=seconds["2.0"] / seconds["1.11"],
            bound=float("inf"),
        ),
        Row(
            what=f"loading {MODELS:,} models by dbt ls with dbt 2, over its dbt parse",
            figures=f"{first:.2f} s for {nodes:,.0f} nodes, the second time {second:.3f} s",
            judged=first / seconds["2.0"],
            bound=float("inf"),
        ),
    ]


def _parse(dbt: Path, project: Path) -> float:
    taken = []
    for _ in range(3):
        shutil.rmtree(project / "target", ignore_errors=True)
        began = time.monotonic()
        command = [str(dbt), "parse", "--profiles-dir", str(project)]
        subprocess.run(command, cwd=project, stdout=subprocess.DEVNULL, check=True)
        taken.append(time.monotonic() - began)
    shutil.rmtree(project / "target")
    return min(taken)


MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {"warm": warm, "cold": cold, "parsing": parsing}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="how often each figure is taken (default 20)")
    parser.add_argument("--only", choices=MEASUREMENTS, help="this measurement alone; nothing is stored then")
    options = parser.parse_args(argv)
    with throwaway_folder("cosmos-benchmark-") as folder:
        bench = Bench(folder=folder, rounds=options.rounds)
        rows = [row for name, measure in MEASUREMENTS.items() if options.only in (None, name) for row in measure(bench)]
    head = f"# What a task with dbt 2 costs\n\n{MACHINE}. Wall time, medians of {options.rounds} rounds."
    text = f"{head}\n\n{table(rows)}\n"
    print(text)
    if not options.only:
        store("dbt2", text, {"machine": MACHINE, "rows": [row.as_dict() for row in rows]})
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
