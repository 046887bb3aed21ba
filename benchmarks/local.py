"""Benchmark of a LOCAL task beyond its dbt, beside astronomer-cosmos. Prints a table and stores it.

    .venv/bin/python -m benchmarks.local [--only workspace] [--rounds 8]

The task is `dbt run` of one model of the example project on a real dbt-duckdb; right after it the same command runs as
a process alone. Each task has a worker of its own, as in Airflow, which has imported the operators and no dbt.
Implementations and modes take turns, so that a busy machine is busy for all. The other implementation is a black box in
an environment of its own.
"""

from __future__ import annotations

import argparse
import json
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
from benchmarks.storing import MACHINE, store
from benchmarks.workers import ROOT, Implementation, TaskRun, workers
from cosmos_venv.dbt.partial_parse import PARTIAL_PARSE_FILE, ParsedProject
from cosmos_venv.dbt.workspace import workspace
from cosmos_venv.files.durable_files import make_private
from pytest_cosmos_venv.throwaway import throwaway_folder

EXAMPLE = ROOT / "examples" / "dbt" / "harbor"
DBT = ROOT / ".cache" / "envs" / "dbt111"
MODEL = "stg_vessels"
MODES = ("subprocess", "dbt_runner")
TASK_BOUND = 1.05
MODELS = 1000
WORKSPACE_BOUND = 0.05
# Airflow's own packages come first; dbt is found behind them, as if it were installed there.
BESIDE = "import site, sys; sys.path.append({packages!r})"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The folder of all measurements, and how often each is made.

    :param folder: for everything that is made.
    :param rounds: how often each figure is taken.
    """

    folder: Path
    rounds: int

    def example(self) -> Path:
        """A copy of the example project with a database in which everything stands, and a parse file."""
        project = self.folder / "harbor"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("target", "logs"))
        output = {"type": "duckdb", "path": str(self.folder / "harbor.duckdb")}
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
        implementation = Implementation(root=self.root, installer="uv")
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
    """A task over its dbt alone: ours is promised, the other one's stands beside it."""
    project = bench.example()
    contestants = [Contestant(root=root, mode=mode) for mode in MODES for root in ("cosmos_venv", "cosmos")]
    runs: dict[str, list[TaskRun]] = {each.name: [] for each in contestants}
    for number in range(bench.rounds + 1):
        for each in contestants:
            run = each.task(bench, project)
            if number:  # the first round fills caches
                runs[each.name].append(run)
    return [_task_row(each, runs[each.name]) for each in contestants]


def _task_row(contestant: Contestant, runs: Sequence[TaskRun]) -> Row:
    figures = (
        f"{median(run.seconds for run in runs):.2f} s, dbt alone {median(run.alone for run in runs):.2f} s; "
        f"CPU {median(run.cpu for run in runs):.2f} s, alone {median(run.cpu_alone for run in runs):.2f} s, "
        f"ratio {median(run.cpu / run.cpu_alone for run in runs):.3f}"
    )
    judged = median(run.seconds / run.alone for run in runs)
    bound = TASK_BOUND if contestant.root == "cosmos_venv" else float("inf")
    return Row(what=f"{contestant.name}: task over dbt alone", figures=figures, judged=judged, bound=bound)


def workspaces(bench: Bench) -> list[Row]:
    """The folder in which dbt runs, for a project of a thousand models; beside it the least that could be done."""
    project = large_project(bench.folder / "large")
    manifest = project.parent / "manifest.json"
    parsed = ParsedProject(project_dir=project, kept=bench.folder / "kept" / "partial-parse-v1" / "large.msgpack")
    assert parsed.kept is not None  # noqa: S101 - for the type checker
    make_private(parsed.kept.parent)
    shutil.copy(project.parent / "target" / PARTIAL_PARSE_FILE, parsed.kept)
    shutil.copy(project.parent / "target" / "manifest.json", manifest)
    ways: dict[str, tuple[dict[str, Any], list[Path]]] = {
        "links": ({}, []),
        "links, and a manifest": ({"manifest": manifest}, [manifest]),
        "links, and a parse file": ({"parsed": parsed}, [parsed.kept]),
    }
    return [_workspace_row(what, project, bench, *way) for what, way in ways.items()]


def _workspace_row(what: str, project: Path, bench: Bench, options: dict[str, Any], files: list[Path]) -> Row:
    ours, bare = [], []
    for _ in range(bench.rounds * 3):
        ours.append(_time_of_workspace(project, options))
        bare.append(_time_of_links(project, bench.folder / "links", files))
    size = sum(file.stat().st_size for file in files) / 1e6
    return Row(
        what=f"workspace for {MODELS:,} models: {what}",
        figures=f"{median(ours) * 1000:.1f} ms; plain links and copies of {size:.1f} MB {median(bare) * 1000:.1f} ms",
        judged=median(ours),
        bound=WORKSPACE_BOUND,
        unit="s",
    )


def large_project(project: Path) -> Path:
    """Parsed once by dbt, into a folder beside it."""
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: large\nversion: '1.0'\nprofile: harbor\n")
    (project.parent / "profiles.yml").write_text("harbor: {target: dev, outputs: {dev: {type: duckdb, path: none}}}\n")
    for number in range(MODELS):
        folder = project / "models" / f"area_{number % 20}"
        folder.mkdir(exist_ok=True)
        (folder / f"model_{number}.sql").write_text("select 1 as id\n")
        columns = f"columns: [{{name: id, description: the number of {number}, data_tests: [unique, not_null]}}]"
        (folder / f"model_{number}.yml").write_text(f"models: [{{name: model_{number}, {columns}}}]\n")
    words = ["parse", "--project-dir", str(project), "--profiles-dir", str(project.parent)]
    subprocess.run(
        [str(DBT / "bin" / "dbt"), *words, "--target-path", str(project.parent / "target")],
        cwd=project.parent,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return project


def _time_of_workspace(project: Path, options: dict[str, Any]) -> float:
    """Until dbt could start."""
    began = time.perf_counter()
    with workspace(project, install_deps=False, **options):
        return time.perf_counter() - began


def _time_of_links(project: Path, folder: Path, files: Sequence[Path]) -> float:
    began = time.perf_counter()
    folder.mkdir()
    for child in project.iterdir():
        (folder / child.name).symlink_to(child)
    for file in files:
        shutil.copyfile(file, folder / file.name)
    taken = time.perf_counter() - began
    shutil.rmtree(folder)
    return taken


MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {"workspace": workspaces, "tasks": tasks}


def main() -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8, help="how often each figure is taken (default 8)")
    parser.add_argument("--only", choices=MEASUREMENTS, help="this measurement alone; nothing is stored then")
    options = parser.parse_args()
    with throwaway_folder("cosmos-benchmark-") as folder:
        bench = Bench(folder=folder, rounds=options.rounds)
        chosen = [options.only] if options.only else list(MEASUREMENTS)
        rows = [row for name in chosen for row in MEASUREMENTS[name](bench)]
    words = f"Medians of {options.rounds} rounds; what is judged is wall time."
    head = f"# What a LOCAL task costs\n\n{MACHINE}. {words}"
    text = f"{head}\n\n{table(rows)}\n"
    print(text)
    if not options.only:
        store("local", text, {"machine": MACHINE, "rows": [row.as_dict() for row in rows]})
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
