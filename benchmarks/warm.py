"""What does a dbt command cost that starts warm, beside the bare dbt? Prints a table and stores it.

    .venv/bin/python -m benchmarks.warm [--only small] [--rounds 8]

Warm and bare commands take turns, on a real dbt-duckdb, so that a busy machine is busy for both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.environments import Row, table
from benchmarks.local import DBT, MODEL, RESULTS, Bench, large_project
from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.process import WarmStart, dbt_program
from cosmos_venv.guarded import Cancellation, run_guarded

SMALL_BOUND, LARGE_BOUND, MEMORY_BOUND = 0.30, 0.40, 1.2
COMMANDS = 1000
IMPORTED = "import dbt.cli.main, dbt.adapters.duckdb, dbt.adapters.postgres; print(flush=True); input()"


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


def _compared(what: str, words: Sequence[str], cwd: Path, rounds: int, bound: float) -> Row:
    _seconds(words, cwd, start=_warm())
    _bare_seconds(words, cwd)
    warm, bare = [], []
    for _ in range(rounds):
        warm.append(_seconds(words, cwd, start=_warm()))
        bare.append(_bare_seconds(words, cwd))
    figures = f"{median(warm):.2f} s; bare dbt {median(bare):.2f} s"
    return Row(what=what, figures=figures, judged=median(w / b for w, b in zip(warm, bare, strict=True)), bound=bound)


def small(bench: Bench) -> list[Row]:
    """One model of the example project."""
    words = ["run", "--select", MODEL, "--profiles-dir", "."]
    return [_compared("small project, dbt run of one model, warm", words, bench.example(), bench.rounds, SMALL_BOUND)]


def large(bench: Bench) -> list[Row]:
    """One model of a thousand, with a valid parse file."""
    project = large_project(bench.folder / "large")
    database = {"type": "duckdb", "path": str(bench.folder / "large.duckdb")}
    (bench.folder / "profiles.yml").write_text(json.dumps({"harbor": {"target": "dev", "outputs": {"dev": database}}}))
    words = ["run", "--select", "model_7", "--profiles-dir", str(bench.folder)]
    return [_compared("1,000 models, valid partial_parse, one model, warm", words, project, bench.rounds, LARGE_BOUND)]


def memory(bench: Bench) -> list[Row]:
    """What an idle server takes, and what a Python that has imported dbt."""
    _seconds(["--help"], bench.folder, start=_warm())
    (place,) = servers.servers()
    server = psutil.Process(place.note()["pid"]).memory_full_info().uss
    with subprocess.Popen(
        [str(DBT / "bin" / "python"), "-c", IMPORTED], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as alone:
        assert alone.stdout is not None  # noqa: S101 - for the type checker
        alone.stdout.readline()
        imported = psutil.Process(alone.pid).memory_full_info().uss
        alone.kill()
    figures = f"{server / 1e6:.0f} MB; a Python that has imported dbt {imported / 1e6:.0f} MB"
    return [Row(what="memory of an idle server", figures=figures, judged=server / imported, bound=MEMORY_BOUND)]


def many(bench: Bench) -> list[Row]:
    """A thousand commands through one server."""
    words = ["--help"]
    for _ in range(20):
        _seconds(words, bench.folder, start=_warm())
    (place,) = servers.servers()
    server = psutil.Process(place.note()["pid"])
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
def _own_servers() -> Iterator[None]:
    """Servers of this run alone, which end with it."""
    with tempfile.TemporaryDirectory(prefix="cv-") as folder:
        os.environ.pop("XDG_RUNTIME_DIR", None)
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield
        finally:
            for place in servers.servers():
                servers.stop(place)
            tempfile.tempdir = before


def main() -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8, help="how often each figure is taken (default 8)")
    parser.add_argument("--only", choices=MEASUREMENTS, help="this measurement alone; nothing is stored then")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cosmos-benchmark-") as folder, _own_servers():
        bench = Bench(folder=Path(folder), rounds=options.rounds)
        rows = [row for name in ([options.only] if options.only else MEASUREMENTS) for row in MEASUREMENTS[name](bench)]
    machine = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"
    text = f"# What a warm dbt costs\n\n{machine}. Medians of {options.rounds} rounds; wall time.\n\n{table(rows)}\n"
    print(text)
    if not options.only:
        (RESULTS / "warm.md").write_text(text, encoding="utf-8")
        stored = {"machine": machine, "rows": [asdict(row) | {"is_kept": row.is_kept} for row in rows]}
        (RESULTS / "warm.json").write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
