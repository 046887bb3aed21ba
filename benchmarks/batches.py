"""Benchmark of batches, beside a task a node and astronomer-cosmos. Prints a table and stores it.

    .venv/bin/python -m benchmarks.batches [--sizes 60 300] [--rounds 3]

A project of models that take 0.2 s each on PostgreSQL, in six waves, each model reading one of the wave before. Bare
``dbt build`` and the DAGs of few tasks take turns; a task a node, which takes minutes, runs once. Real schedulers with
LocalExecutor and two slots run the DAGs, as in ``benchmarks.makespan``. A makespan goes from the first task's begin to
the last one's end. Airflow's own share is that of a DAG of as many bash tasks in the same order. CPU seconds are those
of all processes of an Airflow: servers, workers, dbt, and what dbt is forked from. PostgreSQL's are not among them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.airflows import ControlGroup, RunningAirflow, running_airflow
from benchmarks.environments import REAL_WHEELS, Row, table
from benchmarks.local import DBT
from benchmarks.makespan import airflow_version
from benchmarks.makespan_dags import REQUIREMENTS
from benchmarks.storing import MACHINE, store
from benchmarks.warm import own_servers
from benchmarks.workers import PYTHONS
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.postgres import Postgres, started_postgres

WAVES = 6
THREADS = 4
WAVE_BOUND = 1.3
MODEL = "{{{{ config(materialized='table') }}}}\nselect pg_sleep(0.2)::text as slept{reads}\n"
DAG_FILE = """
# Airflow looks only into files in which its name stands.
from datetime import datetime, timezone
from pathlib import Path
from {root} import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

dag = DbtDag(
    dag_id={dag_id!r},
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig(Path({project!r}), manifest_path=Path({manifest!r})),
    profile_config=ProfileConfig("layers", "dev", profiles_yml_filepath=Path({profile!r})),
    execution_config=ExecutionConfig({execution}),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST{render}),
    operator_args={arguments!r},
)
"""
SHARE_FILE = """
from datetime import datetime, timezone
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain

with DAG({dag_id!r}, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
    chain(*(BashOperator(task_id=f"wave_{{number}}", bash_command="true") for number in range({waves})))
"""
WAYS = {
    "batches by wave": ', batch_by="wave"',
    "batches by chain": ', batch_by="chain"',
    "one batch": ', batch_by="all"',
    "a task a node": "",
}
COSMOS, SHARE, BARE = "Cosmos LOCAL, a task a node", "bash tasks, one a wave", "bare dbt build"
SLOW = ("a task a node", COSMOS)
"""They run once: none of the bounds is about them, and 300 tasks take minutes."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The project of one size.

    :param folder: of all its files.
    :param size: number of models.
    """

    folder: Path
    size: int

    @classmethod
    def make(cls, folder: Path, size: int, postgres: Postgres) -> Layers:
        """Write it, and its manifest."""
        made = cls(folder=folder, size=size)
        (made.project / "models").mkdir(parents=True)
        (made.project / "dbt_project.yml").write_text("name: layers\nversion: '1.0'\nprofile: layers\n")
        for number in range(size):
            above = f"m{number - size // WAVES:03}" if number >= size // WAVES else ""
            reads = f" from {{{{ ref('{above}') }}}}" if above else ""
            (made.project / "models" / f"m{number:03}.sql").write_text(MODEL.format(reads=reads))
        where = {"host": "127.0.0.1", "port": postgres.port, "dbname": postgres.database, "schema": f"layers_{size}"}
        output = {"type": "postgres", "user": postgres.user, "password": postgres.password, "threads": THREADS, **where}
        made.profile.write_text(json.dumps({"layers": {"target": "dev", "outputs": {"dev": output}}}))
        made.dbt("parse")
        shutil.copy(folder / "target" / "manifest.json", made.manifest)
        return made

    @property
    def project(self) -> Path:
        return self.folder / "layers"

    @property
    def profile(self) -> Path:
        return self.folder / "profiles.yml"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    def dbt(self, command: str) -> float:
        """Seconds of a bare dbt command."""
        words = [str(DBT / "bin" / "dbt"), command, "--profiles-dir", str(self.folder)]
        places = ["--target-path", str(self.folder / "target"), "--log-path", str(self.folder / "logs")]
        began = time.monotonic()
        subprocess.run([*words, *places], cwd=self.project, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began

    def dag_file(self, name: str, dag_id: str) -> str:
        """The text of the DAG file of a way to run it."""
        if name == SHARE:
            return SHARE_FILE.format(dag_id=dag_id, waves=WAVES)
        arguments: dict[str, object] = {"install_deps": False}
        is_cosmos = name.startswith("Cosmos")
        if is_cosmos:
            execution = f"dbt_executable_path={str(DBT / 'bin' / 'dbt')!r}"
        else:
            execution = f"execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=Path({str(self.folder / 'kept')!r})"
            options = ["--no-index", "--find-links", str(REAL_WHEELS)]
            arguments |= {"py_requirements": list(REQUIREMENTS), "pip_install_options": options}
        return DAG_FILE.format(
            root="cosmos" if is_cosmos else "cosmos_venv",
            dag_id=dag_id,
            project=str(self.project),
            manifest=str(self.manifest),
            profile=str(self.profile),
            execution=execution,
            render=WAYS.get(name, ""),
            arguments=arguments,
        )


def measured(folder: Path, size: int, rounds: int, with_cosmos: bool) -> dict[str, list[tuple[float, float]]]:
    """Makespan and CPU seconds of each way, in turns; the first round builds, starts and fills caches."""
    ways = [*WAYS, SHARE, *([COSMOS] if with_cosmos else [])]
    roots = {name: "cosmos" if name == COSMOS else "cosmos_venv" for name in ways}
    with ExitStack() as stack:
        # Before the servers that dbt is forked from, which are in them to their end.
        groups = {root: stack.enter_context(ControlGroup.made()) for root in {BARE, *roots.values()}}
        stack.enter_context(own_servers())
        postgres = stack.enter_context(started_postgres(folder / "postgres.log")).apart("layers")
        layers = Layers.make(folder / "project", size, postgres)
        ids = {name: f"way_{number}" for number, name in enumerate(ways)}
        airflows: dict[str, RunningAirflow] = {}
        for root in dict.fromkeys(roots.values()):
            dags = folder / root / "dags"
            dags.mkdir(parents=True)
            for name in ways:
                if roots[name] == root:
                    (dags / f"{ids[name]}.py").write_text(layers.dag_file(name, ids[name]), encoding="utf-8")
            variables = {"TMPDIR": tempfile.gettempdir()}
            airflows[root] = stack.enter_context(running_airflow(PYTHONS[root], folder / root, variables, groups[root]))
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in (BARE, *ways)}
        for number in range(rounds + 1):
            for name, taken in found.items():
                if name in SLOW and number != rounds:
                    continue
                group = groups[roots.get(name, BARE)]
                before = group.cpu_seconds() if group is not None else 0.0
                if name == BARE:
                    with nullcontext() if group is None else group.entered():
                        seconds = layers.dbt("build")
                else:
                    seconds = airflows[roots[name]].run(ids[name], f"run-{number}")
                cpu = group.cpu_seconds() - before if group is not None else 0.0
                said = f"{size} nodes, round {number}: {name} {seconds:.1f} s, CPU {cpu:.1f} s"
                print(said, file=sys.stderr, flush=True)
                if number:
                    taken.append((seconds, cpu))
        return found


def rows(size: int, found: dict[str, list[tuple[float, float]]]) -> list[Row]:
    """The table of one size."""
    seconds = {name: median(each[0] for each in taken) for name, taken in found.items()}
    cpu = {name: median(each[1] for each in taken) for name, taken in found.items()}
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
    if cpu.get(COSMOS):
        what = f"{size} nodes by wave, CPU of all of Airflow, of Cosmos's"
        made.append(Row(what=what, figures=spent, judged=cpu["batches by wave"] / cpu[COSMOS], bound=float("inf")))
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
            found += rows(size, measured(folder, size, options.rounds, not options.without_cosmos))
    machine = f"{MACHINE}, Airflow {airflow}"
    head = f"# What batches take\n\n{machine}. Medians of {options.rounds} rounds; load before {load:.1f}."
    text = f"{head} Models of 0.2 s on PostgreSQL in {WAVES} waves, dbt with {THREADS} threads.\n\n{table(found)}\n"
    print(text)
    if not options.without_cosmos:
        store("batches", text, {"machine": machine, "load": load, "rows": [row.as_dict() for row in found]})
    return 0 if all(row.is_kept for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
