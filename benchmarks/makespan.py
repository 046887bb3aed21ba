"""Benchmark of a whole DAG of a dbt project, beside astronomer-cosmos. Prints a table and stores it.

    .venv/bin/python -m benchmarks.makespan [--rounds 3]

The example project's DAG, run by real schedulers with LocalExecutor and two slots. Each implementation has an
environment of its own with the same Airflow; both are up all the time, and their DAGs take turns. A makespan goes from
the first task's begin to the last one's end, as Airflow's database has them. What is compared is the makespan without
Airflow's own share.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.airflows import RunFailed, RunningAirflow, running_airflow
from benchmarks.harness import NO_BOUND, Bench, Row, main
from benchmarks.makespan_dags import Contestant, Harbor, written
from benchmarks.warm import own_servers
from benchmarks.workers import COSMOS, PYTHONS
from tests.postgres import IS_MISSING, started_postgres

VIRTUALENV_BOUND, LOCAL_BOUND = 0.35, 0.5
WARM, UV = "VIRTUALENV, warm", "Cosmos VIRTUALENV with uv"
RUNNER, SUBPROCESS = "Cosmos LOCAL, dbt_runner", "Cosmos LOCAL, subprocess"
FURTHER_ATTEMPTS = 3
SHARES = {
    "bash tasks of the same shape": Contestant(root="cosmos_venv", mode="plain"),
    "LOCAL, a dbt that ends at once": Contestant(root="cosmos_venv", mode="nothing"),
    "Cosmos LOCAL, a dbt that ends at once": Contestant(root="cosmos", mode="nothing"),
}
CONTESTANTS = {
    WARM: Contestant(root="cosmos_venv", mode="virtualenv"),
    UV: Contestant(root="cosmos", mode="virtualenv"),
    SUBPROCESS: Contestant(root="cosmos", mode="subprocess"),
    RUNNER: Contestant(root="cosmos", mode="dbt_runner"),
    "LOCAL, subprocess": Contestant(root="cosmos_venv", mode="subprocess"),
    **SHARES,
}
READING = (
    "Airflow's own share is taken in the way that suits cosmos-venv least: of three DAGs of the same shape in which no "
    "dbt runs (bash tasks, and those of each implementation in LOCAL mode with a dbt that ends at once) the shortest "
    "is taken from cosmos-venv, the longest from Cosmos. The project runs on PostgreSQL, since a DuckDB file takes one "
    "writing process at a time; both read the same manifest.json. Environments, parse files and the process that dbt "
    "is forked from stand since a round that is not counted."
)


def beyond_share(ours: float, other: float, shares: Sequence[float]) -> float:
    """Our makespan over the other one, both without Airflow's own share, taken in the way that suits ours least.
    Infinite where nothing is left of one of them: such a measurement must not count as a bound that is kept.

    :param shares: seconds that Airflow took for the same DAG without dbt, measured in several ways.
    """
    left, rest = ours - min(shares), other - max(shares)
    return left / rest if left > 0 and rest > 0 else float("inf")


def rows(bench: Bench) -> list[Row]:
    """The table."""
    refuse_different_airflows()
    makespans = measured(bench.folder, bench.rounds)
    seconds = {name: median(taken) for name, taken in makespans.items()}
    shares, ours = [seconds[name] for name in SHARES], seconds[WARM]
    faster = min(RUNNER, SUBPROCESS, key=lambda name: seconds[name])
    bounds = {UV: VIRTUALENV_BOUND, faster: LOCAL_BOUND}
    figures = ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())
    found = []
    for name in (UV, SUBPROCESS, RUNNER):
        beyond = beyond_share(ours, seconds[name], shares)
        what = f"makespan beyond Airflow's own share, of {name}"
        found.append(Row(what, figures if name == UV else "", beyond, bounds.get(name, NO_BOUND)))
        both = f"{ours:.1f} s, {seconds[name]:.1f} s"
        found.append(Row(f"the whole makespan, of {name}", both, ours / seconds[name]))
    return found


def measured(folder: Path, rounds: int) -> dict[str, list[float]]:
    """The makespans of each DAG, in turns; the first round builds, starts and fills caches."""
    with ExitStack() as stack:
        stack.enter_context(own_servers())
        postgres = stack.enter_context(started_postgres(folder / "postgres.log"))
        harbor = Harbor.make(folder, postgres.apart("harbor"))
        airflows: dict[str, RunningAirflow] = {}
        for root, python in PYTHONS.items():
            mine = [each for each in CONTESTANTS.values() if each.root == root]
            written(mine, harbor, folder / root / "dags")
            variables = {"TMPDIR": tempfile.gettempdir()}  # servers are looked for there
            airflows[root] = stack.enter_context(running_airflow(python, folder / root, variables))
        makespans: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        for number in range(rounds + 1):
            for name, each in CONTESTANTS.items():
                if name in SHARES and not number:  # nothing of them has to be built
                    continue
                seconds = _run(airflows[each.root], each.dag_id, f"round-{number}", may_fail=each.root == "cosmos")
                print(f"round {number}: {name} {seconds:.1f} s", file=sys.stderr, flush=True)
                if number:
                    makespans[name].append(seconds)
        return makespans


def _run(airflow: RunningAirflow, dag_id: str, run_id: str, *, may_fail: bool) -> float:
    """The makespan of a run. Tasks of astronomer-cosmos fail at times in a race for its lock: the run is made again."""
    for attempt in range(FURTHER_ATTEMPTS if may_fail else 0):
        try:
            return airflow.run(dag_id, f"{run_id}-{attempt}")
        except RunFailed as failure:
            print(f"{run_id}: {str(failure).splitlines()[0]}; once more", file=sys.stderr, flush=True)
    return airflow.run(dag_id, run_id)


def refuse_different_airflows() -> None:
    """Refuse to compare different releases of Airflow.

    :raises SystemExit: when both environments have different ones, or something is missing.
    """
    if IS_MISSING or not COSMOS.exists():
        raise SystemExit("PostgreSQL or astronomer-cosmos is missing in .cache/envs: make test-env makes them")
    asked = "from importlib.metadata import version; print(version('apache-airflow'), version('apache-airflow-core'))"
    said = {root: subprocess.check_output([str(python), "-c", asked], text=True) for root, python in PYTHONS.items()}
    if len(set(said.values())) > 1:
        raise SystemExit(f"the environments have different Airflows, which is no comparison: {said}")


if __name__ == "__main__":
    how = f"Medians of {{rounds}} rounds. {READING}"
    sys.exit(main("makespan", "What a whole DAG takes", {"dag": rows}, rounds=3, how=how, description=__doc__))
