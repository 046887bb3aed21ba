"""Benchmark of the toolkit, beside the plain work beneath. Prints a table and stores it.

    .venv/bin/python -m benchmarks.toolkit

The figures are CPU seconds; the last line is wall time. Each figure and its floor take turns in one run, so that a busy
machine is busy for both. The least of the rounds counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.harness import Bench, Row, cpu_seconds, in_turns, main, uv_commands
from pytest_cosmos_venv.environments.fake_venv import fake_venv
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
from pytest_cosmos_venv.projects.projects import CosmosProject
from pytest_cosmos_venv.throwaway import throwaway_folder

USER_PROJECT = Path(__file__).parents[1] / "examples" / "user_project"
AFTER_THE_FIRST = (
    "test_the_password_reaches_dbt_by_its_environment_only",
    "test_what_reads_a_model_does_not_run_when_it_fails",
)


def beside(
    what: str, beneath: str, ours: Sequence[float], floor: Sequence[float], bound: float, *, is_added: bool = False
) -> Row:
    """One line of the table: the least of all rounds, as timeit does it. Other processes took the rest of the time.

    :param what: what was measured.
    :param beneath: the plain work beneath, in words.
    :param ours: seconds of each round.
    :param floor: seconds of the plain work of each round.
    :param bound: the seconds that are promised: of ours, or of what ours adds.
    :param is_added: whether what is added is judged.
    """
    mine, plain = 1000 * min(ours), 1000 * min(floor)
    judged, unit = (mine - plain, "ms more") if is_added else (mine, "ms")
    return Row(what, f"{mine:,.1f} ms; {beneath} {plain:,.1f} ms", judged, 1000 * bound, unit)


def compared(
    ours: Callable[[Path], object], floor: Callable[[Path], object], rounds: int
) -> tuple[list[float], list[float]]:
    """CPU seconds of both calls, in turns, each in an empty folder."""

    def taken(call: Callable[[Path], object]) -> float:
        with throwaway_folder("cosmos-benchmark-") as folder:
            return cpu_seconds(lambda: call(folder))

    found = in_turns({"ours": partial(taken, ours), "floor": partial(taken, floor)}, rounds)
    return found["ours"], found["floor"]


# Each line that it prints: CPU seconds with the plugin, and without. It imports pytest once and forks for each round:
# the import is the same on both sides, takes twenty times as long as what is measured, and varies by more.
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


def loading_the_plugin(bench: Bench) -> list[Row]:
    """An empty folder, collected, by pytest with this plugin and by pytest alone.

    Other plugins that happen to be installed are left out on both sides. They take many times as long, and it is chance
    on which side their garbage is collected.
    """
    others = [entry.name for entry in entry_points(group="pytest11") if entry.name != "cosmos_venv"]
    without_them = [option for name in others for option in ("-p", f"no:{name}")]
    # Compiled once, as for every user.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with throwaway_folder("cosmos-benchmark-") as folder:
        done = subprocess.run(
            [sys.executable, "-c", FORKING, str(2 * bench.rounds + 1), *without_them],
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    pairs = [tuple(map(float, line.split())) for line in done.stdout.splitlines()][1:]
    return [
        beside(
            "pytest --co of an empty folder, once pytest is imported",
            "the same with -p no:cosmos_venv",
            [ours for ours, _ in pairs],
            [floor for _, floor in pairs],
            0.010,
            is_added=True,
        )
    ]


def making_a_fake_venv(bench: Bench) -> list[Row]:
    """Each time a fake virtual environment with a dbt in it; beneath: its files, written one by one."""
    with throwaway_folder("cosmos-benchmark-") as folder:
        template = folder / "venv"
        _ = fake_venv(template, []).path
        files = {path.relative_to(template): path.read_bytes() for path in template.rglob("*") if path.is_file()}

    def write(folder: Path) -> None:
        for parent in {path.parent for path in files}:
            (folder / parent).mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            (folder / path).write_bytes(content)

    ours, floor = compared(lambda folder: str(fake_venv(folder / "venv", []).path), write, bench.rounds)
    return [beside("cosmos_fake_venv", "its files, written", ours, floor, 0.005)]


def installing(bench: Bench) -> list[Row]:
    """dbt-core and dbt-duckdb into a new environment by uv; beneath: one empty wheel."""
    with throwaway_folder("cosmos-benchmark-") as store:
        wheelhouse = build_wheelhouse(store / "wheelhouse")
        write_wheel(Wheel(name="empty", version="1", files={}), wheelhouse.path)

        def install(*requirements: str) -> Callable[[Path], None]:
            return lambda folder: uv_install(folder / "venv", wheelhouse, *requirements)

        ours, floor = compared(install("dbt-core", "dbt-duckdb"), install("empty"), bench.rounds)
    return [beside("cosmos_dbt: uv venv, uv pip install dbt-duckdb", "the same with one empty wheel", ours, floor, 1.0)]


def uv_install(environment: Path, wheelhouse: Wheelhouse, *requirements: str) -> None:
    """A new environment with these distributions."""
    variables = {**os.environ, **wheelhouse.environment}
    for command in uv_commands(environment, *wheelhouse.pip_install_options, *requirements):
        subprocess.run(command, env=variables, check=True, stdin=subprocess.DEVNULL)


def large_manifest(bench: Bench) -> list[Row]:
    """The manifest of 5,000 models with their tests; beneath: its JSON, written."""
    with throwaway_folder("cosmos-benchmark-") as folder:
        document = json.loads(CosmosProject(folder=folder).large(5000).manifest().read_text(encoding="utf-8"))

    def ours(folder: Path) -> None:
        CosmosProject(folder=folder).large(5000).manifest()

    def floor(folder: Path) -> None:
        (folder / "manifest.json").write_text(json.dumps(document), encoding="utf-8")

    mine, plain = compared(ours, floor, max(3, bench.rounds // 4))
    return [
        beside(
            f"cosmos_project.large(5000).manifest(), {len(document['nodes']):,} nodes",
            "its JSON, written",
            mine,
            plain,
            2.0,
        )
    ]


def testing_a_dag(bench: Bench) -> list[Row]:
    """Tests of examples/user_project that make and run its DAG, after one has run in the process; in wall time.

    Each builds an environment from nothing, lists the project in it and runs three tasks; beneath: the installation and
    as many calls of the scripted dbt.
    """
    ours: list[float] = []
    floor: list[float] = []
    with throwaway_folder("cosmos-benchmark-") as store:
        wheelhouse = build_wheelhouse(store / "wheelhouse")
        # Without these variables the fake of dbt refuses to run, as it does outside of tests.
        variables = {**os.environ, **wheelhouse.variables}
        for number in range(max(2, bench.rounds // 5)):
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
    return [
        beside(
            "a test of a virtualenv-mode DAG from nothing (wall time)",
            "its installation and four calls of dbt",
            ours,
            floor,
            1.0,
        )
    ]


if __name__ == "__main__":
    measured = (loading_the_plugin, making_a_fake_venv, installing, large_manifest, testing_a_dag)
    measurements = {each.__name__.replace("_", "-"): each for each in measured}
    how = "CPU time but where a line says otherwise, the least of {rounds} rounds, both sides in turns."
    sys.exit(main("toolkit", "What the toolkit costs", measurements, rounds=20, how=how, description=__doc__))
