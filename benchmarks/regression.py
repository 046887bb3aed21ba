"""Benchmark of the checkout beside an earlier release of cosmos-venv. Prints a table and stores it.

    .venv/bin/python -m benchmarks.regression [--only warm] [--rounds 12]

The release is the one in ``.cache/envs/earlier``, an environment with the same Airflow, which nothing else needs:

    uv venv .cache/envs/earlier
    uv pip install --python .cache/envs/earlier -r requirements/airflow3.txt uv cosmos_venv-0.2.0-py3-none-any.whl

The checkout is installed from a wheel too: an editable install looks at its files in each parse. Both sides do the same
in turns, each in its own environment. Tasks take wall time, DAGs take CPU seconds.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from statistics import median

from benchmarks.dags import DAG_FILE, KINDS, PLAIN_FILE, SMALL, project_of, side
from benchmarks.environments import FAKE, REAL, Tasks, cold_beyond_dbt, milliseconds
from benchmarks.harness import ROOT, Bench, Row, in_turns, main, ratio
from benchmarks.workers import Implementation, Worker, workers

EARLIER = ROOT / ".cache" / "envs" / "earlier" / "bin" / "python"
BOUND = 1.05  # two equal sides differ by so much on a quiet machine
SIZES = (1_000, 5_000, 20_000)


def warm(bench: Bench) -> list[Row]:
    """Seconds of a task whose environment stands; the first round builds the environment."""

    def seconds(worker: Worker, tasks: Tasks, directory: Path) -> float:
        return worker.run(tasks.project, tasks.arguments(directory)).seconds

    return [_row("warm task", _tasks_in_turns(bench, seconds, bench.rounds))]


def cold(bench: Bench) -> list[Row]:
    """Seconds of a task that builds its environment, beyond its dbt."""

    def beyond_dbt(requirements: Sequence[str], worker: Worker, tasks: Tasks, _: Path) -> float:
        return cold_beyond_dbt(worker, tasks, requirements)

    few = max(3, bench.rounds // 4)
    return [
        _row(f"cold task of {what}, beyond its dbt", _tasks_in_turns(bench, partial(beyond_dbt, requirements), few))
        for what, requirements in {"fakes": FAKE, "real dbt-duckdb": REAL}.items()
    ]


def build(bench: Bench) -> list[Row]:
    """CPU seconds of a DAG that is built from a manifest."""
    small = project_of(bench.folder, SMALL).manifest

    def seconds(size: int, kind: str, python: Path) -> float:
        project = project_of(bench.folder, size)
        found = side(bench, python, "build", "cosmos_venv", project.folder, project.manifest, 2, small, kind)
        return float(found["seconds"])

    few = max(2, bench.rounds // 4)
    kinds = {"": "a task a node", **KINDS}
    del kinds["domains"]  # 0.2.0 has none
    return [
        _row(f"DAG build, {size:,} models, {words}", _in_turns(bench, partial(seconds, size, kind), few))
        for size in SIZES
        for kind, words in kinds.items()
    ]


def parse(bench: Bench) -> list[Row]:
    """CPU seconds of a DAG file for one task in a worker; the first round makes the plan, and keeps it."""
    plain = bench.folder / "plain.py"
    plain.write_text(PLAIN_FILE)

    def seconds(size: int, python: Path) -> float:
        project, file = project_of(bench.folder, size), bench.folder / f"large_{size}.py"
        places = {"folder": str(project.folder), "manifest": str(project.manifest)}
        file.write_text(DAG_FILE.format(root="cosmos_venv", **places))
        found = side(bench, python, "parse", file, plain, "large", f"{project.some_model}.run", bench.rounds)
        return min(float(each["cpu"]) for each in found["rounds"])

    return [_row(f"parse for one task, {size:,} models", _in_turns(bench, partial(seconds, size), 3)) for size in SIZES]


def imports(bench: Bench) -> list[Row]:
    """Seconds of importing DbtDag, with Airflow's SDK."""

    def seconds(python: Path) -> float:
        return float(side(bench, python, "imports", "cosmos_venv")["both"])

    return [_row("import of DbtDag, with airflow.sdk", _in_turns(bench, seconds, bench.rounds))]


@cache
def _sides(folder: Path) -> dict[str, Path]:
    """The Python of each side; the environment of the checkout is made in the folder."""
    now = folder / "checkout"
    installed = ["-r", str(ROOT / "requirements" / "airflow3.txt"), "uv", str(ROOT)]
    for words in (["venv", "--quiet", str(now)], ["pip", "install", "--quiet", "--python", str(now), *installed]):
        subprocess.run([sys.executable, "-m", "uv", *words], check=True)
    return {"now": now / "bin" / "python", "earlier": EARLIER}


def _in_turns(bench: Bench, taken: Callable[[Path], float], rounds: int) -> dict[str, list[float]]:
    return in_turns({name: partial(taken, python) for name, python in _sides(bench.folder).items()}, rounds)


def _tasks_in_turns(bench: Bench, taken: Callable[[Worker, Tasks, Path], float], rounds: int) -> dict[str, list[float]]:
    tasks = Tasks(bench)
    with ExitStack() as stack:
        ways = {}
        for name, python in _sides(bench.folder).items():
            home = bench.folder / name
            home.mkdir(exist_ok=True)
            implementation = Implementation(root="cosmos_venv", installer="uv", python=python)
            (worker,) = stack.enter_context(workers(implementation, tasks.wheelhouse.environment, home))
            ways[name] = partial(taken, worker, tasks, tasks.directory())
        return in_turns(ways, rounds)


def _row(what: str, taken: dict[str, list[float]]) -> Row:
    figures = ", ".join(f"{name} {milliseconds(median(seconds))}" for name, seconds in taken.items())
    return Row(f"{what}, of the earlier release's", figures, ratio(taken["now"], taken["earlier"]), BOUND)


def _release() -> str:
    if not EARLIER.exists():
        raise SystemExit(f"{EARLIER} is missing; the head of {__file__} says how to make it")
    asked = "import cosmos_venv; print(cosmos_venv.__version__)"
    return subprocess.check_output([str(EARLIER), "-I", "-c", asked], text=True).strip()


if __name__ == "__main__":
    how = f"Medians of {{rounds}} rounds or fewer. The earlier release is {_release()}."
    measurements = {"imports": imports, "warm": warm, "cold": cold, "parse": parse, "build": build}
    sys.exit(main("regression", "This version beside the last", measurements, rounds=12, how=how, description=__doc__))
