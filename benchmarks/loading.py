"""Benchmark of loading a dbt project and selecting from it, beside its JSON and astronomer-cosmos. Prints a table.

    .venv/bin/python -m benchmarks.loading [--only growth] [--rounds 10]

CPU seconds of a process that has imported everything and does nothing else, the least of the rounds; what is compared
takes turns. No Airflow object is made. It takes some seven minutes.

Each model has two tests and three parents among the 1,500 models before it, and every twentieth model has the tag
``t``. ``x`` is a model that nearly all others come after. For this shape, astronomer-cosmos 1.15 was seen to take ten
seconds each for ``@x`` and ``tag:t+1`` of 5,000 models.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness import NO_BOUND, Bench, Row, cpu_seconds, in_a_fork, least_cpu_seconds, main, wall_seconds
from benchmarks.large_projects import TAG, LargeProject, as_in_real_life, with_two_tests
from benchmarks.listed import Listed
from benchmarks.workers import COSMOS
from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.project.graph import DbtGraph
from cosmos_venv.project.loaders import answer_of
from cosmos_venv.project.manifest import Manifest
from pytest_cosmos_venv.throwaway import throwaway_folder

SELECTING = Path(__file__).with_name("cosmos_loading.py")
AT_ONCE = 8
SIZES = (100, 1000, 5000, 20_000)
JUDGED = 5000  # models of the project that bounds are for
LOAD_BOUND, OF_COSMOS_BOUND, GROWTH_BOUND, SECOND_PARSE_BOUND = 1.5, 0.01, 1.05, 1.25


@cache
def project_of(folder: Path, models: int) -> LargeProject:
    """The project of that size, made once."""
    return with_two_tests(folder, models)


def load(project: LargeProject, *select: str) -> DbtGraph:
    """The graph of a manifest, as a DbtDag loads it."""
    graph = DbtGraph(
        project=ProjectConfig(project_name=project.name, manifest_path=project.manifest),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, select=list(select)),
        execution_config=ExecutionConfig(dbt_project_path=project.folder),
    )
    graph.load()
    return graph


def parse(project: LargeProject) -> object:
    """The JSON alone, by the fastest library there is."""
    content = project.manifest.read_bytes()
    try:
        return import_module("orjson").loads(content)
    except ImportError:
        return msgspec.json.decode(content)


def parse_without_collector(project: LargeProject) -> object:
    """The same as fast as it can be: Python's garbage collector takes most of the time of a large text."""
    gc.disable()
    return parse(project)


def loads(bench: Bench) -> list[Row]:
    """Loading beside parsing the same text."""
    projects = {f"{models:,} models with two tests each": project_of(bench.folder, models) for models in SIZES}
    projects["740 models, 130 seeds, 1,070 tests"] = as_in_real_life(bench.folder)
    return [_load_row(name, project, bench) for name, project in projects.items()]


def _load_row(name: str, project: LargeProject, bench: Bench) -> Row:
    calls: dict[str, Callable[[], object]] = {
        "load": partial(load, project),
        "parse": partial(parse, project),
        "bare": partial(parse_without_collector, project),
    }
    taken = least_cpu_seconds(calls, bench.rounds)
    return Row(
        f"load over parsing the JSON, collector off: {name}",
        f"load {_ms(taken['load'])}, {project.megabytes:.1f} MB parsed {_ms(taken['bare'])}, "
        f"with the garbage collector as Python starts it {_ms(taken['parse'])}",
        taken["load"] / taken["bare"],
        LOAD_BOUND if project.models >= JUDGED else NO_BOUND,
    )


def selections(bench: Bench) -> list[Row]:
    """Rows of selections on a manifest that is read, beside astronomer-cosmos, which has read it too."""
    project = project_of(bench.folder, JUDGED)
    chosen = [f"@{project.some_model}", f"tag:{TAG}+1"]
    words = [str(COSMOS), str(SELECTING), str(project.manifest), str(project.folder), *chosen]
    env = {**os.environ, "AIRFLOW_HOME": str(bench.folder / "airflow"), "DO_NOT_TRACK": "1"}
    done = subprocess.run(words, env=env, cwd=bench.folder, stdout=subprocess.PIPE, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])["selections"]
    rows = []
    for each in chosen:
        ours = min(float(in_a_fork(partial(_seconds_of_selecting, project, each))) for _ in range(bench.rounds))
        rows.append(_select_row(each, ours, theirs[each], len(load(project, each).filtered_nodes)))
    return rows


def _select_row(selection: str, ours: float, theirs: Mapping[str, Any], found: int) -> Row:
    figures = f"{_ms(ours)} for {found:,} nodes; Cosmos {theirs['seconds']:.2f} s for {theirs['nodes']:,}"
    name = "`@x`" if selection.startswith("@") else f"`{selection}`"
    return Row(f"select {name}, of Cosmos's", figures, ours / theirs["seconds"], OF_COSMOS_BOUND)


def _seconds_of_selecting(project: LargeProject, selection: str) -> float:
    manifest = Manifest(project.manifest)
    manifest.nodes(project_path=project.folder)
    return cpu_seconds(lambda: manifest.selected([selection], [], None))


def growth(bench: Bench) -> list[Row]:
    """Rows of the growth from one size to one that is 20 times as large: load and select together."""
    small, large = project_of(bench.folder, SIZES[1]), project_of(bench.folder, SIZES[-1])
    calls: dict[str, Callable[[], object]] = {}
    for project in (small, large):
        for name, selection in _selections_of(project).items():
            calls[f"{name} {project.models}"] = partial(load, project, *selection)
        calls[f"json {project.models}"] = partial(parse_without_collector, project)
    taken = least_cpu_seconds(calls, bench.rounds)
    return [
        _growth_row(name, taken[f"{name} {small.models}"], taken[f"{name} {large.models}"], small.models, large.models)
        for name in [*_selections_of(small), "json"]
    ]


def _selections_of(project: LargeProject) -> dict[str, list[str]]:
    some = project.some_model
    return {"no selection": [], "@x": [f"@{some}"], "+x+": [f"+{some}+"], f"tag:{TAG}+1": [f"tag:{TAG}+1"]}


def _growth_row(name: str, small: float, large: float, few: int, many: int) -> Row:
    is_ours = name != "json"
    return Row(
        f"growth of load and select: `{name}`" if is_ours else "the same of parsing the JSON, collector off",
        f"{few:,} models {_ms(small)}, {many:,} models {_ms(large)}",
        math.log(large / small) / math.log(many / few),
        GROWTH_BOUND if is_ours else NO_BOUND,
        "exponent",
    )


def second_parse(bench: Bench) -> list[Row]:
    """Rows of a second parse by dbt ls of a project that nobody has changed: dbt does not run.

    Making nodes of the answer is a part of building the DAG, as with a manifest. The time of the whole loading stands
    beside the judged time.
    """
    listed = Listed(bench.folder / "listed", SIZES[1])
    os.environ["AIRFLOW__COSMOS_VENV__CACHE_DIR"] = str(bench.folder / "listed" / "cache")
    # The imports are made once in a process, and count as a part of a parse in ``benchmarks.dags``.
    Listed(bench.folder / "another", SIZES[0]).load()
    first = float(in_a_fork(partial(wall_seconds, listed.load)))
    nodes = int(in_a_fork(lambda: len(listed.load().nodes)))
    listed.forget()
    ask = partial(answer_of, listed.graph().request())
    calls: dict[str, Callable[[], object]] = {
        "whole": listed.load,
        "asking": ask,
        "bare": partial(parse_without_collector, project_of(bench.folder, SIZES[1])),
    }
    taken = least_cpu_seconds(calls, bench.rounds)
    wall = min(float(in_a_fork(partial(wall_seconds, ask))) for _ in range(bench.rounds))
    figures = (
        f"first {first:.1f} s (wall time), later {_ms(taken['asking'])} until the answer is there (wall time "
        f"{_ms(wall)}), {_ms(taken['whole'])} with its {nodes:,} nodes; a manifest of as many models parsed "
        f"{_ms(taken['bare'])}; dbt ran: {listed.calls}"
    )
    what = f"second parse of {listed.project.models:,} models with dbt ls"
    return [
        Row(f"{what}, over parsing the JSON", figures, taken["asking"] / taken["bare"], SECOND_PARSE_BOUND),
        Row(f"{what}: dbt processes", figures, len(listed.calls), 0, "processes"),
    ]


def at_once(bench: Bench) -> list[Row]:
    """Parser processes at once, and nothing kept yet."""
    listed = Listed(bench.folder / "at-once", SIZES[0])
    os.environ["AIRFLOW__COSMOS_VENV__CACHE_DIR"] = str(bench.folder / "at-once" / "cache")
    children = []
    for _ in range(AT_ONCE):
        if (child := os.fork()) == 0:
            code = 1
            try:
                code = 0 if listed.load().nodes else 2
            finally:
                os._exit(code)
        children.append(child)
    failed = sum(bool(os.waitpid(child, 0)[1]) for child in children)
    return [
        Row(
            f"{AT_ONCE} parsers at once on a cold cache: dbt processes",
            f"dbt ran: {listed.calls}; parsers without nodes: {failed}",
            len(listed.calls) + failed,
            1,
            "processes",
        )
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with throwaway_folder("cosmos-benchmark-") as folder:
        load(with_two_tests(folder, 10), "model_00000")  # imports what is imported late
    measurements = {
        "load": loads,
        "select": selections,
        "growth": growth,
        "second-parse": second_parse,
        "at-once": at_once,
    }
    how = "CPU time but where a line says otherwise, the least of {rounds} rounds."
    sys.exit(main("loading", "What loading and selecting cost", measurements, rounds=10, how=how, description=__doc__))
