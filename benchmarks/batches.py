"""Benchmark of batches, beside a task a node and astronomer-cosmos. Prints a table and stores it.

    .venv/bin/python -m benchmarks.batches [--sizes 60 300] [--rounds 3]

The project of ``benchmarks.layers``. Bare ``dbt build`` and the DAGs of few tasks take turns; a task a node, which
takes minutes, runs once. A makespan goes from the first task's begin to the last one's end. Airflow's own share is that
of a DAG of as many bash tasks in the same order. CPU seconds are those of all processes of an Airflow: servers,
workers, dbt, and what dbt is forked from. PostgreSQL's are not among them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.environments import Row, table
from benchmarks.layers import BARE, COSMOS, THREADS, WAVES, Taken, Way, take_turns
from benchmarks.makespan import airflow_version
from benchmarks.storing import MACHINE, store
from pytest_cosmos_venv.throwaway import throwaway_folder

WAVE_BOUND = 1.3
SHARE, SLOW_COSMOS = "bash tasks, one a wave", "Cosmos LOCAL, a task a node"
WAYS = {
    "batches by wave": Way(mode="VIRTUALENV", render=', batch_by="wave"'),
    "batches by chain": Way(mode="VIRTUALENV", render=', batch_by="chain"'),
    "one batch": Way(mode="VIRTUALENV", render=', batch_by="all"'),
    # None of the bounds is about those that are slow, and 300 tasks take minutes.
    "a task a node": Way(mode="VIRTUALENV", is_slow=True),
    SHARE: Way(bash_tasks=WAVES),
    SLOW_COSMOS: Way(root=COSMOS, mode="LOCAL", is_slow=True),
}


def rows(size: int, found: Mapping[str, Sequence[Taken]]) -> list[Row]:
    """The table of one size."""
    seconds = {name: median(each.seconds for each in taken) for name, taken in found.items()}
    cpu = {name: median(each.cpu for each in taken) for name, taken in found.items()}
    figures = ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())
    spent = ", ".join(f"{name} {taken:.1f} s" for name, taken in cpu.items())
    floor = seconds[BARE] + seconds[SHARE]
    made = [
        Row(
            what=f"{size} nodes by wave, over bare dbt build and Airflow's share",
            figures=figures,
            judged=seconds["batches by wave"] / floor,
            bound=WAVE_BOUND,
        )
    ]
    made += [
        Row(what=f"{size} nodes, {name}, over the same", figures="", judged=seconds[name] / floor, bound=float("inf"))
        for name in found
        if name not in (BARE, SHARE, "batches by wave")
    ]
    if cpu.get(SLOW_COSMOS):
        what = f"{size} nodes by wave, CPU of all of Airflow, of Cosmos's"
        made.append(Row(what=what, figures=spent, judged=cpu["batches by wave"] / cpu[SLOW_COSMOS], bound=float("inf")))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 300], help="numbers of nodes (default 60 300)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each figure is taken (default 3)")
    parser.add_argument("--without-cosmos", action="store_true", help="ours alone, which takes a fraction of the time")
    options = parser.parse_args(argv)
    airflow, load = airflow_version(), os.getloadavg()[0]
    ways = {name: way for name, way in WAYS.items() if way.root != COSMOS or not options.without_cosmos}
    found: list[Row] = []
    for size in options.sizes:
        with throwaway_folder("cosmos-benchmark-") as folder:
            found += rows(size, take_turns(folder, size, ways, options.rounds))
    machine = f"{MACHINE}, Airflow {airflow}"
    head = f"# What batches take\n\n{machine}. Medians of {options.rounds} rounds; load before {load:.1f}."
    text = f"{head} Models of 0.2 s on PostgreSQL in {WAVES} waves, dbt with {THREADS} threads.\n\n{table(found)}\n"
    print(text)
    if not options.without_cosmos:
        store("batches", text, {"machine": machine, "load": load, "rows": [row.as_dict() for row in found]})
    return 0 if all(row.is_kept for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
