"""Benchmark of a dbt command that starts warm, beside the bare dbt. Prints a table and stores it.

    .venv/bin/python -m benchmarks.warm [--only small] [--rounds 8]

Warm and bare commands take turns, on a real dbt-duckdb, so that a busy machine is busy for both.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.harness import Bench, Measurement, Row, cpu_seconds, in_turns, main, ratio
from benchmarks.local import DBT, MODEL, example
from benchmarks.warm_tasks import beside_cosmos
from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.process import DBT as DBT_MODULES
from cosmos_venv.dbt.warm.process import WarmStart, dbt_program
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import run_guarded
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.warm_servers import live_servers, stop

SMALL_BOUND, LARGE_BOUND, MEMORY_BOUND = 0.30, 0.40, 1.2
SMALL_TASK_BOUNDS = (0.30, 0.20, 0.27)
LARGE_TASK_BOUNDS = (0.40, float("inf"), float("inf"))
LONGEST_PREPARATION = 120.0
LOOK_AGAIN = 0.2
COMMANDS = 1000
NAMES = ("wall", "processor")
# The first dbt has imported its entry point and adapters. The second dbt has imported the modules of all commands too.
IMPORTED = "import dbt.cli.main, dbt.adapters.duckdb, dbt.adapters.postgres; print(flush=True); input()"
IMPORTED_ALL = """
import importlib, sys
import dbt.adapters.duckdb, dbt.adapters.postgres
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
print(flush=True); input()
"""


def _environment() -> dict[str, str]:
    return {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}


def _warm() -> WarmStart:
    return WarmStart(
        program=dbt_program(DBT, DBT / "bin" / "dbt"),
        idle=600,
        most=4,
        cancellation=Cancellation(),
        report=print,
        count=lambda _: None,
        is_required=True,
    )


def _seconds(words: Sequence[str], cwd: Path, **options: Any) -> float:
    began = time.perf_counter()
    done = run_guarded([str(DBT / "bin" / "dbt"), *words], cwd=cwd, env=_environment(), **options)
    taken = time.perf_counter() - began
    if done.returncode:
        raise SystemExit("\n".join(done.lines))
    return taken


def _bare_seconds(words: Sequence[str], cwd: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        [str(DBT / "bin" / "dbt"), *words], cwd=cwd, env=_environment(), check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The wall and the CPU seconds of one command."""

    wall: float
    processor: float


def _warm_taken(words: Sequence[str], cwd: Path) -> Taken:
    """What a warm command takes. Its CPU time is that of all processes that the server has forked."""
    before = _processor_seconds()
    wall = _seconds(words, cwd, launcher=_warm())
    return Taken(wall=wall, processor=_processor_seconds() - before)


def _bare_taken(words: Sequence[str], cwd: Path) -> Taken:
    wall: list[float] = []
    processor = cpu_seconds(lambda: wall.append(_bare_seconds(words, cwd)))
    return Taken(wall=wall[0], processor=processor)


def _compared(what: str, words: Sequence[str], cwd: Path, rounds: int, bound: float) -> list[Row]:
    """Warm and bare, in the same turns.

    :param bound: the most that the warm command may take, as a multiple of the bare one.
    """
    _seconds(words, cwd, launcher=_warm())
    _bare_seconds(words, cwd)
    _server()
    ways = {"warm": partial(_warm_taken, words, cwd), "bare": partial(_bare_taken, words, cwd)}
    taken = in_turns(ways, rounds)
    return [_row(what, taken["warm"], taken["bare"], bound)]


def _row(what: str, ours: Sequence[Taken], bare: Sequence[Taken], bound: float) -> Row:
    """The row of warm commands beside the bare dbt of the same rounds."""
    walls, processors = ([[getattr(each, name) for each in taken] for taken in (ours, bare)] for name in NAMES)
    figures = (
        f"{median(walls[0]):.2f} s, processor {median(processors[0]):.2f} s; bare dbt {median(walls[1]):.2f} s, "
        f"processor {median(processors[1]):.2f} s ({ratio(*processors):.3f} of it)"
    )
    return Row(what, figures, ratio(*walls), bound)


def _processor_seconds() -> float:
    """CPU seconds of all processes that the server has forked, once all of them have ended."""
    times = _alone(_server()).cpu_times()
    return float(times.children_user + times.children_system)


def _alone(server: psutil.Process) -> psutil.Process:
    """The server, once all its forks have ended: pages that it shares with a fork do not count as its own."""
    while server.children():
        time.sleep(LOOK_AGAIN)
    return server


def _server() -> psutil.Process:
    """The server, once it has finished its preparation between two commands."""
    deadline = time.monotonic() + LONGEST_PREPARATION
    while time.monotonic() < deadline:
        (place,) = live_servers()
        state = servers.state_of(place)
        if state is not None and state["is_prepared"]:
            return psutil.Process(state["pid"])
        time.sleep(LOOK_AGAIN)  # each question is a fork of the server, which prepares meanwhile
    raise SystemExit(f"the server has not made all it makes within {LONGEST_PREPARATION:.0f} s")


def small(bench: Bench) -> list[Row]:
    """One model of the example project."""
    words, project = ["run", "--select", MODEL, "--profiles-dir", "."], example(bench.folder)
    rows = _compared("small project, dbt run of one model, warm", words, project, bench.rounds, SMALL_BOUND)
    return [*rows, *beside_cosmos("small project", bench, project, MODEL, SMALL_TASK_BOUNDS)]


def large(bench: Bench) -> list[Row]:
    """One model of a thousand, with a valid parse file."""
    project = large_project(bench.folder / "large")
    database = {"type": "duckdb", "path": str(bench.folder / "large.duckdb")}
    (bench.folder / "profiles.yml").write_text(json.dumps({"harbor": {"target": "dev", "outputs": {"dev": database}}}))
    shutil.copy(bench.folder / "profiles.yml", project)
    words = ["run", "--select", "model_7", "--profiles-dir", str(bench.folder)]
    what = "1,000 models, valid partial_parse, one model, warm"
    rows = _compared(what, words, project, bench.rounds, LARGE_BOUND)
    return [*rows, *beside_cosmos("1,000 models", bench, project, "model_7", LARGE_TASK_BOUNDS)]


def large_project(project: Path) -> Path:
    """A thousand models, parsed once by dbt, into a folder beside the project."""
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: large\nversion: '1.0'\nprofile: harbor\n")
    (project.parent / "profiles.yml").write_text("harbor: {target: dev, outputs: {dev: {type: duckdb, path: none}}}\n")
    for number in range(1000):
        folder = project / "models" / f"area_{number % 20}"
        folder.mkdir(exist_ok=True)
        (folder / f"model_{number}.sql").write_text("select 1 as id\n")
        columns = f"columns: [{{name: id, description: the number of {number}, data_tests: [unique, not_null]}}]"
        (folder / f"model_{number}.yml").write_text(f"models: [{{name: model_{number}, {columns}}}]\n")
    words = ["parse", "--project-dir", str(project), "--profiles-dir", str(project.parent)]
    _bare_seconds([*words, "--target-path", str(project.parent / "target")], project.parent)
    return project


def memory(bench: Bench) -> list[Row]:
    """Memory of an idle server, and of a dbt that has imported the same; pages of its own alone (USS).

    They are measured one after the other: a page of a library counts for neither while both have loaded it.
    """
    same, less = _imported(IMPORTED_ALL, *DBT_MODULES), _imported(IMPORTED)
    _seconds(["--help"], bench.folder, launcher=_warm())
    server = _alone(_server()).memory_full_info().uss
    figures = (
        f"{server / 1e6:.0f} MB; a dbt that has imported the same {same / 1e6:.0f} MB, "
        f"its entry point and adapters alone {less / 1e6:.0f} MB"
    )
    return [Row("memory of an idle server", figures, server / same, MEMORY_BOUND)]


def _imported(code: str, *words: str) -> int:
    """Bytes of a Python of dbt's environment that has run some code."""
    with subprocess.Popen(
        [str(DBT / "bin" / "python"), "-c", code, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as alone:
        assert alone.stdout is not None  # noqa: S101 - for the type checker
        alone.stdout.readline()
        imported: int = psutil.Process(alone.pid).memory_full_info().uss
        alone.kill()
    return imported


def many(bench: Bench) -> list[Row]:
    """A thousand commands through one server."""
    words = ["--help"]
    for _ in range(20):
        _seconds(words, bench.folder, launcher=_warm())
    server = _server()
    before, descriptors, began = server.memory_info().rss, server.num_fds(), time.perf_counter()
    for _ in range(COMMANDS):
        _seconds(words, bench.folder, launcher=_warm())
    taken = time.perf_counter() - began
    grown, left = server.memory_info().rss - before, server.num_fds() - descriptors
    figures = (
        f"0 failures, {taken / COMMANDS * 1000:.0f} ms each; memory {grown / 1e6:+.1f} MB, descriptors {left:+d}, "
        f"children {len(server.children())}"
    )
    judged = (before + max(grown, 0)) / before if not left else float("inf")
    return [Row(f"{COMMANDS:,} commands through one server: memory after over before", figures, judged, 1.01)]


@contextmanager
def own_servers() -> Iterator[None]:
    """Servers of this run alone, which end with it."""
    with throwaway_folder("cv-") as folder:
        os.environ.pop("XDG_RUNTIME_DIR", None)
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield
        finally:
            _end_servers()
            tempfile.tempdir = before


def _end_servers() -> None:
    for place in live_servers():
        state = servers.state_of(place)
        if state is not None:
            stop(place)
            with suppress(psutil.NoSuchProcess):
                psutil.Process(state["pid"]).wait(LONGEST_PREPARATION)


def _with_own_servers(measure: Measurement) -> Measurement:
    def measured(bench: Bench) -> list[Row]:
        with own_servers():
            return measure(bench)

    return measured


if __name__ == "__main__":
    measurements = {each.__name__: _with_own_servers(each) for each in (small, large, memory, many)}
    how = "Medians of {rounds} rounds; wall time."
    sys.exit(main("warm", "What a warm dbt costs", measurements, rounds=8, how=how, description=__doc__))
