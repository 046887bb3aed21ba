"""Benchmark of WATCHER, beside one batch and astronomer-cosmos. Prints a table and stores it.

    .venv/bin/python -m benchmarks.watcher [--sizes 60 300] [--rounds 3] [--without-cosmos]

The project of ``benchmarks.batches``: models of 0.2 s each on PostgreSQL, in six waves. Real schedulers with
LocalExecutor and two slots, and a triggerer, run the DAGs. A makespan goes from the first task's begin to the last
one's end. Airflow's own share is that of a DAG of one bash task. The way of a state goes from the line of the journal
that says how a node has ended to the end of its task, as Airflow's database has it; it is taken in a run in which dbt
sleeps before the first node until all triggers are up.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.airflows import ControlGroup, RunningAirflow, running_airflow
from benchmarks.batches import SHARE_FILE, Layers
from benchmarks.environments import Row, table
from benchmarks.makespan import airflow_version
from benchmarks.storing import MACHINE, store
from benchmarks.warm import own_servers
from benchmarks.workers import PYTHONS
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.postgres import started_postgres

WATCHER, BATCH, SHARE, BARE = "WATCHER", "one batch", "a bash task", "bare dbt build"
LATE = "WATCHER, triggers up before the first node"
COSMOS = "Cosmos WATCHER"
OVER_BARE, STATE_BOUND, CPU_BOUND = 1.15, 2.0, 0.5
_LATE_BY_NODE = 0.25  # seconds: 300 triggers took up to 50 s to begin
MORE_SECONDS = {60: 5.0, 300: 20.0}
"""What waits behind the last node: triggers that begin while dbt runs, and Airflow's rounds."""


@dataclass
class Measured:
    """What was found of one way, a figure for each round.

    :ivar seconds: makespans.
    :ivar cpu: CPU seconds of all processes of its Airflow.
    :ivar delays: seconds from a line of the journal to the end of its task, of all rounds.
    """

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)


def ends_in_journal(cache: Path) -> dict[str, float]:
    """When the newest journal says that each model has ended, by the model's name, in seconds since 1970."""
    files = sorted(cache.glob("journals-v1/*/*.jsonl"), key=lambda file: file.stat().st_mtime)
    found: dict[str, float] = {}
    for text in files[-1].read_text().splitlines():
        line = json.loads(text)
        if line.get("is_end") and line.get("at"):
            found.setdefault(line["id"].rpartition(".")[2], line["at"])
    return found


def delays_of(airflow: RunningAirflow, dag_id: str, run_id: str) -> list[float]:
    """Seconds from the line of the journal to the task's end, of each model that was watched."""
    ends = ends_in_journal(airflow.airflow.folder / "cache")
    return [
        each.ended.timestamp() - ends[name]
        for each in airflow.instances(dag_id, run_id)
        if each.ended is not None and (name := each.task_id.removesuffix("_run")) in ends
    ]


def measured(folder: Path, size: int, rounds: int, *, with_cosmos: bool) -> dict[str, Measured]:
    """Each way, in turns; the first round builds, starts and fills caches."""
    roots = dict.fromkeys((WATCHER, LATE, BATCH, SHARE), "cosmos_venv")
    roots |= {COSMOS: "cosmos"} if with_cosmos else {}
    with ExitStack() as stack:
        # Before the servers that dbt is forked from, which are in them to their end.
        groups = {root: stack.enter_context(ControlGroup.made()) for root in {BARE, *roots.values()}}
        stack.enter_context(own_servers())
        postgres = stack.enter_context(started_postgres(folder / "postgres.log")).apart("layers")
        layers = Layers.make(folder / "project", size, postgres)
        with (layers.project / "dbt_project.yml").open("a") as file:
            file.write("on-run-start: \"select pg_sleep({{ var('late', 0) }})\"\n")
        ids = {name: f"way_{number}" for number, name in enumerate(roots)}
        airflows: dict[str, RunningAirflow] = {}
        for root in dict.fromkeys(roots.values()):
            dags = folder / root / "dags"
            dags.mkdir(parents=True)
            for name in roots:
                if roots[name] == root:
                    (dags / f"{ids[name]}.py").write_text(dag_file(layers, name, ids[name]), encoding="utf-8")
            variables = {"TMPDIR": tempfile.gettempdir()}
            opened = running_airflow(PYTHONS[root], folder / root, variables, groups[root], has_triggerer=True)
            airflows[root] = stack.enter_context(opened)
        found = {name: Measured() for name in (BARE, *roots)}
        for number in range(rounds + 1):
            for name, way in found.items():
                group = groups[roots.get(name, BARE)]
                before = group.cpu_seconds() if group is not None else 0.0
                run_id = f"run-{number}"
                if name == BARE:
                    with nullcontext() if group is None else group.entered():
                        seconds = layers.dbt("build")
                else:
                    seconds = airflows[roots[name]].run(ids[name], run_id)
                cpu = group.cpu_seconds() - before if group is not None else 0.0
                said = f"{size} nodes, round {number}: {name} {seconds:.1f} s, CPU {cpu:.1f} s"
                print(said, file=sys.stderr, flush=True)
                if number:
                    way.seconds.append(seconds)
                    way.cpu.append(cpu)
                    if name == LATE:
                        way.delays += delays_of(airflows[roots[name]], ids[name], run_id)
        return found


def dag_file(layers: Layers, name: str, dag_id: str) -> str:
    """The text of the DAG file of a way to run the project."""
    if name == SHARE:
        return SHARE_FILE.format(dag_id=dag_id, waves=1)
    if name == BATCH:
        return layers.dag_file("one batch", dag_id)
    text = layers.dag_file(name, dag_id).replace("ExecutionMode.VIRTUALENV", "ExecutionMode.WATCHER")
    if name == LATE:
        text = text.replace("operator_args={", f"operator_args={{'vars': {{'late': {_LATE_BY_NODE * layers.size}}}, ")
    return text.replace("ExecutionConfig(dbt_", "ExecutionConfig(execution_mode=ExecutionMode.WATCHER, dbt_")


def rows(size: int, found: dict[str, Measured]) -> list[Row]:
    """The table of one size."""
    seconds = {name: median(each.seconds) for name, each in found.items()}
    cpu = {name: median(each.cpu) for name, each in found.items()}
    floor = seconds[BARE] + seconds[SHARE]
    more = MORE_SECONDS.get(size)
    bound = float("inf") if more is None else OVER_BARE + (more - (OVER_BARE - 1) * seconds[SHARE]) / floor
    figures = ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())
    spent = ", ".join(f"{name} {taken:.1f} s" for name, taken in cpu.items())
    delays = sorted(found[LATE].delays)
    made = [
        Row(
            what=f"{size} nodes watched, over bare dbt build and Airflow's share",
            figures=figures,
            judged=seconds[WATCHER] / floor,
            bound=bound,
        ),
        Row(
            what=f"{size} nodes, seconds from a line of the journal to the task's state, median",
            figures=f"9 of 10 within {delays[len(delays) * 9 // 10]:.1f} s, the last after {delays[-1]:.1f} s",
            judged=median(delays),
            bound=STATE_BOUND,
        ),
        Row(
            what=f"{size} nodes, one batch, over the same",
            figures="",
            judged=seconds[BATCH] / floor,
            bound=float("inf"),
        ),
    ]
    if COSMOS in found:
        what = f"{size} nodes, Cosmos WATCHER, over the same"
        made.append(Row(what=what, figures="", judged=seconds[COSMOS] / floor, bound=float("inf")))
        what = f"{size} nodes watched, CPU of all of Airflow, of Cosmos WATCHER's"
        made.append(Row(what=what, figures=spent, judged=cpu[WATCHER] / cpu[COSMOS], bound=CPU_BOUND))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 300], help="numbers of nodes (default 60 300)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each figure is taken (default 3)")
    parser.add_argument("--without-cosmos", action="store_true", help="ours alone, which takes a fraction of the time")
    options = parser.parse_args(argv)
    airflow, load = airflow_version(), os.getloadavg()[0]
    found: list[Row] = []
    for size in options.sizes:
        with throwaway_folder("cosmos-benchmark-") as folder:
            found += rows(size, measured(folder, size, options.rounds, with_cosmos=not options.without_cosmos))
    machine = f"{MACHINE}, Airflow {airflow}"
    head = f"# What WATCHER takes\n\n{machine}. Medians of {options.rounds} rounds; load before {load:.1f}."
    text = f"{head} Models of 0.2 s on PostgreSQL in six waves, dbt with four threads.\n\n{table(found)}\n"
    print(text)
    if not options.without_cosmos:
        store("watcher", text, {"machine": machine, "load": load, "rows": [row.as_dict() for row in found]})
    return 0 if all(row.is_kept for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
