"""Whole runs of pytest with races across workers, in each way to hand out tests and beside other people's plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.installed import ROOT

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

def race(cosmos_race, name):
    cosmos_race.barrier("start")
    began = time.time()
    with cosmos_race.span("work"):
        cosmos_race.barrier("in the middle")
    cosmos_race.barrier("end")
    seen = {
        "race": name, "worker": os.environ.get("PYTEST_XDIST_WORKER"), "pid": os.getpid(), "began": began,
        "group": LOG.name, "size": cosmos_race.count,
        "overlap": bool(cosmos_race.timeline.overlap("work")), "ended": time.time(),
    }
    (LOG / f"{name}-{cosmos_race.index}-{os.getpid()}.json").write_text(json.dumps(seen))

@pytest.mark.parametrize("number", range(6))
@pytest.mark.cosmos_race(contenders=2)
def test_of_two(cosmos_race, number):
    race(cosmos_race, f"two-{number}")

class TestOthers:
    @pytest.mark.parametrize("number", range(6))
    @pytest.mark.cosmos_race(contenders=3)
    @pytest.mark.xdist_group("harbor")
    def test_of_three(self, cosmos_race, number):
        race(cosmos_race, f"three-{number}")

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

    races: int = 0
    across: int = 0
    faults: list[str] = field(default_factory=list)


def modes() -> Iterator[Mode]:
    """Each way to hand out tests, and each other plugin."""
    for name in ("load", "loadscope", "loadfile", "loadgroup", "worksteal"):
        yield Mode(name=name, options=("--dist", name))
    beside = {
        "pytest-randomly": (),
        "pytest-rerunfailures": ("--reruns", "2", "-p", "no:randomly"),
        "pytest-timeout": ("--timeout", "60", "-p", "no:randomly"),
    }
    for plugin, options in beside.items():
        yield Mode(name="load", options=("--dist", "load", *CROWD_OPTIONS, *options), python=CROWD, beside=plugin)
    split = ("--dist", "load", "-p", "no:randomly", *CROWD_OPTIONS)
    yield Mode(name="load", options=split, python=CROWD, beside="pytest-split", groups=2, is_complete=False)


def prove(mode: Mode, counts: ModeCounts) -> None:
    """Run the tests once in that mode, and write down what was seen."""
    with throwaway_folder("cosmos-races-") as folder:
        project, log = folder / "project", folder / "log"
        project.mkdir()
        log.mkdir()
        (project / "test_races.py").write_text(TESTS, encoding="utf-8")
        (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for group in range(1, mode.groups + 1):
            split = ("--splits", str(mode.groups), "--group", str(group)) if mode.groups > 1 else ()
            fault = run_pytest(mode, project, log / str(group), (*mode.options, *split))
            if fault:
                counts.faults.append(fault)
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
    """Whether the copies of each race were at work at one moment, in workers of their own, and no two races at once."""
    races: dict[tuple[object, object], list[dict[str, Any]]] = defaultdict(list)
    for copy in seen:
        # A race that pytest-split tore apart is run by each group, all copies in one worker.
        races[copy["race"], copy["group"]].append(copy)
    spans = []
    for (name, _), copies in sorted(races.items()):
        workers = {copy["worker"] for copy in copies}
        if len(workers) == 1 and not mode.is_complete:
            continue
        began = [copy["began"] for copy in copies]
        spans.append((min(began), max(copy["ended"] for copy in copies), name))
        if len(workers) == len(copies) == copies[0]["size"] and all(copy["overlap"] for copy in copies):
            counts.across += 1
        else:
            counts.faults.append(f"{name}: {copies}")
    names = {name for name, _ in races}
    counts.races += len(names)
    if len(names) != RACES:
        counts.faults.append(f"{len(names)} races were run, not {RACES}")
    spans.sort()
    counts.faults += [f"{one[2]} and {two[2]} went on at once" for one, two in pairwise(spans) if two[0] < one[1]]
