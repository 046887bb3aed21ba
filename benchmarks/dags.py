"""Benchmark of building a DAG of a dbt project, and of parsing it for one task. Prints a table and stores it.

    .venv/bin/python -m benchmarks.dags [--only build] [--rounds 4]

It is compared with a plain Airflow DAG of empty operators with as many tasks, groups and edges: once with ``>>``, and
once with edges that are written directly into the tasks. astronomer-cosmos is measured too, as a black box in an
environment of its own. Each figure is CPU seconds, the least of the rounds, of a process of its own.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import NO_BOUND, Bench, Row, main
from benchmarks.large_projects import LargeProject, as_in_real_life, with_two_tests
from benchmarks.workers import COSMOS, OURS

SIDE = Path(__file__).with_name("dag_side.py")
SIZES = (100, 1000, 5000, 20000)
SMALLEST = SIZES[0]
REAL = 0  # in place of a size
SMALL = 5
KINDS = {"WATCHER": "WATCHER", "batches": "batches by wave", "run_params": "run_params", "domains": "five domains"}
KINDS_OF = (5000, 20000)
# Multiples of the time of the plain DAG: with `>>` by size; with edges that are written directly, one for all sizes.
BOUNDS = {1000: 1.25, 5000: 0.75}
DIRECT_BOUND = 1.6
GROWTH_BOUND = 1.10
MEMORY_BOUND = 1.3
# SQL is most of a manifest that dbt has compiled. Its text is in memory beside its nodes; release 0.2.0 takes 1.24.
MEMORY_BOUNDS = {REAL: 1.1, SMALLEST: NO_BOUND}
# 38 ms beyond a plain file that takes 8 ms, as release 0.2.0 on the same machine (benchmarks.regression).
PARSE_BOUND = 6.5
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


def side(bench: Bench, python: Path, *words: object) -> dict[str, Any]:
    """The answer of a process of one environment, as JSON has it."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHONDONTWRITE")},
        "AIRFLOW_HOME": str(bench.folder / "airflow"),
        "DO_NOT_TRACK": "1",
        "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(bench.folder / f"kept-{python.parents[1].name}"),
        "AIRFLOW__COSMOS__CACHE_DIR": str(bench.folder / "kept-cosmos"),
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


def build(bench: Bench, what: str, size: int, rounds: int, kind: str = "") -> dict[str, Any]:
    """Building the DAG of that size: ``plain``, ``direct``, or with an implementation, in one of its ``KINDS``."""
    project, small = project_of(bench.folder, size), project_of(bench.folder, SMALL).manifest
    python = COSMOS if what == "cosmos" else OURS
    return side(bench, python, "build", what, project.folder, project.manifest, rounds, small, kind)


def parse(bench: Bench, what: str, size: int) -> dict[str, float]:
    """The least that parsing the DAG file of that size takes for one task: milliseconds of CPU and of wall time.

    ``plain cpu`` and ``plain wall`` are those of a plain file of one task, taken in turns with it.
    """
    project = project_of(bench.folder, size)
    file, plain = bench.folder / f"{what}_{size}.py", bench.folder / "plain.py"
    file.write_text(DAG_FILE.format(root=what, folder=str(project.folder), manifest=str(project.manifest)))
    plain.write_text(PLAIN_FILE)
    python, rounds = (COSMOS, bench.rounds) if what == "cosmos" else (OURS, bench.rounds * 5)
    found = side(bench, python, "parse", file, plain, "large", f"{project.some_model}.run", rounds)
    parsed, of_plain = found["rounds"][1:], found["plain"][1:]
    return {
        **{kind: 1000 * min(each[kind] for each in parsed) for kind in ("cpu", "wall")},
        **{f"plain {kind}": 1000 * min(each[kind] for each in of_plain) for kind in ("cpu", "wall")},
        "made": median(each["made"] for each in parsed),
    }


@cache
def project_of(folder: Path, size: int) -> LargeProject:
    """Make the project of a number of models; ``REAL`` makes one as people have it.

    :param folder: for its files.
    :param size: number of models.
    """
    made = with_two_tests(folder, size) if size else as_in_real_life(folder)
    # The files that are checked even when a project is loaded from its manifest.
    (made.folder / "models").mkdir(parents=True, exist_ok=True)
    (made.folder / "dbt_project.yml").write_text("name: large\nprofile: large\n")
    (made.folder / "profiles.yml").write_text("large: {target: dev, outputs: {dev: {type: duckdb}}}\n")
    return made


def _called(size: int) -> str:
    return f"{size:,} models" if size else "740 models, 130 seeds, 1,070 tests"


def builds(bench: Bench) -> list[Row]:
    """The DAG from a manifest, over the plain DAGs and, without a promise, over the other implementation."""
    rows, seconds = [], {}
    for size in (*SIZES, REAL):
        ours, direct = (build(bench, what, size, bench.rounds) for what in ("cosmos_venv", "direct"))
        if (ours["tasks"], ours["groups"], ours["edges"]) != (direct["tasks"], direct["groups"], direct["edges"]):
            raise SystemExit(f"The DAGs of {_called(size)} differ: {ours}, {direct}")
        seconds[size] = ours["seconds"]
        rows.append(_build_row(size, "edges written directly", ours, direct, DIRECT_BOUND))
        if size <= LARGEST_SHIFTED:
            shifted = build(bench, "plain", size, 1 if size > LARGEST_OF_COSMOS else bench.rounds)
            rows.append(_build_row(size, "`>>`", ours, shifted, BOUNDS.get(size, NO_BOUND)))
        if size <= LARGEST_OF_COSMOS:
            rows.append(_cosmos_row(size, ours, build(bench, "cosmos", size, 1 if size > 1000 else 2)))
        rows.append(_memory_row(size, project_of(bench.folder, size), ours, direct))
    rows.append(_growth_row("DAG build", {size: seconds[size] for size in (1000, 20000)}))
    return rows


def kinds(bench: Bench) -> list[Row]:
    """The DAG in other kinds than a task a node, over a task a node, and how the cost grows."""
    rows = []
    seconds: dict[str, dict[int, float]] = {kind: {} for kind in ("", *KINDS)}
    for size in KINDS_OF:
        for kind, taken in seconds.items():
            found = build(bench, "cosmos_venv", size, 2, kind)
            taken[size] = found["seconds"]
            if kind:
                plain = seconds[""][size]
                figures = f"{found['seconds']:.2f} s for {found['tasks']:,} tasks; a task a node {plain:.2f} s"
                what = f"DAG build, {_called(size)}, {KINDS[kind]}, over a task a node"
                rows.append(Row(what, figures, found["seconds"] / plain))
    return rows + [_growth_row(f"DAG build, {words}", seconds[kind]) for kind, words in KINDS.items()]


def _growth_row(what: str, seconds: Mapping[int, float]) -> Row:
    """How the seconds of two sizes grow: with the size to the power of the exponent."""
    few, many = seconds
    growth = math.log(seconds[many] / seconds[few]) / math.log(many / few)
    figures = f"{seconds[few]:.2f} s and {seconds[many]:.2f} s"
    return Row(f"{what}: growth from {few:,} to {many:,} models", figures, growth, GROWTH_BOUND, "(exponent)")


def _build_row(size: int, kind: str, ours: dict[str, Any], plain: dict[str, Any], bound: float) -> Row:
    figures = (
        f"{ours['seconds']:.2f} s for {ours['tasks']:,} tasks, {ours['edges']:,} edges; plain DAG "
        f"{plain['seconds']:.2f} s, parsing the JSON {ours['parsed']:.2f} s"
    )
    judged = ours["seconds"] / (plain["seconds"] + ours["parsed"])
    return Row(f"DAG build, {_called(size)}, over a plain DAG ({kind})", figures, judged, bound)


def _cosmos_row(size: int, ours: dict[str, Any], cosmos: dict[str, Any]) -> Row:
    figures = f"{ours['seconds']:.2f} s; astronomer-cosmos {cosmos['seconds']:.2f} s"
    judged = ours["seconds"] / cosmos["seconds"]
    return Row(f"DAG build, {_called(size)}, over astronomer-cosmos", figures, judged)


def _memory_row(size: int, project: LargeProject, ours: dict[str, Any], plain: dict[str, Any]) -> Row:
    allowed = MEMORY_BOUND * plain["memory"] + project.megabytes * 1e6
    figures = (
        f"{ours['memory'] / 1e6:.0f} MB; plain DAG {plain['memory'] / 1e6:.0f} MB, manifest {project.megabytes:.1f} MB"
    )
    return Row(
        f"peak memory of the DAG build, {_called(size)}, of what is allowed",
        figures,
        ours["memory"] / allowed,
        MEMORY_BOUNDS.get(size, 1.0),
    )


def parses(bench: Bench) -> list[Row]:
    """The DAG file for one task in a worker: over a plain file, flat, and over the other implementation."""
    rows, taken = [], {}
    for size in (*SIZES, REAL):
        parse(bench, "cosmos_venv", size)  # the first parse makes and keeps the plan
        ours = taken[size] = parse(bench, "cosmos_venv", size)
        if ours["made"] != 1:
            raise SystemExit(f"{ours['made']} tasks were made of {_called(size)}")
        figures = f"{ours['wall']:.1f} ms, CPU {ours['cpu']:.1f} ms; plain file of one task {ours['plain wall']:.1f} ms"
        rows.append(
            Row(
                f"parse for one task, {_called(size)}, over a plain file",
                figures,
                ours["cpu"] / ours["plain cpu"],
                PARSE_BOUND,
            )
        )
        if size in PARSE_OF_COSMOS:
            cosmos = parse(bench, "cosmos", size)
            figures = f"{ours['cpu']:.1f} ms; astronomer-cosmos {cosmos['cpu']:.0f} ms"
            rows.append(
                Row(
                    f"parse for one task, {_called(size)}, over astronomer-cosmos",
                    figures,
                    ours["cpu"] / cosmos["cpu"],
                    PARSE_OF_COSMOS[size],
                )
            )
    smallest, largest = min(SIZES), max(SIZES)
    figures = f"{taken[smallest]['cpu']:.1f} ms and {taken[largest]['cpu']:.1f} ms"
    judged = taken[largest]["cpu"] / taken[smallest]["cpu"]
    rows.append(Row(f"parse for one task, {largest:,} models over {smallest:,}", figures, judged, FLAT_BOUND))
    return rows


def imports(bench: Bench) -> list[Row]:
    """Importing the DAG beside Airflow's SDK, both in one process."""
    rows = []
    for root, python, bound in (("cosmos_venv", OURS, IMPORT_BOUND), ("cosmos", COSMOS, NO_BOUND)):
        found = [side(bench, python, "imports", root) for _ in range(bench.rounds * 2)]
        sdk, both = (min(each[name] for each in found) for name in ("sdk", "both"))
        figures = f"{both * 1000:.0f} ms; airflow.sdk alone {sdk * 1000:.0f} ms"
        judged = median(each["both"] / each["sdk"] for each in found)
        rows.append(Row(f"import {root}.DbtDag over airflow.sdk", figures, judged, bound))
    return rows


if __name__ == "__main__":
    how = "CPU seconds, the least of {rounds} rounds."
    measurements = {"imports": imports, "parse": parses, "build": builds, "kinds": kinds}
    sys.exit(main("dags", "What a DAG of a dbt project costs", measurements, rounds=4, how=how, description=__doc__))
