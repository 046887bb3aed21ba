"""Benchmark of managed environments, beside astronomer-cosmos and the plain work beneath. Prints and stores a table.

    .venv/bin/python -m benchmarks.environments [--only warm] [--rounds 20]

astronomer-cosmos runs as a black box in an environment of its own. Wall time, so the machine should have nothing else
to do; what is compared is measured in turns.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.storing import MACHINE, store
from benchmarks.workers import ROOT, Implementation, TaskRun, Worker, workers, write_project
from pytest_cosmos_venv import Wheel, write_wheel
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
from pytest_cosmos_venv.throwaway import throwaway_folder

FAKE = ("dbt-core==1.10.0", "dbt-duckdb")
REAL = ("dbt-core==1.11.16", "dbt-duckdb==1.11.1")
REAL_WHEELS = ROOT / ".cache" / "wheelhouse"
AT_ONCE = 8
SMALL = ("anchor", "buoy", "cable", "dock", "eyelet")
# Arguments: installer, names. Prints who has built, and for how many seconds.
BUILD_SMALL = """
import os, sys, time
from pathlib import Path
from cosmos_venv.environments.builder import build_environment
from cosmos_venv.environments.installers.choice import choose_installer
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv.throwaway import throwaway_folder
preference, wanted = sys.argv[1], tuple(sys.argv[2:])
spec = EnvironmentSpec(requirements=wanted, interpreter=Interpreter.of())
with throwaway_folder("small-") as folder:
    began = time.monotonic()
    installer = choose_installer(preference, spec, os.environ)
    build_environment(spec, Path(folder, "venv"), installer,
        cancellation=Cancellation(), report=lambda line: None)
    print(installer.name, time.monotonic() - began)
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    :param figures: what was measured, in words.
    :param judged: the figure that the bound is for.
    :param bound: the most that is promised; infinite where nothing is.
    """

    what: str
    figures: str
    judged: float
    bound: float
    unit: str = "x"

    @property
    def is_kept(self) -> bool:
        return self.judged <= self.bound

    def as_dict(self) -> dict[str, Any]:
        """The row as it is stored."""
        return asdict(self) | {"is_kept": self.is_kept}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The folder of all measurements, and how often each is made.

    :param folder: for everything that is made.
    :param rounds: how often each figure is taken.
    """

    folder: Path
    rounds: int
    project: Path
    wheelhouse: Wheelhouse

    def implementation(self, root: str, installer: str) -> Implementation:
        """Ours in this environment, astronomer-cosmos in its own."""
        return Implementation(root=root, installer=installer)

    def arguments(self, directory: Path, requirements: Sequence[str] = FAKE) -> dict[str, Any]:
        """The arguments of an operator that keeps its environment."""
        options = ["--no-index", "--find-links", str(REAL_WHEELS)]
        if requirements == FAKE:
            options = self.wheelhouse.pip_install_options
        return {
            "py_requirements": list(requirements),
            "pip_install_options": options,
            "virtualenv_dir": str(directory),
            "install_deps": False,
        }

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    def workers(self, implementation: Implementation, count: int = 1) -> Any:
        return workers(implementation, self.wheelhouse.environment, self.folder, count)


def warm(bench: Bench) -> list[Row]:
    """A task whose environment stands: what it takes beyond dbt itself."""
    overheads = {}
    installers = 0
    for root, installer in (("cosmos_venv", "uv"), ("cosmos", "uv"), ("cosmos", "pip")):
        implementation = bench.implementation(root, installer)
        directory = bench.new_folder() / "kept"
        arguments = bench.arguments(directory)
        with bench.workers(implementation) as (worker,):
            worker.run(bench.project, arguments)  # builds
            runs = [worker.run(bench.project, arguments, alone=directory / "bin" / "dbt") for _ in range(bench.rounds)]
        overheads[implementation.name] = median(run.seconds - run.alone for run in runs)
        if root == "cosmos_venv":
            installers = max(run.installers for run in runs)
    ours = overheads["cosmos_venv with uv"]
    figures = ", ".join(f"{name} {_ms(seconds)}" for name, seconds in overheads.items())
    return [
        Row(
            what="warm task beyond its dbt, of Cosmos's with uv",
            figures=figures,
            judged=ours / overheads["cosmos with uv"],
            bound=1 / 8,
        ),
        Row(
            what="the same, of Cosmos's with pip",
            figures=figures,
            judged=ours / overheads["cosmos with pip"],
            bound=1 / 40,
        ),
        Row(
            what="installer processes of a warm task",
            figures=f"{installers} in each of {bench.rounds} tasks",
            judged=installers,
            bound=0,
            unit="processes",
        ),
    ]


def at_once_warm(bench: Bench) -> list[Row]:
    """Eight tasks on one directory whose environment stands, with a dbt that takes a second; beside eight bare dbts."""
    bench.wheelhouse.script("run", delay=1.0)
    directory = bench.new_folder() / "kept"
    arguments = bench.arguments(directory)
    ours, bare, overlap = [], [], True
    with bench.workers(bench.implementation("cosmos_venv", "uv"), AT_ONCE) as made:
        single = median(made[0].run(bench.project, arguments).seconds for _ in range(3))
        for _ in range(max(3, bench.rounds // 4)):
            bench.wheelhouse.forget()
            ours.append(_makespan(_at_once(bench, made, arguments)))
            calls = sorted((call.started_at, call.ended_at or 0.0) for call in bench.wheelhouse.calls)
            overlap = overlap and all(begin < calls[0][1] for begin, _ in calls)
            bare.append(_bare_at_once(bench, directory / "bin" / "dbt"))
    bench.wheelhouse.script("run")
    figures = (
        f"one task {single:.2f} s, eight at once {median(ours):.2f} s, eight bare dbts at once {median(bare):.2f} s; "
        f"all eight dbts overlap: {overlap}"
    )
    ratio = median(mine / floor for mine, floor in zip(ours, bare, strict=True))
    return [
        Row(
            what="eight tasks at once, warm, dbt of 1 s, of eight bare dbts",
            figures=figures,
            judged=ratio if overlap else float("inf"),
            bound=1.3,
        )
    ]


def _bare_at_once(bench: Bench, dbt: Path) -> float:
    words = [str(dbt), "run", "--project-dir", str(bench.project), "--profiles-dir", str(bench.project)]
    environ = {**os.environ, **bench.wheelhouse.environment}
    began = time.monotonic()
    started = [
        subprocess.Popen(words, cwd=bench.project, env=environ, stdout=subprocess.DEVNULL) for _ in range(AT_ONCE)
    ]
    for each in started:
        each.wait()
    return time.monotonic() - began


def at_once_cold(bench: Bench) -> list[Row]:
    """Eight tasks on one directory that is empty: one installs, all run."""
    implementation = bench.implementation("cosmos_venv", "uv")
    with bench.workers(implementation, AT_ONCE) as made:
        single = median(
            made[0].run(bench.project, bench.arguments(bench.new_folder() / "kept")).seconds for _ in range(3)
        )
        makespans, builds = [], []
        for _ in range(max(3, bench.rounds // 4)):
            directory = bench.new_folder() / "kept"
            makespans.append(_makespan(_at_once(bench, made, bench.arguments(directory))))
            builds.append(len([path for path in (directory / "envs-v2").iterdir() if path.is_dir()]))
    figures = f"one task {single:.2f} s, eight at once {median(makespans):.2f} s; builds: {max(builds)}"
    more = median(makespans) - single if max(builds) == 1 else float("inf")
    return [
        Row(what="eight tasks at once, cold, beyond one cold task", figures=figures, judged=more, bound=1.0, unit="s")
    ]


def cold(bench: Bench) -> list[Row]:
    """A task that has to build: beside the bare commands, and beside Cosmos with pip."""
    rows = [_cold_beside_bare(bench, "fakes", FAKE, max(3, bench.rounds // 4))]
    if REAL_WHEELS.is_dir():
        rows.append(_cold_beside_bare(bench, "real dbt-duckdb", REAL, 3))
    seconds = {}
    for root in ("cosmos_venv", "cosmos"):
        implementation = bench.implementation(root, "pip")
        with bench.workers(implementation) as (worker,):
            seconds[root] = median(
                worker.run(bench.project, bench.arguments(bench.new_folder() / "kept")).seconds
                for _ in range(max(3, bench.rounds // 4))
            )
    figures = ", ".join(f"{root} {taken:.2f} s" for root, taken in seconds.items())
    rows.append(
        Row(
            what="cold task with pip, of Cosmos's",
            figures=figures,
            judged=seconds["cosmos_venv"] / seconds["cosmos"],
            bound=0.35,
        )
    )
    return rows


def _cold_beside_bare(bench: Bench, what: str, requirements: Sequence[str], rounds: int) -> Row:
    """A cold build, in turns with ``uv venv``, ``uv pip install --compile-bytecode`` and one import of dbt."""
    ours, bare = [], []
    with bench.workers(bench.implementation("cosmos_venv", "uv")) as (worker,):
        for _ in range(rounds + 1):
            directory = bench.new_folder() / "kept"
            arguments = bench.arguments(directory, requirements)
            run = worker.run(bench.project, arguments, alone=directory / "bin" / "dbt")
            ours.append(run.seconds - run.alone)
            bare.append(_bare_install(bench, arguments))
    ours, bare = ours[1:], bare[1:]  # the first pair fills caches
    ratio = median(mine / floor for mine, floor in zip(ours, bare, strict=True))
    figures = f"{_ms(median(ours))} beyond its dbt, bare {_ms(median(bare))}"
    return Row(what=f"cold task of {what}, of the bare commands", figures=figures, judged=ratio, bound=1.15)


def small(bench: Bench) -> list[Row]:
    """A small environment where pip is configured and the worker has none: beside the bare commands of each tool."""
    wheels = bench.new_folder()
    for name in SMALL:
        write_wheel(Wheel(name=name, version="1.0", files={f"{name}.py": ""}), wheels)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHONDONT"))}
    (wheels / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n", encoding="utf-8")
    environ = {**kept, "PIP_CONFIG_FILE": str(wheels / "pip.conf"), "XDG_CACHE_HOME": str(bench.new_folder())}
    rows = []
    for preference, tool, bound in (("auto", "uv", 1.5), ("pip", "pip", 0.5)):
        ours, bare = [], []
        for _ in range(max(3, bench.rounds // 4) + 1):
            command = [sys.executable, "-c", BUILD_SMALL, preference, *SMALL]
            done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, cwd=ROOT)
            built_by, seconds = done.stdout.split()
            if built_by != tool:
                raise RuntimeError(f"{preference} has built with {built_by}")
            ours.append(float(seconds))
            bare.append(_bare_small(bench, tool, environ, wheels))
        figures = f"{_ms(median(ours[1:]))}, bare {_ms(median(bare[1:]))}"  # the first pair fills caches
        ratio = median(mine / floor for mine, floor in zip(ours[1:], bare[1:], strict=True))
        what = f"small environment with {tool}, of venv and {'ensurepip' if tool == 'pip' else 'uv pip install'}"
        rows.append(Row(what=what, figures=figures, judged=ratio, bound=bound))
    return rows


def _bare_small(bench: Bench, tool: str, environ: dict[str, str], wheels: Path) -> float:
    folder = bench.new_folder() / "venv"
    python = os.path.realpath(sys.executable)
    words = ["--no-index", "--find-links", str(wheels), *SMALL]
    if tool == "uv":
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "uv"
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(folder / "bin" / "python")]
        commands = [[uv, "venv", "--quiet", "--python", python, str(folder)], [*install, *words]]
    else:
        commands = [
            [python, "-I", "-m", "venv", str(folder)],
            [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *words],
        ]
    began = time.monotonic()
    for command in commands:
        subprocess.run(command, env=environ, check=True)
    return time.monotonic() - began


def _bare_install(bench: Bench, arguments: dict[str, Any]) -> float:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "uv"
    environment = bench.new_folder() / "venv"
    python = str(environment / "bin" / "python")
    words = [*arguments["pip_install_options"], *arguments["py_requirements"]]
    commands = [
        [uv, "venv", "--quiet", "--python", os.path.realpath(sys.executable), str(environment)],
        [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *words],
        [python, "-c", "import dbt.cli.main"],
    ]
    began = time.time()
    for command in commands:
        subprocess.run(command, env={**os.environ, **bench.wheelhouse.environment}, check=True)
    return time.time() - began


def _at_once(bench: Bench, made: Sequence[Worker], arguments: dict[str, Any]) -> list[TaskRun]:
    for worker in made:
        worker.start(bench.project, arguments)
    return [worker.finish() for worker in made]


def _makespan(runs: Sequence[TaskRun]) -> float:
    return max(run.ended for run in runs) - min(run.began for run in runs)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {
    "warm": warm,
    "at-once-warm": at_once_warm,
    "at-once-cold": at_once_cold,
    "cold": cold,
    "small": small,
}


def table(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    lines = ["| what | measured | judged | at most | |", "|---|---|---:|---:|---|"]
    for row in rows:
        verdict = f"{row.bound:.3f} | {'kept' if row.is_kept else 'NOT KEPT'} |"
        if math.isinf(row.bound):  # no promise, so none was kept
            verdict = "- | |"
        lines.append(f"| {row.what} | {row.figures} | {row.judged:.3f} {row.unit} | {verdict}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="how often each figure is taken (default 20)")
    parser.add_argument("--only", choices=MEASUREMENTS, help="this measurement alone; nothing is stored then")
    options = parser.parse_args()
    with throwaway_folder("cosmos-benchmark-") as folder:
        bench = Bench(
            folder=folder,
            rounds=options.rounds,
            project=write_project(folder / "harbor"),
            wheelhouse=build_wheelhouse(folder / "wheelhouse"),
        )
        chosen = [options.only] if options.only else list(MEASUREMENTS)
        rows = [row for name in chosen for row in MEASUREMENTS[name](bench)]
    head = f"# What managed environments cost\n\n{MACHINE}. Wall time, medians of {options.rounds} rounds."
    text = f"{head}\n\n{table(rows)}\n"
    print(text)
    if not options.only:
        store("environments", text, {"machine": MACHINE, "rows": [row.as_dict() for row in rows]})
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
