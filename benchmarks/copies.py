"""Benchmark of environments as copies of uv's cache, beside hard links into it. Prints a table and stores it.

    .venv/bin/python -m benchmarks.copies [--rounds 7]

Both are bare ``uv pip install`` of a real dbt from a cache that has everything, in turns, each followed by ``sync``.
Where the file system has reflinks, ``copy`` makes them.
"""

from __future__ import annotations

import argparse
import math
import os
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.environments import REAL, REAL_WHEELS, Row, table
from benchmarks.storing import MACHINE, store
from pytest_cosmos_venv.throwaway import throwaway_folder

MODES = ("copy", "hardlink")
UV = Path(sys.executable).with_name("uv")
MEGABYTE = 1_000_000


def install(folder: Path, mode: str, cache: Path) -> float:
    """Install a real dbt, and return the seconds until the disk has it."""
    words = ["--no-index", "--find-links", str(REAL_WHEELS), "--link-mode", mode, *REAL]
    environ = {**os.environ, "UV_CACHE_DIR": str(cache)}
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(folder)], env=environ, check=True)
    began = time.monotonic()
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *words], env=environ, check=True
    )
    os.sync()
    return time.monotonic() - began


def added_bytes(folder: Path) -> int:
    """Return the bytes that the files of a folder take on disk beside those of the cache."""
    found = [path.lstat() for path in folder.rglob("*")]
    return sum(status.st_blocks * 512 for status in found if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode))


def rows(folder: Path, rounds: int) -> list[Row]:
    """The table."""
    cache = folder / "cache"
    install(folder / "first", "copy", cache)  # fills the cache
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(rounds):
        for mode in MODES:
            seconds[mode].append(install(folder / f"{mode}-{number}", mode, cache))
    taken = {mode: median(seconds[mode]) for mode in MODES}
    room = {mode: added_bytes(folder / f"{mode}-0") / MEGABYTE for mode in MODES}
    return [
        Row(
            what="installing dbt-duckdb from uv's cache until the disk has it: copies beyond hard links",
            figures=", ".join(f"{mode} {taken[mode]:.2f} s" for mode in MODES),
            judged=taken["copy"] - taken["hardlink"],
            bound=math.inf,
            unit="s",
        ),
        Row(
            what="the room on disk beside that of the cache, without byte code: copies beyond hard links",
            figures=", ".join(f"{mode} {room[mode]:.0f} MB" for mode in MODES),
            judged=room["copy"] - room["hardlink"],
            bound=math.inf,
            unit="MB",
        ),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often each figure is taken (default 7)")
    options = parser.parse_args(argv)
    load = os.getloadavg()[0]
    with throwaway_folder("cosmos-benchmark-") as folder:
        found = rows(folder, options.rounds)
    measured = f"{MACHINE}. Wall time, medians of {options.rounds} rounds; load before {load:.1f}."
    text = f"# What copies cost more than hard links\n\n{measured}\n\n{table(found)}\n"
    print(text)
    store("copies", text, {"machine": MACHINE, "load": load, "rows": [row.as_dict() for row in found]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
