"""A proof that racers across workers meet every time: whole runs of pytest, repeatedly, and a table.

Started with a Python that has pytest-xdist (`.venv`); what runs beside other people's plugins uses `.cache/envs/crowd`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.throwaway import throwaway_folder

ROOT = Path(__file__).resolve().parent.parent
CROWD = ROOT / ".cache" / "envs" / "crowd" / "bin" / "python"
DEADLINE = 180.0  # seconds for one run of pytest: longer is a hang
WORKERS = 3
RACES = 12  # as TESTS has them
LAST_LINES = 30
# It sets up an Airflow in every worker, and takes no part in running tests.
CROWD_OPTIONS = ("-p", "no:pytest_airflow_in_a_box")

TESTS = """
import json, os, time
from pathlib import Path
import pytest

LOG = Path(os.environ["RACES_LOG"])

def race(cosmos_racer, name):
    cosmos_racer.barrier("start")
    began = time.time()
    with cosmos_racer.span("work"):
        cosmos_racer.barrier("in the middle")
    cosmos_racer.barrier("end")
    seen = {
        "race": name, "worker": os.environ.get("PYTEST_XDIST_WORKER"), "pid": os.getpid(), "began": began,
        "group": LOG.name, "size": cosmos_racer.racers,
        "overlap": bool(cosmos_racer.timeline().overlap("work")), "ended": time.time(),
    }
    (LOG / f"{name}-{cosmos_racer.index}-{os.getpid()}.json").write_text(json.dumps(seen))

@pytest.mark.parametrize("number", range(6))
@pytest.mark.cosmos_race(racers=2, across_workers=True)
def test_of_two(cosmos_racer, number):
    race(cosmos_racer, f"two-{number}")

class TestOthers:
    @pytest.mark.parametrize("number", range(6))
    @pytest.mark.cosmos_race(racers=3, across_workers=True)
    @pytest.mark.xdist_group("harbor")
    def test_of_three(self, cosmos_racer, number):
        race(cosmos_racer, f"three-{number}")

@pytest.mark.cosmos_race(racers=2)
def test_in_processes_of_their_own(cosmos_racer):
    cosmos_racer.barrier("start")

@pytest.mark.parametrize("number", range(20))
def test_that_is_no_race(number):
    time.sleep(0.002)
"""


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way to run the tests.

    :param beside: other people's plugins that it is run beside, for people.
    :param groups: of pytest-split; each is a run of its own.
    :param is_complete: every race has to run across workers; not where a race may be split.
    """

    name: str
    options: tuple[str, ...]
    python: Path = Path(sys.executable)
    beside: str = ""
    groups: int = 1
    is_complete: bool = True


@dataclass
class ModeCounts:
    """The counts of one mode."""

    runs: int = 0
    races: int = 0
    across: int = 0
    apart: list[float] = field(default_factory=list)
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def modes() -> Iterator[tuple[Mode, int]]:
    """Each with its share of the rounds: 1 is all of them, 5 a fifth."""
    yield Mode(name="load", options=("--dist", "load")), 1
    for name in ("loadscope", "loadfile", "loadgroup", "worksteal"):
        yield Mode(name=name, options=("--dist", name)), 5
    for dist in ("load", "worksteal"):
        beside = {
            "pytest-randomly": (),
            "pytest-rerunfailures": ("--reruns", "2", "-p", "no:randomly"),
            "pytest-timeout": ("--timeout", "60", "-p", "no:randomly"),
        }
        for plugin, options in beside.items():
            yield Mode(name=dist, options=("--dist", dist, *CROWD_OPTIONS, *options), python=CROWD, beside=plugin), 5
    split = ("--dist", "load", "-p", "no:randomly", *CROWD_OPTIONS)
    yield Mode(name="load", options=split, python=CROWD, beside="pytest-split", groups=2, is_complete=False), 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 when a single race of a single run was not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=50, help="runs of --dist load; a fifth of it for every other mode"
    )
    rounds = parser.parse_args(arguments).rounds
    print(
        f"{'--dist':<10} {'beside':<21} {'runs':>4} {'races':>6} {'across':>6} {'apart, ms':>12} {'s/run':>6}  faults"
    )
    print(f"{'':<50} {'median':>7} {'max':>6}")
    faults = []
    for mode, share in modes():
        counts = ModeCounts()
        for _ in range(max(1, rounds // share)):
            prove(mode, counts)
        print(row(mode, counts), flush=True)
        faults += [f"{mode.name} {mode.beside}: {fault}" for fault in counts.faults]
    print("\n".join(faults))
    return 1 if faults else 0


def row(mode: Mode, counts: ModeCounts) -> str:
    """One line of the table."""
    apart = [1000 * seconds for seconds in counts.apart] or [float("nan")]
    each = counts.seconds / counts.runs
    return (
        f"{mode.name:<10} {mode.beside:<21} {counts.runs:>4} {counts.races:>6} {counts.across:>6} "
        f"{statistics.median(apart):>7.2f} {max(apart):>6.1f} {each:>6.1f}  {len(counts.faults)}"
    )


def prove(mode: Mode, counts: ModeCounts) -> None:
    """Run the tests once in that mode, and write down what was seen."""
    with throwaway_folder("cosmos-prove-races-") as folder:
        project, log = folder / "project", folder / "log"
        project.mkdir()
        log.mkdir()
        (project / "test_races.py").write_text(TESTS, encoding="utf-8")
        (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        started = time.monotonic()
        for group in range(1, mode.groups + 1):
            split = ("--splits", str(mode.groups), "--group", str(group)) if mode.groups > 1 else ()
            fault = run_pytest(mode, project, log / str(group), (*mode.options, *split))
            if fault:
                counts.faults.append(fault)
        counts.seconds += time.monotonic() - started
        counts.runs += 1
        judge(mode, [json.loads(file.read_bytes()) for file in log.glob("*/*.json")], counts)


def run_pytest(mode: Mode, project: Path, log: Path, options: Sequence[str]) -> str | None:
    """The end of its output when it failed or hung."""
    log.mkdir()
    command = [str(mode.python), "-m", "pytest", "-q", "-n", str(WORKERS), "-p", "no:cacheprovider", *options]
    try:
        done = subprocess.run(
            command,
            cwd=project,
            env={**os.environ, "RACES_LOG": str(log), "TMPDIR": str(project.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=DEADLINE,
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(command)} had not ended after {DEADLINE:.0f} s"
    if done.returncode == 0:
        return None
    return "\n".join([f"{' '.join(command)} ended with {done.returncode}:", *done.stdout.splitlines()[-LAST_LINES:]])


def judge(mode: Mode, seen: Sequence[dict[str, Any]], counts: ModeCounts) -> None:
    """Whether the racers of each race were at work at one moment, in workers of their own, and no two races at once."""
    races: dict[tuple[object, object], list[dict[str, Any]]] = defaultdict(list)
    for racer in seen:
        # A race that pytest-split tore apart is run by each group, all copies in one worker.
        races[racer["race"], racer["group"]].append(racer)
    spans = []
    for (name, _), racers in sorted(races.items()):
        workers = {racer["worker"] for racer in racers}
        if len(workers) == 1 and not mode.is_complete:
            continue
        began = [racer["began"] for racer in racers]
        spans.append((min(began), max(racer["ended"] for racer in racers), name))
        if len(workers) == len(racers) == racers[0]["size"] and all(racer["overlap"] for racer in racers):
            counts.across += 1
            counts.apart.append(max(began) - min(began))
        else:
            counts.faults.append(f"{name}: {racers}")
    names = {name for name, _ in races}
    counts.races += len(names)
    if len(names) != RACES:
        counts.faults.append(f"{len(names)} races were run, not {RACES}")
    spans.sort()
    counts.faults += [f"{one[2]} and {two[2]} went on at once" for one, two in pairwise(spans) if two[0] < one[1]]


if __name__ == "__main__":
    sys.exit(main())
