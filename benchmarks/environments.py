"""Benchmark of managed environments, beside astronomer-cosmos and the plain work beneath. Prints and stores a table.

    .venv/bin/python -m benchmarks.environments [--only warm] [--rounds 20]

astronomer-cosmos runs as a black box in an environment of its own. Wall time, so the machine should have nothing else
to do; what is compared is measured in turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import ROOT, Bench, Row, in_turns, main, ratio, uv_commands
from benchmarks.workers import PYTHONS, Implementation, TaskRun, Worker, workers, write_project
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse

FAKE = ("dbt-core==1.10.0", "dbt-duckdb")
REAL = ("dbt-core==1.11.16", "dbt-duckdb==1.11.1")
REAL_WHEELS = ROOT / ".cache" / "wheelhouse"
AT_ONCE = 8


class Tasks:
    """A small project, the wheels of a fake dbt, and workers that run tasks of it."""

    def __init__(self, bench: Bench) -> None:
        self.folder = bench.folder
        self.project = write_project(bench.folder / "harbor")
        self.wheelhouse: Wheelhouse = build_wheelhouse(bench.folder / "wheelhouse")

    def arguments(self, directory: Path, requirements: Sequence[str] = FAKE) -> dict[str, Any]:
        """The arguments of an operator that keeps its environment."""
        options = self.wheelhouse.pip_install_options
        if requirements != FAKE:
            options = ["--no-index", "--find-links", str(REAL_WHEELS)]
        return {
            "py_requirements": list(requirements),
            "pip_install_options": options,
            "virtualenv_dir": str(directory),
            "install_deps": False,
        }

    def directory(self) -> Path:
        """A new ``virtualenv_dir``."""
        return Path(tempfile.mkdtemp(dir=self.folder)) / "kept"

    def workers(self, root: str = "cosmos_venv", installer: str = "uv", count: int = 1) -> Any:
        """Workers of ours in this environment, or of astronomer-cosmos in its own."""
        implementation = Implementation(root=root, installer=installer, python=PYTHONS[root])
        return workers(implementation, self.wheelhouse.environment, self.folder, count)

    def at_once(self, made: Sequence[Worker], arguments: dict[str, Any]) -> float:
        """Seconds from the first begin to the last end of one task of each worker."""
        for worker in made:
            worker.start(self.project, arguments)
        runs = [worker.finish() for worker in made]
        return max(run.ended for run in runs) - min(run.began for run in runs)


def warm(bench: Bench) -> list[Row]:
    """A task whose environment is ready: its time beyond dbt itself."""
    tasks, runs = Tasks(bench), dict[str, list[TaskRun]]()
    for root, installer in (("cosmos_venv", "uv"), ("cosmos", "uv"), ("cosmos", "pip")):
        directory = tasks.directory()
        arguments = tasks.arguments(directory)
        with tasks.workers(root, installer) as (worker,):
            worker.run(tasks.project, arguments)  # builds
            dbt = directory / "bin" / "dbt"
            runs[f"{root} with {installer}"] = [
                worker.run(tasks.project, arguments, alone=dbt) for _ in range(bench.rounds)
            ]
    beyond = {name: median(run.seconds - run.alone for run in taken) for name, taken in runs.items()}
    ours, installers = beyond["cosmos_venv with uv"], max(run.installers for run in runs["cosmos_venv with uv"])
    figures = ", ".join(f"{name} {milliseconds(seconds)}" for name, seconds in beyond.items())
    in_words = f"{installers} in each of {bench.rounds} tasks"
    return [
        Row("warm task beyond its dbt, of Cosmos's with uv", figures, ours / beyond["cosmos with uv"], 1 / 8),
        Row("the same, of Cosmos's with pip", figures, ours / beyond["cosmos with pip"], 1 / 40),
        Row("installer processes of a warm task", in_words, installers, 0, "processes"),
    ]


def at_once_warm(bench: Bench) -> list[Row]:
    """Eight tasks on one directory whose environment stands, with a dbt that takes a second; beside eight bare dbts."""
    tasks = Tasks(bench)
    tasks.wheelhouse.script("run", delay=1.0)
    directory = tasks.directory()
    arguments, dbt, overlap = tasks.arguments(directory), directory / "bin" / "dbt", True

    def ours() -> float:
        nonlocal overlap
        tasks.wheelhouse.forget()
        seconds = tasks.at_once(made, arguments)
        calls = sorted((call.started_at, call.ended_at or 0.0) for call in tasks.wheelhouse.calls)
        overlap = overlap and all(begin < calls[0][1] for begin, _ in calls)
        return seconds

    with tasks.workers(count=AT_ONCE) as made:
        single = median(made[0].run(tasks.project, arguments).seconds for _ in range(3))
        taken = in_turns({"ours": ours, "bare": lambda: _bare_at_once(tasks, dbt)}, max(3, bench.rounds // 4))
    figures = (
        f"one task {single:.2f} s, eight at once {median(taken['ours']):.2f} s, eight bare dbts at once "
        f"{median(taken['bare']):.2f} s; all eight dbts overlap: {overlap}"
    )
    judged = ratio(taken["ours"], taken["bare"]) if overlap else float("inf")
    return [Row("eight tasks at once, warm, dbt of 1 s, of eight bare dbts", figures, judged, 1.3)]


def _bare_at_once(tasks: Tasks, dbt: Path) -> float:
    words = [str(dbt), "run", "--project-dir", str(tasks.project), "--profiles-dir", str(tasks.project)]
    environ = {**os.environ, **tasks.wheelhouse.environment}
    began = time.monotonic()
    started = [
        subprocess.Popen(words, cwd=tasks.project, env=environ, stdout=subprocess.DEVNULL) for _ in range(AT_ONCE)
    ]
    for each in started:
        each.wait()
    return time.monotonic() - began


def at_once_cold(bench: Bench) -> list[Row]:
    """Eight tasks on one directory that is empty: one installs, all run."""
    tasks = Tasks(bench)
    with tasks.workers(count=AT_ONCE) as made:
        single = median(made[0].run(tasks.project, tasks.arguments(tasks.directory())).seconds for _ in range(3))
        makespans, builds = [], []
        for _ in range(max(3, bench.rounds // 4)):
            directory = tasks.directory()
            makespans.append(tasks.at_once(made, tasks.arguments(directory)))
            builds.append(len(list(directory.glob("envs-v2/*/pyvenv.cfg"))))
    figures = f"one task {single:.2f} s, eight at once {median(makespans):.2f} s; builds: {max(builds)}"
    more = median(makespans) - single if max(builds) == 1 else float("inf")
    return [Row("eight tasks at once, cold, beyond one cold task", figures, more, 1.0, "s")]


def cold(bench: Bench) -> list[Row]:
    """A task that has to build: beside the bare commands, and beside Cosmos with pip."""
    tasks, few = Tasks(bench), max(3, bench.rounds // 4)
    figures, taken = _cold_beside_bare(tasks, FAKE, few)
    # Seconds and no ratio: four guarded commands and Python's own venv take the same time for each dbt.
    more = median(taken["ours"]) - median(taken["bare"])
    rows = [Row("cold task of fakes, beyond the bare commands", figures, more, 0.3, "s")]
    if REAL_WHEELS.is_dir():
        figures, taken = _cold_beside_bare(tasks, REAL, few)
        judged = ratio(taken["ours"], taken["bare"])
        rows.append(Row("cold task of real dbt-duckdb, of the bare commands", figures, judged, 1.15))
    seconds = {}
    for root in ("cosmos_venv", "cosmos"):
        with tasks.workers(root, "pip") as (worker,):
            seconds[root] = median(
                worker.run(tasks.project, tasks.arguments(tasks.directory())).seconds for _ in range(few)
            )
    figures = ", ".join(f"{root} {taken:.2f} s" for root, taken in seconds.items())
    rows.append(Row("cold task with pip, of Cosmos's", figures, seconds["cosmos_venv"] / seconds["cosmos"], 0.35))
    return rows


def cold_beyond_dbt(worker: Worker, tasks: Tasks, requirements: Sequence[str]) -> float:
    """Seconds of a task that builds its environment, without those of its dbt."""
    directory = tasks.directory()
    dbt = directory / "bin" / "dbt"
    run = worker.run(tasks.project, tasks.arguments(directory, requirements), alone=dbt)
    return run.seconds - run.alone


def _cold_beside_bare(tasks: Tasks, requirements: Sequence[str], rounds: int) -> tuple[str, dict[str, list[float]]]:
    """A cold build, in turns with ``uv venv``, ``uv pip install --compile-bytecode`` and one import of dbt: the figures
    in words, and the seconds of ``ours`` and ``bare``.
    """

    def bare() -> float:
        environment = tasks.directory()
        words = [*tasks.arguments(environment, requirements)["pip_install_options"], *requirements]
        commands = uv_commands(environment, "--compile-bytecode", *words)
        began = time.monotonic()
        for command in [*commands, [str(environment / "bin" / "python"), "-c", "import dbt.cli.main"]]:
            subprocess.run(command, env={**os.environ, **tasks.wheelhouse.environment}, check=True)
        return time.monotonic() - began

    with tasks.workers() as (worker,):
        ways: dict[str, Callable[[], float]] = {
            "ours": partial(cold_beyond_dbt, worker, tasks, requirements),
            "bare": bare,
        }
        taken = in_turns(ways, rounds)
    figures = f"{milliseconds(median(taken['ours']))} beyond its dbt, bare {milliseconds(median(taken['bare']))}"
    return figures, taken


def milliseconds(seconds: float) -> str:
    """The seconds in words."""
    return f"{seconds * 1000:,.0f} ms"


if __name__ == "__main__":
    sys.exit(
        main(
            "environments",
            "What managed environments cost",
            {"warm": warm, "at-once-warm": at_once_warm, "at-once-cold": at_once_cold, "cold": cold},
            rounds=20,
            how="Wall time, medians of {rounds} rounds.",
            description=__doc__,
        )
    )
