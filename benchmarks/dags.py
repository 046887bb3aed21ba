"""Benchmark of building a DAG of a dbt project, and of parsing it for one task. Prints a table and stores it.

    .venv/bin/python -m benchmarks.dags [--only build] [--rounds 3] [--sizes 100 1000]

Beside it a plain Airflow DAG of empty operators with as many tasks, groups and edges, written with ``>>`` and once more
with its edges written directly into the tasks, and astronomer-cosmos as a black box in an environment of its own. Each
figure is CPU seconds, the least of the rounds, of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environments import Row, table
from benchmarks.large_projects import LargeProject, as_in_real_life, with_two_tests
from benchmarks.storing import MACHINE, store
from benchmarks.workers import COSMOS, OURS, ROOT
from pytest_cosmos_venv.throwaway import throwaway_folder

SIDE = Path(__file__).with_name("dag_side.py")
SIZES = (100, 1000, 5000, 20000)
REAL = 0  # in place of a size
SMALL = 5
# The times of the plain DAG with `>>`, by size; that of the plain DAG whose edges are written directly, for all.
BOUNDS = {1000: 1.25, 5000: 0.75}
DIRECT_BOUND = 1.6
GROWTH_BOUND = 1.10
MEMORY_BOUND = 1.3
# 30 ms beyond a plain file that takes 6.5 ms; as a ratio, since other machines take a third more for both.
PARSE_BOUND = 5.6
FLAT_BOUND = 1.25
PARSE_OF_COSMOS = {5000: 0.01, REAL: 0.05}
IMPORT_BOUND = 1.10
# Airflow's `>>` takes minutes for more, and so does the other implementation.
LARGEST_SHIFTED, LARGEST_OF_COSMOS = 20000, 5000
DAG_FILE = """
from airflow.sdk import DAG
from {root} import (
    DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig,
)

dag = DbtDag(
    dag_id="large",
    project_config=ProjectConfig({folder!r}, manifest_path={manifest!r}),
    profile_config=ProfileConfig(
        profile_name="large", target_name="dev", profiles_yml_filepath={folder!r} + "/profiles.yml"
    ),
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
    operator_args={{"py_requirements": ["dbt-duckdb"]}},
)
"""
PLAIN_FILE = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("large"):
    EmptyOperator(task_id="only")
"""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The folder of all measurements, and how often each is made.

    :param folder: for everything that is made.
    :param rounds: how often each figure is taken.
    :param sizes: of projects, in models; 0 is the one as in real life.
    """

    folder: Path
    rounds: int
    sizes: tuple[int, ...]

    def project(self, size: int) -> LargeProject:
        """The project of that size, made once."""
        return _project(self.folder, size)

    def side(self, python: Path, *words: object) -> dict[str, Any]:
        """The answer of a process of one environment, as JSON has it."""
        home = self.folder / "airflow"
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHONDONTWRITE")},
            "AIRFLOW_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "DO_NOT_TRACK": "1",
            "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(self.folder / "kept"),
            "AIRFLOW__COSMOS__CACHE_DIR": str(self.folder / "kept-cosmos"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            # 5,000 models take the other implementation 16 to 40 s, by the machine's pace; Airflow ends it after 30.
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",
        }
        command = [str(python), str(SIDE), *map(str, words)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def build(self, what: str, size: int, rounds: int | None = None) -> dict[str, Any]:
        """Building the DAG of that size: ``plain``, ``direct``, or with an implementation."""
        project = self.project(size)
        python = COSMOS if what == "cosmos" else OURS
        small = self.project(SMALL).manifest
        return self.side(python, "build", what, project.folder, project.manifest, rounds or self.rounds, small)

    def parse(self, what: str, size: int) -> dict[str, float]:
        """The least that parsing the DAG file of that size takes for one task: milliseconds of CPU and of wall time.

        ``plain cpu`` and ``plain wall`` are those of a plain file of one task, taken in turns with it.
        """
        project = self.project(size or REAL)
        file, plain = self.folder / f"{what}_{size}.py", self.folder / "plain.py"
        file.write_text(DAG_FILE.format(root=what, folder=str(project.folder), manifest=str(project.manifest)))
        plain.write_text(PLAIN_FILE)
        rounds = self.rounds if what == "cosmos" else self.rounds * 5
        python = COSMOS if what == "cosmos" else OURS
        found = self.side(python, "parse", file, plain, "large", f"{project.some_model}.run", rounds)
        parsed, of_plain = found["rounds"][1:], found["plain"][1:]
        return {
            **{kind: 1000 * min(each[kind] for each in parsed) for kind in ("cpu", "wall")},
            **{f"plain {kind}": 1000 * min(each[kind] for each in of_plain) for kind in ("cpu", "wall")},
            "made": median(each["made"] for each in parsed),
        }


@cache
def _project(folder: Path, size: int) -> LargeProject:
    made = with_two_tests(folder, size) if size else as_in_real_life(folder)
    # What is looked at of a project that is loaded from its manifest.
    (made.folder / "models").mkdir(parents=True, exist_ok=True)
    (made.folder / "dbt_project.yml").write_text("name: large\nprofile: large\n")
    (made.folder / "profiles.yml").write_text("large: {target: dev, outputs: {dev: {type: duckdb}}}\n")
    return made


def _called(size: int) -> str:
    return f"{size:,} models" if size else "740 models, 130 seeds, 1,070 tests"


def builds(bench: Bench) -> list[Row]:
    """The DAG from a manifest, over the plain DAGs and, without a promise, over the other implementation."""
    rows, seconds = [], {}
    for size in bench.sizes:
        rounds = bench.rounds if size <= LARGEST_OF_COSMOS else max(2, bench.rounds // 2)
        ours, direct = (bench.build(what, size, rounds) for what in ("cosmos_venv", "direct"))
        if (ours["tasks"], ours["groups"], ours["edges"]) != (direct["tasks"], direct["groups"], direct["edges"]):
            raise SystemExit(f"The DAGs of {_called(size)} differ: {ours}, {direct}")
        seconds[size] = ours["seconds"]
        rows.append(_build_row(size, "edges written directly", ours, direct, DIRECT_BOUND))
        if size <= LARGEST_SHIFTED:
            shifted = bench.build("plain", size, 1 if size > LARGEST_OF_COSMOS else rounds)
            rows.append(_build_row(size, "`>>`", ours, shifted, BOUNDS.get(size, math.inf)))
        if size <= LARGEST_OF_COSMOS:
            rows.append(_cosmos_row(size, ours, bench.build("cosmos", size, 1 if size > 1000 else 2)))
        rows.append(_memory_row(size, bench.project(size), ours, direct))
    if 1000 in seconds and 20000 in seconds:
        growth = math.log(seconds[20000] / seconds[1000]) / math.log(20)
        figures = f"{seconds[1000]:.2f} s and {seconds[20000]:.2f} s"
        rows.append(
            Row(
                what="DAG build: growth from 1,000 to 20,000 models",
                figures=figures,
                judged=growth,
                bound=GROWTH_BOUND,
                unit="(exponent)",
            )
        )
    return rows


def _build_row(size: int, kind: str, ours: dict[str, Any], plain: dict[str, Any], bound: float) -> Row:
    figures = (
        f"{ours['seconds']:.2f} s for {ours['tasks']:,} tasks, {ours['edges']:,} edges; plain DAG "
        f"{plain['seconds']:.2f} s, parsing the JSON {ours['parsed']:.2f} s"
    )
    judged = ours["seconds"] / (plain["seconds"] + ours["parsed"])
    return Row(
        what=f"DAG build, {_called(size)}, over a plain DAG ({kind})", figures=figures, judged=judged, bound=bound
    )


def _cosmos_row(size: int, ours: dict[str, Any], cosmos: dict[str, Any]) -> Row:
    figures = f"{ours['seconds']:.2f} s; astronomer-cosmos {cosmos['seconds']:.2f} s"
    judged = ours["seconds"] / cosmos["seconds"]
    return Row(
        what=f"DAG build, {_called(size)}, over astronomer-cosmos", figures=figures, judged=judged, bound=math.inf
    )


def _memory_row(size: int, project: LargeProject, ours: dict[str, Any], plain: dict[str, Any]) -> Row:
    allowed = MEMORY_BOUND * plain["memory"] + project.megabytes * 1e6
    figures = (
        f"{ours['memory'] / 1e6:.0f} MB; plain DAG {plain['memory'] / 1e6:.0f} MB, manifest {project.megabytes:.1f} MB"
    )
    return Row(
        what=f"peak memory of the DAG build, {_called(size)}, of what is allowed",
        figures=figures,
        judged=ours["memory"] / allowed,
        # Of a hundred models it is 500 pages, and which of them the allocator takes is chance.
        bound=1.0 if size != min(SIZES) else math.inf,
    )


def parses(bench: Bench) -> list[Row]:
    """The DAG file for one task in a worker: over a plain file, flat, and over the other implementation."""
    rows, taken = [], {}
    for size in bench.sizes:
        bench.parse("cosmos_venv", size)  # the first one makes and keeps the plan
        ours = taken[size] = bench.parse("cosmos_venv", size)
        if ours["made"] != 1:
            raise SystemExit(f"{ours['made']} tasks were made of {_called(size)}")
        figures = f"{ours['wall']:.1f} ms, CPU {ours['cpu']:.1f} ms; plain file of one task {ours['plain wall']:.1f} ms"
        rows.append(
            Row(
                what=f"parse for one task, {_called(size)}, over a plain file",
                figures=figures,
                judged=ours["cpu"] / ours["plain cpu"],
                bound=PARSE_BOUND,
            )
        )
        if size in PARSE_OF_COSMOS:
            cosmos = bench.parse("cosmos", size)
            figures = f"{ours['cpu']:.1f} ms; astronomer-cosmos {cosmos['cpu']:.0f} ms"
            rows.append(
                Row(
                    what=f"parse for one task, {_called(size)}, over astronomer-cosmos",
                    figures=figures,
                    judged=ours["cpu"] / cosmos["cpu"],
                    bound=PARSE_OF_COSMOS[size],
                )
            )
    smallest, largest = min(filter(None, taken)), max(taken)
    if largest > smallest:
        figures = f"{taken[smallest]['cpu']:.1f} ms and {taken[largest]['cpu']:.1f} ms"
        rows.append(
            Row(
                what=f"parse for one task, {largest:,} models over {smallest:,}",
                figures=figures,
                judged=taken[largest]["cpu"] / taken[smallest]["cpu"],
                bound=FLAT_BOUND,
            )
        )
    return rows


def imports(bench: Bench) -> list[Row]:
    """Importing the DAG beside Airflow's SDK, both in one process."""
    rows = []
    for root, python, bound in (("cosmos_venv", OURS, IMPORT_BOUND), ("cosmos", COSMOS, math.inf)):
        found = [bench.side(python, "imports", root) for _ in range(bench.rounds * 2)]
        sdk, both = (min(each[name] for each in found) for name in ("sdk", "both"))
        figures = f"{both * 1000:.0f} ms; airflow.sdk alone {sdk * 1000:.0f} ms"
        judged = median(each["both"] / each["sdk"] for each in found)
        rows.append(Row(what=f"import {root}.DbtDag over airflow.sdk", figures=figures, judged=judged, bound=bound))
    return rows


MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {"imports": imports, "parse": parses, "build": builds}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=4, help="how often each figure is taken (default 4)")
    parser.add_argument("--only", choices=MEASUREMENTS, help="this measurement alone; nothing is stored then")
    parser.add_argument("--sizes", type=int, nargs="+", help="in models, 0 as in real life; nothing is stored then")
    options = parser.parse_args(argv)
    with throwaway_folder("cosmos-benchmark-") as folder:
        sizes = tuple(options.sizes or (*SIZES, REAL))
        bench = Bench(folder=folder, rounds=options.rounds, sizes=sizes)
        rows = [row for name, measure in MEASUREMENTS.items() if options.only in (None, name) for row in measure(bench)]
    head = f"# What a DAG of a dbt project costs\n\n{MACHINE}. CPU seconds, the least of {options.rounds} rounds."
    text = f"{head}\n\n{table(rows)}\n"
    print(text)
    if not (options.only or options.sizes):
        store("dags", text, {"machine": MACHINE, "rows": [row.as_dict() for row in rows]})
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
