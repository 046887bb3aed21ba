"""Benchmark of the toolkit, beside the plain work beneath. Prints a table and stores it.

    .venv/bin/python -m benchmarks.toolkit

CPU seconds, but for the last line; each figure and its floor are measured turn by turn in one run, so that a busy
machine is busy for both, and the least of the rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from statistics import quantiles
from typing import Any
from xml.etree import ElementTree

from benchmarks.storing import MACHINE, store
from pytest_cosmos_venv.environments.fake_venv import fake_venv
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
from pytest_cosmos_venv.projects.projects import DbtProjects

USER_PROJECT = Path(__file__).parents[1] / "examples" / "user_project"
AFTER_THE_FIRST = (
    "test_the_password_reaches_dbt_by_its_environment_only",
    "test_what_reads_a_model_does_not_run_when_it_fails",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; times in CPU seconds.

    :param ours: each time the toolkit's work took.
    :param floor: each time the plain work beneath took.
    :param bound: what is promised, of the difference where ``is_added`` says so, else of ours.
    """

    what: str
    beneath: str
    ours: list[float]
    floor: list[float]
    bound: float
    is_added: bool = False

    @property
    def judged(self) -> float:
        """The figure that the bound is for: the least of all rounds, as timeit has it.

        What a round takes beyond that is what others did on the machine meanwhile.
        """
        return min(self.ours) - (min(self.floor) if self.is_added else 0.0)

    @property
    def is_kept(self) -> bool:
        return self.judged <= self.bound

    def as_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "beneath": self.beneath,
            "ours_ms": round(min(self.ours) * 1000, 2),
            "floor_ms": round(min(self.floor) * 1000, 2),
            "quartiles_of_ours_ms": [round(each * 1000, 2) for each in quantiles(self.ours, n=4)],
            "quartiles_of_floor_ms": [round(each * 1000, 2) for each in quantiles(self.floor, n=4)],
            "judged_ms": round(self.judged * 1000, 2),
            "bound_ms": self.bound * 1000,
            "judged": "what is added" if self.is_added else "the whole",
            "is_kept": self.is_kept,
            "rounds": len(self.ours),
        }


def in_turns(
    ours: Callable[[Path], object], floor: Callable[[Path], object], rounds: int
) -> tuple[list[float], list[float]]:
    """CPU seconds of each call and of the processes it starts, each in an empty folder; a first pair does not count."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for call, times in zip((ours, floor), taken, strict=True):
            with empty_folder() as folder:
                started = cpu_seconds()
                call(folder)
                times.append(cpu_seconds() - started)
    return taken[0][1:], taken[1][1:]


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended: a busy machine changes these least."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@contextmanager
def empty_folder() -> Iterator[Path]:
    """A folder that is gone afterwards, which is not part of the time."""
    folder = Path(tempfile.mkdtemp(prefix="cosmos-benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


# Each line it prints: CPU seconds with the plugin, and without. It has imported pytest and forks for each round, as
# that is the same on both sides, takes twenty times as long as what is measured, and differs by more from run to run.
FORKING = """
import os, resource, sys, pytest

def collect(*options):
    if (child := os.fork()) == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        pytest.main(["--co", "-q", "-p", "no:cacheprovider", *sys.argv[2:], *options])
        os._exit(0)
    used = os.wait4(child, 0)[2]
    return used.ru_utime + used.ru_stime

for _ in range(int(sys.argv[1])):
    print(collect(), collect("-p", "no:cosmos_venv"))
"""


def loading_the_plugin(rounds: int) -> Row:
    """An empty folder, collected, by pytest with this plugin and by pytest alone.

    Other plugins that happen to be installed are left out on both sides: they take many times as long, and whether
    their garbage is collected on this side or on that one is chance.
    """
    others = [entry.name for entry in entry_points(group="pytest11") if entry.name != "cosmos_venv"]
    without_them = [option for name in others for option in ("-p", f"no:{name}")]
    # Compiled once, as for every user.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with empty_folder() as folder:
        done = subprocess.run(
            [sys.executable, "-c", FORKING, str(rounds + 1), *without_them],
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    pairs = [tuple(map(float, line.split())) for line in done.stdout.splitlines()][1:]
    return Row(
        what="pytest --co of an empty folder, once pytest is imported",
        beneath="the same with -p no:cosmos_venv",
        ours=[ours for ours, _ in pairs],
        floor=[floor for _, floor in pairs],
        bound=0.010,
        is_added=True,
    )


def making_a_fake_venv(rounds: int) -> Row:
    """Each time a fake virtual environment with a dbt in it; beneath: its files, written one by one."""
    with empty_folder() as folder:
        template = folder / "venv"
        _ = fake_venv(template, []).path
        files = {path.relative_to(template): path.read_bytes() for path in template.rglob("*") if path.is_file()}

    def write(folder: Path) -> None:
        for parent in {path.parent for path in files}:
            (folder / parent).mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            (folder / path).write_bytes(content)

    ours, floor = in_turns(lambda folder: str(fake_venv(folder / "venv", []).path), write, rounds)
    return Row(what="cosmos_fake_venv", beneath="its files, written", ours=ours, floor=floor, bound=0.005)


def installing(rounds: int) -> Row:
    """dbt-core and dbt-duckdb into a new environment by uv; beneath: one empty wheel."""
    with empty_folder() as store:
        wheelhouse = build_wheelhouse(store / "wheelhouse")
        write_wheel(Wheel(name="empty", version="1", files={}), wheelhouse.path)

        def install(*requirements: str) -> Callable[[Path], None]:
            return lambda folder: uv_install(folder / "venv", wheelhouse, *requirements)

        ours, floor = in_turns(install("dbt-core", "dbt-duckdb"), install("empty"), rounds)
    return Row(
        what="cosmos_wheelhouse: uv venv, uv pip install dbt-duckdb",
        beneath="the same with one empty wheel",
        ours=ours,
        floor=floor,
        bound=1.0,
    )


def uv_install(environment: Path, wheelhouse: Wheelhouse, *requirements: str) -> None:
    """A new environment with these distributions."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "uv"
    variables = {**os.environ, **wheelhouse.environment}
    create = [uv, "venv", "--quiet", "--python", sys.executable, str(environment)]
    options = ["--quiet", "--python", str(environment / "bin" / "python"), *wheelhouse.pip_install_options]
    for command in (create, [uv, "pip", "install", *options, *requirements]):
        subprocess.run(command, env=variables, check=True, stdin=subprocess.DEVNULL)


def large_manifest(rounds: int) -> Row:
    """The manifest of 5,000 models with their tests; beneath: its JSON, written."""
    with empty_folder() as folder:
        document = json.loads(DbtProjects(folder=folder).large(5000).manifest().read_text(encoding="utf-8"))

    def ours(folder: Path) -> None:
        DbtProjects(folder=folder).large(5000).manifest()

    def floor(folder: Path) -> None:
        (folder / "manifest.json").write_text(json.dumps(document), encoding="utf-8")

    mine, plain = in_turns(ours, floor, rounds)
    return Row(
        what=f"cosmos_dbt_project.large(5000).manifest(), {len(document['nodes']):,} nodes",
        beneath="its JSON, written",
        ours=mine,
        floor=plain,
        bound=2.0,
    )


def testing_a_dag(rounds: int) -> Row:
    """Tests of examples/user_project that make and run its DAG, after one has run in the process; in wall time.

    Each builds an environment from nothing, lists the project in it and runs three tasks; beneath: the installation and
    as many calls of the scripted dbt.
    """
    ours: list[float] = []
    floor: list[float] = []
    with empty_folder() as store:
        wheelhouse = build_wheelhouse(store / "wheelhouse")
        # Without them the fake of dbt refuses to run, as it does outside of tests.
        variables = {**os.environ, **wheelhouse.variables}
        for number in range(rounds):
            report = store / f"{number}.xml"
            options = ["-q", "-p", "no:cacheprovider", f"--junit-xml={report}"]
            command = [sys.executable, "-m", "pytest", *options, "tests/test_fleet.py"]
            subprocess.run(command, cwd=USER_PROJECT, stdout=subprocess.DEVNULL, check=True)
            cases = ElementTree.parse(report).iter("testcase")  # noqa: S314 - our own file
            times = {case.get("name"): float(case.get("time", 0)) for case in cases}
            ours += [times[name] for name in AFTER_THE_FIRST]
            for _ in AFTER_THE_FIRST:
                started = time.perf_counter()
                uv_install(store / f"venv-{len(floor)}", wheelhouse, "dbt-core", "dbt-postgres")
                for _ in range(4):
                    dbt = store / f"venv-{len(floor)}" / "bin" / "dbt"
                    subprocess.run([dbt, "--version"], env=variables, stdout=subprocess.DEVNULL, check=True)
                floor.append(time.perf_counter() - started)
    return Row(
        what="a test of a virtualenv-mode DAG from nothing (wall time)",
        beneath="its installation and four calls of dbt",
        ours=ours,
        floor=floor,
        bound=1.0,
    )


def table(rows: list[Row]) -> str:
    """The table as Markdown."""
    lines = [
        "| what | ms | the plain work beneath | ms | promised |",
        "|---|---:|---|---:|---|",
    ]
    for row in map(Row.as_dict, rows):
        judged = (
            f"{row['judged_ms']:,.1f} ms more" if row["judged"] == "what is added" else f"{row['judged_ms']:,.1f} ms"
        )
        kept = "kept" if row["is_kept"] else "NOT KEPT"
        promise = f"{judged}, at most {row['bound_ms']:,.0f}: {kept}"
        lines.append(
            f"| {row['what']} | {row['ours_ms']:,.1f} | {row['beneath']} | {row['floor_ms']:,.1f} | {promise} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="pairs of measurements of each line (default 20)")
    rounds: int = parser.parse_args().rounds
    rows = [
        loading_the_plugin(2 * rounds),
        making_a_fake_venv(rounds),
        installing(rounds),
        large_manifest(max(3, rounds // 4)),
        testing_a_dag(max(2, rounds // 5)),
    ]
    how = f"CPU time but where a line says otherwise, the least of {rounds} rounds, both sides in turns."
    head = f"# What the toolkit costs\n\n{MACHINE}. {how}"
    text = f"{head}\n\n{table(rows)}\n"
    print(text)
    store("toolkit", text, {"machine": MACHINE, "rows": [row.as_dict() for row in rows]})
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
