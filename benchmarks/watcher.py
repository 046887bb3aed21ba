"""Benchmark of WATCHER, beside one batch and astronomer-cosmos. Prints a table and stores it.

    .venv/bin/python -m benchmarks.watcher [--only 60] [--rounds 3]

The project of ``benchmarks.layers``; Airflow has a triggerer. A task a node, which takes minutes, runs once, and only
with up to ``SMALL`` nodes: ``benchmarks.batches`` has it for more. A makespan goes from the first task's begin to the
last one's end. Airflow's own share is that of a DAG of one bash task; of 1,000 nodes also that of 1,000 bash tasks. The
delay of a state goes from the line of the journal that says how a node has ended, to the end of the node's task in
Airflow's database. The delay is taken in a run in which dbt sleeps before the first node until all triggers are up. A
thousand nodes run once, without Cosmos.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.airflows import RunningAirflow
from benchmarks.harness import NO_BOUND, Bench, Row, main
from benchmarks.layers import BARE, COSMOS, HOW, WAVES, Way, medians, take_turns

WATCHER, BATCH, SHARE = "WATCHER", "one batch", "a bash task"
LATE = "WATCHER, triggers up before the first node"
COSMOS_WATCHER = "Cosmos WATCHER"
JOINED = "WATCHER, a task a wave"
AS_MANY = "as many bash tasks"
OVER_BARE, OVER_AS_MANY, STATE_BOUND, CPU_BOUND = 1.15, 1.3, 2.0, 0.5
SMALL = 100
LARGE = 1000
MORE_SECONDS = {60: 5.0, 300: 20.0}
"""Seconds that are allowed after the last node, by size: triggers begin while dbt runs, and Airflow works in rounds."""
_LATE_BY_NODE = 0.25  # seconds: 300 triggers took up to 50 s to begin


def ways_of(size: int) -> dict[str, Way]:
    """The DAGs by their names in the table."""
    # More than 400 tasks start on workers, as bash tasks do: a run of either takes a quarter of an hour or more.
    ways = {WATCHER: Way(mode="WATCHER", is_slow=size >= LARGE), SHARE: Way()}
    if size >= LARGE:
        nothing = Way(bash_tasks=size, width=size // WAVES, is_slow=True)
        return {**ways, JOINED: Way(mode="WATCHER", render=', batch_by="wave"'), AS_MANY: nothing}
    ways[LATE] = Way(mode="WATCHER", late=_LATE_BY_NODE * size)
    ways[BATCH] = Way(mode="VIRTUALENV", render=', batch_by="all"')
    ways[COSMOS_WATCHER] = Way(root=COSMOS, mode="WATCHER")
    if size <= SMALL:
        ways["a task a node"] = Way(mode="VIRTUALENV", is_slow=True)
        ways["Cosmos LOCAL, a task a node"] = Way(root=COSMOS, mode="LOCAL", is_slow=True)
    return ways


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
    ends = ends_in_journal(airflow.folder / "cache")
    return [
        each.ended.timestamp() - ends[name]
        for each in airflow.instances(dag_id, run_id)
        if each.ended is not None and (name := each.task_id.removesuffix("_run")) in ends
    ]


def rows(size: int, bench: Bench) -> list[Row]:
    """The table of one size."""
    delays: list[float] = []

    def note_delays(name: str, airflow: RunningAirflow, dag_id: str, run_id: str) -> None:
        if name == LATE:
            delays.extend(delays_of(airflow, dag_id, run_id))

    rounds = bench.rounds if size < LARGE else 1
    found = take_turns(bench.folder, size, ways_of(size), rounds, has_triggerer=True, after=note_delays)
    seconds, figures = medians(found, "seconds")
    cpu, spent = medians(found, "cpu")
    floor = seconds[BARE] + seconds[SHARE]
    more = MORE_SECONDS.get(size)
    bound = NO_BOUND if more is None else OVER_BARE + (more - (OVER_BARE - 1) * seconds[SHARE]) / floor
    judged = seconds[WATCHER] / floor
    made = [Row(f"{size} nodes watched, over bare dbt build and Airflow's share", figures, judged, bound)]
    if delays:
        delays.sort()
        what = f"{size} nodes, seconds from a line of the journal to the task's state, median"
        figures = f"9 of 10 within {delays[len(delays) * 9 // 10]:.1f} s, the last after {delays[-1]:.1f} s"
        made.append(Row(what, figures, median(delays), STATE_BOUND))
    made += [
        Row(f"{size} nodes, {name}, over the same", "", seconds[name] / floor)
        for name in found
        if name not in (BARE, SHARE, WATCHER, LATE, AS_MANY)
    ]
    if AS_MANY in found:
        what = f"{size} nodes watched, over bare dbt build and {AS_MANY}"
        made.append(Row(what, "", seconds[WATCHER] / (seconds[BARE] + seconds[AS_MANY]), OVER_AS_MANY))
    if COSMOS_WATCHER in found:
        what = f"{size} nodes watched, CPU of all of Airflow, of Cosmos WATCHER's"
        made.append(Row(what, spent, cpu[WATCHER] / cpu[COSMOS_WATCHER], CPU_BOUND))
    return made


if __name__ == "__main__":
    measurements = {str(size): partial(rows, size) for size in (60, 300, LARGE)}
    sys.exit(main("watcher", "What WATCHER takes", measurements, rounds=3, how=HOW, description=__doc__))
