"""Benchmark of batches, beside a task a node and astronomer-cosmos. Prints a table and stores it.

    .venv/bin/python -m benchmarks.batches [--only 60] [--rounds 3]

The project of ``benchmarks.layers``. Bare ``dbt build`` and the DAGs of few tasks take turns; a task a node, which
takes minutes, runs once. A makespan goes from the first task's begin to the last one's end. Airflow's own share is that
of a DAG of as many bash tasks in the same order. CPU seconds are those of all processes of an Airflow: servers,
workers, dbt, and what dbt is forked from. PostgreSQL's are not among them.
"""

from __future__ import annotations

import sys
from functools import partial

from benchmarks.harness import Bench, Row, main
from benchmarks.layers import BARE, COSMOS, HOW, WAVES, Way, medians, take_turns

WAVE_BOUND = 1.3
SHARE, SLOW_COSMOS = "bash tasks, one a wave", "Cosmos LOCAL, a task a node"
WAYS = {
    "batches by wave": Way(mode="VIRTUALENV", render=', batch_by="wave"'),
    "batches by chain": Way(mode="VIRTUALENV", render=', batch_by="chain"'),
    "one batch": Way(mode="VIRTUALENV", render=', batch_by="all"'),
    # The slow ways have no bounds, and 300 tasks take minutes.
    "a task a node": Way(mode="VIRTUALENV", is_slow=True),
    SHARE: Way(bash_tasks=WAVES),
    SLOW_COSMOS: Way(root=COSMOS, mode="LOCAL", is_slow=True),
}


def rows(size: int, bench: Bench) -> list[Row]:
    """The table of one size."""
    found = take_turns(bench.folder, size, WAYS, bench.rounds)
    seconds, figures = medians(found, "seconds")
    cpu, spent = medians(found, "cpu")
    floor = seconds[BARE] + seconds[SHARE]
    by_wave = seconds["batches by wave"] / floor
    made = [Row(f"{size} nodes by wave, over bare dbt build and Airflow's share", figures, by_wave, WAVE_BOUND)]
    made += [
        Row(f"{size} nodes, {name}, over the same", "", seconds[name] / floor)
        for name in found
        if name not in (BARE, SHARE, "batches by wave")
    ]
    if cpu[SLOW_COSMOS]:
        what = f"{size} nodes by wave, CPU of all of Airflow, of Cosmos's"
        made.append(Row(what, spent, cpu["batches by wave"] / cpu[SLOW_COSMOS]))
    return made


if __name__ == "__main__":
    measurements = {str(size): partial(rows, size) for size in (60, 300)}
    sys.exit(main("batches", "What batches take", measurements, rounds=3, how=HOW, description=__doc__))
