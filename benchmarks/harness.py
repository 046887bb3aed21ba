"""The harness of all benchmarks: rows with a figure and a bound, measurements in turns, and the stored table.

A benchmark names its measurements, and ``main`` runs them, prints the table, and stores it in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from pytest_cosmos_venv.throwaway import throwaway_folder

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
MACHINE = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"
NO_BOUND = math.inf
"""The bound of a row that promises nothing."""

Taken = TypeVar("Taken")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :param what: what was measured.
    :param figures: the figures, in words.
    :param judged: the figure that the bound is for.
    :param bound: the most that is promised.
    :param unit: of the judged figure; ``x`` is a ratio.
    """

    what: str
    figures: str
    judged: float
    bound: float = NO_BOUND
    unit: str = "x"

    @property
    def is_kept(self) -> bool:
        return self.judged <= self.bound

    def as_dict(self) -> dict[str, Any]:
        """The row as it is stored."""
        return asdict(self) | {"is_kept": self.is_kept}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a measurement is given.

    :param folder: for everything that is made.
    :param rounds: how often each figure is taken.
    """

    folder: Path
    rounds: int


Measurement = Callable[[Bench], list[Row]]


def main(
    name: str,
    title: str,
    measurements: Mapping[str, Measurement],
    *,
    rounds: int,
    how: str,
    description: str | None,
    more: Mapping[str, object] | None = None,
) -> int:
    """Measure as the command line says, print the table, and store it; ``--only`` stores nothing.

    :param name: of the stored files, without their suffixes.
    :param title: of the table.
    :param measurements: by their names on the command line.
    :param rounds: how often each figure is taken where the command line does not say it.
    :param how: how it was measured, in sentences; ``{rounds}`` is the number of rounds.
    :param description: the docstring of the benchmark.
    :param more: what is stored beside the rows, filled by the measurements.
    :returns: 1 when a bound is not kept, else 0.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often each figure is taken (default {rounds})")
    parser.add_argument("--only", choices=measurements, help="this measurement alone; nothing is stored then")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers end with it
    load, rows = os.getloadavg()[0], []
    for each in [options.only] if options.only else measurements:
        with throwaway_folder("cosmos-benchmark-") as folder:
            rows += measurements[each](Bench(folder=folder, rounds=options.rounds))
        print(f"measured: {each}", file=sys.stderr, flush=True)
    said = f"{MACHINE}. {how.format(rounds=options.rounds)} Load before {load:.1f}."
    text = f"# {title}\n\n{said}\n\n{table(rows)}\n"
    print(text)
    if not options.only:
        figures = {"machine": MACHINE, "load": load, "rows": [row.as_dict() for row in rows], **(more or {})}
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
        (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.is_kept for row in rows) else 1


def table(rows: Sequence[Row]) -> str:
    """The table as Markdown.

    :param rows: its lines.
    """
    lines = ["| what | measured | judged | at most | |", "|---|---|---:|---:|---|"]
    for row in rows:
        verdict = f"{row.bound:.3f} | {'kept' if row.is_kept else 'NOT KEPT'} |"
        if math.isinf(row.bound):  # no promise, so none was kept
            verdict = "- | |"
        lines.append(f"| {row.what} | {row.figures} | {row.judged:.3f} {row.unit} | {verdict}")
    return "\n".join(lines)


def in_turns(ways: Mapping[str, Callable[[], Taken]], rounds: int) -> dict[str, list[Taken]]:
    """What each way has taken in each round. The ways take turns, so that a busy machine is busy for all; the first
    round fills caches and does not count.

    :param ways: by their names; each returns what it has taken.
    :param rounds: how many count.
    """
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            found = way()
            if number:
                taken[name].append(found)
    return taken


def ratio(ours: Sequence[float], floor: Sequence[float]) -> float:
    """The median of ours over the floor of the same round.

    :param ours: of each round.
    :param floor: likewise.
    """
    return median(mine / bare for mine, bare in zip(ours, floor, strict=True))


def wall_seconds(call: Callable[[], object]) -> float:
    """Seconds until the call returns.

    :param call: what is measured.
    """
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU seconds of a call, and of the processes that it starts and that end in it.

    :param call: what is measured.
    """
    began = _used()
    kept = call()
    taken = _used() - began
    del kept  # to free it is no part of the time
    return taken


def _used() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def least_cpu_seconds(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least CPU seconds of each call; they run in turns, each time in a fork of this process.

    :param calls: by their names.
    :param rounds: how often each runs.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(float(in_a_fork(lambda call=call: cpu_seconds(call))))  # type: ignore[misc]
    return {name: min(times) for name, times in taken.items()}


def in_a_fork(call: Callable[[], object]) -> str:
    """The result of the call in a fork, as text.

    :param call: what is measured.
    :raises ChildProcessError: when it failed; what it raised is on standard error.
    """
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        code = 1
        try:
            os.write(writing, str(call()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    if os.waitpid(child, 0)[1]:
        raise ChildProcessError("A measurement has failed.")
    return text


def uv_commands(environment: Path, *words: str) -> list[list[str]]:
    """The bare commands that make an environment with uv. The environment holds copies, as environments of cosmos_venv
    do. Without the option, uv makes links where its cache is on the same disk, and a table depends on the machine.

    :param environment: its folder, which they make.
    :param words: options and requirements of ``uv pip install``.
    """
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "uv"
    python, new_python = os.path.realpath(sys.executable), str(environment / "bin" / "python")
    return [
        [uv, "venv", "--quiet", "--python", python, str(environment)],
        [uv, "pip", "install", "--quiet", "--link-mode", "copy", "--python", new_python, *words],
    ]
