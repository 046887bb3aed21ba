"""Benchmark of WATCHER, beside one batch and astronomer-cosmos. Prints a table and stores it.

    .venv/bin/python -m benchmarks.watcher [--sizes 60 300] [--rounds 3] [--without-cosmos]
    .venv/bin/python -m benchmarks.watcher --large

The project of ``benchmarks.layers``; Airflow has a triggerer. A task a node, which takes minutes, runs once, and only
with up to ``SMALL`` nodes: ``benchmarks.batches`` has it for more. A makespan goes from the first task's begin to the
last one's end. Airflow's own share is that of a DAG of one bash task. The way of a state goes from the line of the
journal that says how a node has ended to the end of its task, as Airflow's database has it; it is taken in a run in
which dbt sleeps before the first node until all triggers are up.

``--large`` stores a table of its own: 1,000 nodes, once; a task that watches several of them; and 60 nodes whose
triggerer is on another host, so that an XCom or an object storage tells what dbt does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.airflows import RunningAirflow
from benchmarks.environments import Row, table
from benchmarks.layers import BARE, COSMOS, THREADS, WAVES, Taken, Way, take_turns
from benchmarks.makespan import airflow_version
from benchmarks.storing import MACHINE, store
from pytest_cosmos_venv.throwaway import throwaway_folder

WATCHER, BATCH, SHARE = "WATCHER", "one batch", "a bash task"
LATE = "WATCHER, triggers up before the first node"
COSMOS_WATCHER = "Cosmos WATCHER"
JOINED = "WATCHER, a task a wave"
OVER_BARE, STATE_BOUND, CPU_BOUND = 1.15, 2.0, 0.5
SMALL = 100
FEW, LARGE = 60, 1000
MORE_SECONDS = {60: 5.0, 300: 20.0}
"""What waits behind the last node: triggers that begin while dbt runs, and Airflow's rounds."""
_LATE_BY_NODE = 0.25  # seconds: 300 triggers took up to 50 s to begin


def ways_of(size: int, *, with_cosmos: bool) -> dict[str, Way]:
    """The DAGs by their names in the table."""
    ways = {
        WATCHER: Way(mode="WATCHER"),
        LATE: Way(mode="WATCHER", late=_LATE_BY_NODE * size),
        BATCH: Way(mode="VIRTUALENV", render=', batch_by="all"'),
        SHARE: Way(),
    }
    if with_cosmos:
        ways[COSMOS_WATCHER] = Way(root=COSMOS, mode="WATCHER")
    if with_cosmos and size <= SMALL:
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


def measured(
    folder: Path,
    size: int,
    ways: Mapping[str, Way],
    rounds: int,
    *,
    is_elsewhere: bool = False,
    has_storage: bool = False,
) -> tuple[dict[str, list[Taken]], list[float]]:
    """What each way has taken, and seconds from a line of the journal to the end of its task, of all rounds."""
    delays: list[float] = []

    def note_delays(name: str, airflow: RunningAirflow, dag_id: str, run_id: str) -> None:
        if name == LATE:
            delays.extend(delays_of(airflow, dag_id, run_id))

    found = take_turns(
        folder,
        size,
        ways,
        rounds,
        has_triggerer=True,
        is_elsewhere=is_elsewhere,
        has_storage=has_storage,
        after=note_delays,
    )
    return found, sorted(delays)


def rows(size: int, found: Mapping[str, Sequence[Taken]], delays: Sequence[float]) -> list[Row]:
    """The table of one size."""
    seconds = {name: median(each.seconds for each in taken) for name, taken in found.items()}
    cpu = {name: median(each.cpu for each in taken) for name, taken in found.items()}
    floor = seconds[BARE] + seconds[SHARE]
    more = MORE_SECONDS.get(size)
    bound = float("inf") if more is None else OVER_BARE + (more - (OVER_BARE - 1) * seconds[SHARE]) / floor
    figures = ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())
    spent = ", ".join(f"{name} {taken:.1f} s" for name, taken in cpu.items())
    made = [
        Row(
            what=f"{size} nodes watched, over bare dbt build and Airflow's share",
            figures=figures,
            judged=seconds[WATCHER] / floor,
            bound=bound,
        ),
        _row_of_delays(f"{size} nodes", delays, STATE_BOUND),
    ]
    made += [
        Row(what=f"{size} nodes, {name}, over the same", figures="", judged=seconds[name] / floor, bound=float("inf"))
        for name in found
        if name not in (BARE, SHARE, WATCHER, LATE)
    ]
    if COSMOS_WATCHER in found:
        what = f"{size} nodes watched, CPU of all of Airflow, of Cosmos WATCHER's"
        made.append(Row(what=what, figures=spent, judged=cpu[WATCHER] / cpu[COSMOS_WATCHER], bound=CPU_BOUND))
    return made


def large_rows() -> list[Row]:
    """What is reported without a bound."""
    ways = {WATCHER: Way(mode="WATCHER"), JOINED: Way(mode="WATCHER", render=', batch_by="wave"'), SHARE: Way()}
    with throwaway_folder("cosmos-benchmark-") as folder:
        found, _ = measured(folder, LARGE, ways, 1)
    seconds = {name: taken[0].seconds for name, taken in found.items()}
    spent = ", ".join(f"{name} {taken[0].cpu:.1f} s" for name, taken in found.items())
    figures = ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())
    floor = seconds[BARE] + seconds[SHARE]
    made = [
        Row(
            what=f"{LARGE} nodes, {name}, over bare dbt build and Airflow's share",
            figures=f"{figures}; CPU: {spent}" if name == WATCHER else "",
            judged=seconds[name] / floor,
            bound=float("inf"),
        )
        for name in (WATCHER, JOINED)
    ]
    for teller, has_storage in (("an XCom", False), ("object storage", True)):
        with throwaway_folder("cosmos-benchmark-") as folder:
            late = {LATE: Way(mode="WATCHER", late=_LATE_BY_NODE * FEW)}
            _, delays = measured(folder, FEW, late, 3, is_elsewhere=True, has_storage=has_storage)
        made.append(_row_of_delays(f"{FEW} nodes told by {teller}", delays, float("inf")))
    return made


def _row_of_delays(what: str, delays: Sequence[float], bound: float) -> Row:
    return Row(
        what=f"{what}, seconds from a line of the journal to the task's state, median",
        figures=f"9 of 10 within {delays[len(delays) * 9 // 10]:.1f} s, the last after {delays[-1]:.1f} s",
        judged=median(delays),
        bound=bound,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 300], help="numbers of nodes (default 60 300)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each figure is taken (default 3)")
    parser.add_argument("--without-cosmos", action="store_true", help="ours alone, which takes a fraction of the time")
    parser.add_argument("--large", action="store_true", help="1,000 nodes, and triggerers on another host")
    options = parser.parse_args(argv)
    airflow, load = airflow_version(), os.getloadavg()[0]
    found: list[Row] = large_rows() if options.large else []
    for size in () if options.large else options.sizes:
        with throwaway_folder("cosmos-benchmark-") as folder:
            ways = ways_of(size, with_cosmos=not options.without_cosmos)
            found += rows(size, *measured(folder, size, ways, options.rounds))
    machine = f"{MACHINE}, Airflow {airflow}"
    rounds = "One round" if options.large else f"Medians of {options.rounds} rounds"
    head = f"# What WATCHER takes\n\n{machine}. {rounds}; load before {load:.1f}."
    text = f"{head} Models of 0.2 s on PostgreSQL in {WAVES} waves, dbt with {THREADS} threads.\n\n{table(found)}\n"
    print(text)
    if options.large or not options.without_cosmos:
        name = "watcher-large" if options.large else "watcher"
        store(name, text, {"machine": machine, "load": load, "rows": [row.as_dict() for row in found]})
    return 0 if all(row.is_kept for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
