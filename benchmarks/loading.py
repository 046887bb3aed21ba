"""Benchmark of loading a dbt project and selecting from it, beside its JSON and astronomer-cosmos. Prints a table.

    .venv/bin/python -m benchmarks.loading [--only growth] [--rounds 10] [--quick]

CPU seconds of a process that has imported everything and does nothing else, the least of the rounds; what is compared
takes turns. No Airflow object is made. It takes some seven minutes. The table is stored, but for ``--only`` and
``--quick``.

Each model has two tests and three parents among the 1,500 models before it, every twentieth has the tag ``t``, and
``x`` is one that nearly all others come after: the shape of which astronomer-cosmos 1.15 was seen to take ten seconds
each for ``@x`` and ``tag:t+1`` of 5,000 models.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.environments import Row, table
from benchmarks.forks import cpu_seconds, in_a_fork, least_cpu_seconds, wall_seconds
from benchmarks.large_projects import TAG, LargeProject, as_in_real_life, trimmed, with_two_tests
from benchmarks.listed import Listed
from benchmarks.storing import MACHINE, store
from benchmarks.workers import COSMOS
from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.project.graph import DbtGraph
from cosmos_venv.project.loaders import list_nodes
from cosmos_venv.project.manifest import Manifest
from pytest_cosmos_venv.throwaway import throwaway_folder

SELECTING = Path(__file__).with_name("cosmos_loading.py")
AT_ONCE = 8
NO_BOUND = float("inf")
LOAD_BOUND, SELECT_BOUND, OF_COSMOS_BOUND, GROWTH_BOUND, SECOND_PARSE_BOUND = 1.5, 0.05, 0.01, 1.05, 0.05


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The folder of all measurements, and how often each is made.

    :param folder: for everything that is made.
    :param rounds: how often each figure is taken.
    :param sizes: numbers of models; the one before the last is the one that bounds are for.
    """

    folder: Path
    rounds: int
    sizes: tuple[int, ...] = (100, 1000, 5000, 20_000)
    _made: dict[int, LargeProject] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        return self.sizes[-2]

    def project(self, models: int) -> LargeProject:
        """Made once."""
        if models not in self._made:
            self._made[models] = with_two_tests(self.folder, models)
        return self._made[models]


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
    projects = [*map(bench.project, bench.sizes), as_in_real_life(bench.folder)]
    names = [f"{models:,} models with two tests each" for models in bench.sizes] + [
        "740 models, 130 seeds, 1,070 tests"
    ]
    rows = [_load_row(name, project, bench) for name, project in zip(names, projects, strict=True)]
    small = trimmed(bench.project(bench.judged))
    return [*rows, _load_row(f"{bench.judged:,} models, manifest trimmed by hand", small, bench, has_bound=False)]


def _load_row(name: str, project: LargeProject, bench: Bench, *, has_bound: bool = True) -> Row:
    calls: dict[str, Callable[[], object]] = {
        "load": partial(load, project),
        "parse": partial(parse, project),
        "bare": partial(parse_without_collector, project),
    }
    taken = least_cpu_seconds(calls, bench.rounds)
    return Row(
        what=f"load over parsing the JSON, collector off: {name}",
        figures=f"load {_ms(taken['load'])}, {project.megabytes:.1f} MB parsed {_ms(taken['bare'])}, "
        f"with the garbage collector as Python starts it {_ms(taken['parse'])}",
        judged=taken["load"] / taken["bare"],
        bound=LOAD_BOUND if has_bound and project.models >= bench.judged else NO_BOUND,
    )


def selections(bench: Bench) -> list[Row]:
    """Rows of selections on a manifest that is read, beside astronomer-cosmos, which has read it too."""
    project = bench.project(bench.judged)
    chosen = [f"@{project.some_model}", f"tag:{TAG}+1"]
    words = [str(COSMOS), str(SELECTING), str(project.manifest), str(project.folder), *chosen]
    env = {**os.environ, "AIRFLOW_HOME": str(bench.folder / "airflow"), "DO_NOT_TRACK": "1"}
    done = subprocess.run(words, env=env, cwd=bench.folder, stdout=subprocess.PIPE, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])["selections"]
    rows = []
    for each in chosen:
        ours = min(float(in_a_fork(partial(_seconds_of_selecting, project, each))) for _ in range(bench.rounds))
        rows += _select_rows(each, ours, theirs[each], len(load(project, each).filtered_nodes))
    return rows


def _select_rows(selection: str, ours: float, theirs: Mapping[str, Any], found: int) -> list[Row]:
    figures = f"{_ms(ours)} for {found:,} nodes; Cosmos {theirs['seconds']:.2f} s for {theirs['nodes']:,}"
    name = "`@x`" if selection.startswith("@") else f"`{selection}`"
    return [
        Row(what=f"select {name}", figures=figures, judged=ours, bound=SELECT_BOUND, unit="s"),
        Row(
            what=f"select {name}, of Cosmos's",
            figures=figures,
            judged=ours / theirs["seconds"],
            bound=OF_COSMOS_BOUND,
        ),
    ]


def _seconds_of_selecting(project: LargeProject, selection: str) -> float:
    manifest = Manifest(project.manifest)
    manifest.nodes(project_path=project.folder)
    return cpu_seconds(lambda: manifest.selected([selection], [], None))


def growth(bench: Bench) -> list[Row]:
    """Rows of the growth from one size to one that is 20 times as large: load and select together."""
    small, large = bench.project(bench.sizes[1]), bench.project(bench.sizes[-1])
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
        what=f"growth of load and select: `{name}`" if is_ours else "the same of parsing the JSON, collector off",
        figures=f"{few:,} models {_ms(small)}, {many:,} models {_ms(large)}",
        judged=math.log(large / small) / math.log(many / few),
        bound=GROWTH_BOUND if is_ours else NO_BOUND,
        unit="exponent",
    )


def second_parse(bench: Bench) -> list[Row]:
    """Rows of a second parse by dbt ls of a project that nobody has changed: dbt does not run.

    What is made of the answer is the DAG's building, as with a manifest; the whole of loading stands beside it.
    """
    listed = Listed(bench.folder / "listed", bench.sizes[1])
    os.environ["AIRFLOW__COSMOS_VENV__CACHE_DIR"] = str(bench.folder / "listed" / "cache")
    # What is imported for it is imported once in a process, and counts as a part of a parse in ``benchmarks.dags``.
    Listed(bench.folder / "another", bench.sizes[0]).load()
    first = float(in_a_fork(partial(wall_seconds, listed.load)))
    nodes = int(in_a_fork(lambda: len(listed.load().nodes)))
    listed.forget()
    ask = partial(list_nodes, listed.graph().request())
    calls: dict[str, Callable[[], object]] = {"whole": listed.load, "asking": ask}
    taken = least_cpu_seconds(calls, bench.rounds)
    wall = min(float(in_a_fork(partial(wall_seconds, ask))) for _ in range(bench.rounds))
    figures = (
        f"first {first:.1f} s (wall time), later {_ms(taken['asking'])} until the answer is there (wall time "
        f"{_ms(wall)}), {_ms(taken['whole'])} with its {nodes:,} nodes; dbt ran: {listed.calls}"
    )
    what = f"second parse of {listed.project.models:,} models with dbt ls"
    return [
        Row(
            what=f"{what}, before the DAG is built",
            figures=figures,
            judged=taken["asking"],
            bound=SECOND_PARSE_BOUND,
            unit="s",
        ),
        Row(what=f"{what}: dbt processes", figures=figures, judged=len(listed.calls), bound=0, unit="processes"),
    ]


def at_once(bench: Bench) -> list[Row]:
    """Parser processes at once, and nothing kept yet."""
    listed = Listed(bench.folder / "at-once", bench.sizes[0])
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
            what=f"{AT_ONCE} parsers at once on a cold cache: dbt processes",
            figures=f"dbt ran: {listed.calls}; parsers without nodes: {failed}",
            judged=len(listed.calls) + failed,
            bound=1,
            unit="processes",
        )
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {
    "load": loads,
    "select": selections,
    "growth": growth,
    "second-parse": second_parse,
    "at-once": at_once,
}


def main() -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="how often each figure is taken (default 10)")
    parser.add_argument("--only", choices=MEASUREMENTS, help="this measurement alone; nothing is stored then")
    parser.add_argument(
        "--quick", action="store_true", help="few rounds of small projects, to see that it runs; nothing is stored"
    )
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with throwaway_folder("cosmos-benchmark-") as folder:
        bench = Bench(folder=folder, rounds=options.rounds)
        if options.quick:
            bench = Bench(folder=folder, rounds=2, sizes=(20, 50, 200, 1000))
        # Imports what is imported late.
        load(with_two_tests(bench.folder, 10), "model_00000")
        chosen: Sequence[str] = [options.only] if options.only else list(MEASUREMENTS)
        rows = [row for name in chosen for row in MEASUREMENTS[name](bench)]
    words = f"CPU time but where a line says otherwise, the least of {bench.rounds} rounds."
    text = f"# What loading and selecting cost\n\n{MACHINE}. {words}\n\n{table(rows)}\n"
    print(text)
    if not (options.only or options.quick):
        store("loading", text, {"machine": MACHINE, "rows": [row.as_dict() for row in rows]})
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
