"""Benchmark of a dbt command that starts warm, beside the bare dbt. Prints a table and stores it.

    .venv/bin/python -m benchmarks.warm [--only small] [--rounds 8]

Warm and bare commands take turns, on a real dbt-duckdb, so that a busy machine is busy for both.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.environments import Row, table
from benchmarks.local import DBT, MODEL, Bench, large_project
from benchmarks.storing import MACHINE, store
from benchmarks.warm_tasks import beside_cosmos
from cosmos_venv.dbt.native.engine import PYTHON
from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.process import DBT as DBT_MODULES
from cosmos_venv.dbt.warm.process import WarmStart, dbt_program
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import run_guarded
from pytest_cosmos_venv.throwaway import throwaway_folder

SMALL_BOUND, LARGE_BOUND, MEMORY_BOUND = 0.30, 0.40, 1.2
SMALL_TASK_BOUNDS = (0.30, 0.20, 0.27)
LARGE_TASK_BOUNDS = (0.40, float("inf"), float("inf"))
LONGEST_PREPARATION = 120.0
LOOK_AGAIN = 0.2
COMMANDS = 1000
# A dbt that has imported its entry point and adapters, and one that has also what its commands import as they run.
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
        program=dbt_program(DBT, DBT / "bin" / "dbt", PYTHON),
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


def _compared(what: str, words: Sequence[str], cwd: Path, rounds: int, bound: float) -> Row:
    _seconds(words, cwd, start=_warm())
    _bare_seconds(words, cwd)
    _server()
    warm, bare = [], []
    for _ in range(rounds):
        warm.append(_seconds(words, cwd, start=_warm()))
        bare.append(_bare_seconds(words, cwd))
    figures = f"{median(warm):.2f} s; bare dbt {median(bare):.2f} s"
    return Row(what=what, figures=figures, judged=median(w / b for w, b in zip(warm, bare, strict=True)), bound=bound)


@dataclass
class Taken:
    """Seconds that the rounds of one kind of command have taken."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def row(self, what: str, bare: Taken, bound: float) -> Row:
        """Beside the bare dbt of the same rounds."""
        by_processor = median(ours / alone for ours, alone in zip(self.processor, bare.processor, strict=True))
        figures = (
            f"{median(self.wall):.2f} s, processor {median(self.processor):.2f} s; bare dbt {median(bare.wall):.2f} s, "
            f"processor {median(bare.processor):.2f} s ({by_processor:.3f} of it)"
        )
        judged = median(ours / alone for ours, alone in zip(self.wall, bare.wall, strict=True))
        return Row(what=what, figures=figures, judged=judged, bound=bound)


def _compared_with_processor(what: str, words: Sequence[str], cwd: Path, rounds: int) -> Row:
    """Warm and bare, in the same turns; by processor time too."""
    _seconds(words, cwd, start=_warm())
    _bare_seconds(words, cwd)
    _server()
    warm, bare = Taken(), Taken()
    for _ in range(rounds):
        before = _processor_seconds()
        warm.wall.append(_seconds(words, cwd, start=_warm()))
        warm.processor.append(_processor_seconds() - before)
        before = _children_seconds()
        bare.wall.append(_bare_seconds(words, cwd))
        bare.processor.append(_children_seconds() - before)
    return warm.row(f"{what}, warm", bare, LARGE_BOUND)


def _children_seconds() -> float:
    """CPU seconds of the processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _processor_seconds() -> float:
    """CPU seconds of all that the server has forked, when nothing of it is left."""
    times = _alone(_server()).cpu_times()
    return float(times.children_user + times.children_system)


def _alone(server: psutil.Process) -> psutil.Process:
    """It, when nothing that it has forked is left: pages that it shares with one are not counted as its own."""
    while server.children():
        time.sleep(LOOK_AGAIN)
    return server


def _server() -> psutil.Process:
    """The server, as soon as it has made what it makes between commands."""
    deadline = time.monotonic() + LONGEST_PREPARATION
    while time.monotonic() < deadline:
        (place,) = servers.servers()
        state = servers.state_of(place)
        if state is not None and state["is_prepared"]:
            return psutil.Process(state["pid"])
        time.sleep(LOOK_AGAIN)  # each question is a fork of the server, which prepares meanwhile
    raise SystemExit(f"the server has not made all it makes within {LONGEST_PREPARATION:.0f} s")


def small(bench: Bench) -> list[Row]:
    """One model of the example project."""
    words, project = ["run", "--select", MODEL, "--profiles-dir", "."], bench.example()
    row = _compared("small project, dbt run of one model, warm", words, project, bench.rounds, SMALL_BOUND)
    return [row, *beside_cosmos("small project", bench, project, MODEL, SMALL_TASK_BOUNDS)]


def large(bench: Bench) -> list[Row]:
    """One model of a thousand, with a valid parse file."""
    project = large_project(bench.folder / "large")
    database = {"type": "duckdb", "path": str(bench.folder / "large.duckdb")}
    (bench.folder / "profiles.yml").write_text(json.dumps({"harbor": {"target": "dev", "outputs": {"dev": database}}}))
    shutil.copy(bench.folder / "profiles.yml", project)
    words = ["run", "--select", "model_7", "--profiles-dir", str(bench.folder)]
    row = _compared_with_processor("1,000 models, valid partial_parse, one model", words, project, bench.rounds)
    return [row, *beside_cosmos("1,000 models", bench, project, "model_7", LARGE_TASK_BOUNDS)]


def memory(bench: Bench) -> list[Row]:
    """Memory of an idle server, and of a dbt that has imported the same; pages of its own alone (USS).

    One after the other: pages of libraries are nobody's own while two have loaded them.
    """
    same, less = _imported(IMPORTED_ALL, *DBT_MODULES), _imported(IMPORTED)
    _seconds(["--help"], bench.folder, start=_warm())
    server = _alone(_server()).memory_full_info().uss
    figures = (
        f"{server / 1e6:.0f} MB; a dbt that has imported the same {same / 1e6:.0f} MB, "
        f"its entry point and adapters alone {less / 1e6:.0f} MB"
    )
    return [Row(what="memory of an idle server", figures=figures, judged=server / same, bound=MEMORY_BOUND)]


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
        _seconds(words, bench.folder, start=_warm())
    server = _server()
    before, descriptors, began = server.memory_info().rss, server.num_fds(), time.perf_counter()
    for _ in range(COMMANDS):
        _seconds(words, bench.folder, start=_warm())
    taken = time.perf_counter() - began
    grown, left = server.memory_info().rss - before, server.num_fds() - descriptors
    figures = (
        f"0 failures, {taken / COMMANDS * 1000:.0f} ms each; memory {grown / 1e6:+.1f} MB, descriptors {left:+d}, "
        f"children {len(server.children())}"
    )
    judged = (before + max(grown, 0)) / before if not left else float("inf")
    return [
        Row(
            what=f"{COMMANDS:,} commands through one server: memory after over before",
            figures=figures,
            judged=judged,
            bound=1.01,
        )
    ]


MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {"small": small, "large": large, "memory": memory, "many": many}


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
    for place in servers.servers():
        state = servers.state_of(place)
        if state is not None and servers.stop(place):
            with suppress(psutil.NoSuchProcess):
                psutil.Process(state["pid"]).wait(LONGEST_PREPARATION)


def main() -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8, help="how often each figure is taken (default 8)")
    parser.add_argument("--only", choices=MEASUREMENTS, help="this measurement alone; nothing is stored then")
    options = parser.parse_args()
    with throwaway_folder("cosmos-benchmark-") as folder, own_servers():
        bench = Bench(folder=folder, rounds=options.rounds)
        rows = []
        for name in [options.only] if options.only else MEASUREMENTS:
            rows += MEASUREMENTS[name](bench)
            _end_servers()  # or the next one would ask servers of other environments too
            print(f"measured: {name}", file=sys.stderr, flush=True)
    text = f"# What a warm dbt costs\n\n{MACHINE}. Medians of {options.rounds} rounds; wall time.\n\n{table(rows)}\n"
    print(text)
    if not options.only:
        store("warm", text, {"machine": MACHINE, "rows": [row.as_dict() for row in rows]})
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
