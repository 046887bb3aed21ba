"""A project of six waves of models, and the DAGs that run it, which take turns beside bare ``dbt build``.

Each model takes 0.2 s on PostgreSQL and reads one of the wave before. Real schedulers with LocalExecutor and two slots
run the DAGs, as in ``benchmarks.makespan``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.airflows import ControlGroup, RunningAirflow, running_airflow
from benchmarks.environments import REAL_WHEELS
from benchmarks.local import DBT
from benchmarks.makespan_dags import REQUIREMENTS
from benchmarks.warm import own_servers
from benchmarks.workers import PYTHONS
from tests.postgres import Postgres, started_postgres

WAVES = 6
THREADS = 4
BARE = "bare dbt build"
HOW = (
    "Airflow as in requirements/airflow3.txt, medians of {rounds} rounds. Models of 0.2 s on PostgreSQL in "
    f"{WAVES} waves, dbt with {THREADS} threads."
)
OURS, COSMOS = "cosmos_venv", "cosmos"
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
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.{mode}{execution}),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST{render}),
    operator_args={arguments!r},
)
"""
SHARE_FILE = """
from datetime import datetime, timezone
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG({dag_id!r}, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
    tasks = [BashOperator(task_id=f"task_{{number}}", bash_command="true") for number in range({tasks})]
    for before, after in zip(tasks, tasks[{width}:]):
        before >> after
"""


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
        project = "name: layers\nversion: '1.0'\nprofile: layers\n"
        late = "on-run-start: \"select pg_sleep({{ var('late', 0) }})\"\n"
        (made.project / "dbt_project.yml").write_text(project + late)
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


@dataclass(frozen=True, kw_only=True)
class Way:
    """A DAG that runs the project.

    :param root: the import root of the implementation.
    :param mode: name of the ExecutionMode; empty: bash tasks that do nothing, which is Airflow's own share.
    :param render: more arguments of RenderConfig, as text.
    :param late: seconds that dbt sleeps before the first node.
    :param bash_tasks: how many bash tasks the DAG has.
    :param width: how many of them run side by side.
    :param is_slow: whether it runs in the last round alone.
    """

    root: str = OURS
    mode: str = ""
    render: str = ""
    late: float = 0.0
    bash_tasks: int = 1
    width: int = 1
    is_slow: bool = False

    def dag_file(self, layers: Layers, dag_id: str) -> str:
        """The text of its DAG file."""
        if not self.mode:
            return SHARE_FILE.format(dag_id=dag_id, tasks=self.bash_tasks, width=self.width)
        arguments: dict[str, object] = {"install_deps": False}
        if self.root == COSMOS:
            execution = f", dbt_executable_path={str(DBT / 'bin' / 'dbt')!r}"
        else:
            execution = f", virtualenv_dir=Path({str(layers.folder / 'kept')!r})"
            options = ["--no-index", "--find-links", str(REAL_WHEELS)]
            arguments |= {"py_requirements": list(REQUIREMENTS), "pip_install_options": options}
        if self.late:
            arguments["vars"] = {"late": self.late}
        return DAG_FILE.format(
            root=self.root,
            dag_id=dag_id,
            project=str(layers.project),
            manifest=str(layers.manifest),
            profile=str(layers.profile),
            mode=self.mode,
            execution=execution,
            render=self.render,
            arguments=arguments,
        )


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one run has taken.

    :param seconds: its makespan, or the seconds of bare dbt.
    :param cpu: CPU seconds of all processes of its Airflow; 0 where nobody counts them.
    """

    seconds: float
    cpu: float


def take_turns(
    folder: Path,
    size: int,
    ways: Mapping[str, Way],
    rounds: int,
    *,
    has_triggerer: bool = False,
    after: Callable[[str, RunningAirflow, str, str], None] | None = None,
) -> dict[str, list[Taken]]:
    """What each way has taken, and bare ``dbt build``, in turns; the first round builds, starts and fills caches.

    :param folder: for all files.
    :param size: number of models.
    :param ways: the DAGs, by their names in the table.
    :param rounds: how often each figure is taken.
    :param has_triggerer: whether tasks can be deferred.
    :param after: called after each run that counts, with the name, the Airflow, the DAG's id, and the run's id.
    """
    with ExitStack() as stack:
        # Made before the servers that dbt is forked from: these are in the groups to their end.
        roots = {way.root for way in ways.values()}
        groups = {root: stack.enter_context(ControlGroup.made()) for root in {BARE, *roots}}
        stack.enter_context(own_servers())
        postgres = stack.enter_context(started_postgres(folder / "postgres.log")).apart("layers")
        layers = Layers.make(folder / "project", size, postgres)
        ids = {name: f"way_{number}" for number, name in enumerate(ways)}
        variables = {"TMPDIR": tempfile.gettempdir()}
        airflows = {}
        for root in sorted(roots):
            mine = {ids[name]: way for name, way in ways.items() if way.root == root}
            (folder / root / "dags").mkdir(parents=True)
            for dag_id, way in mine.items():
                (folder / root / "dags" / f"{dag_id}.py").write_text(way.dag_file(layers, dag_id), encoding="utf-8")
            opened = running_airflow(PYTHONS[root], folder / root, variables, groups[root], has_triggerer=has_triggerer)
            airflows[root] = stack.enter_context(opened)
        found: dict[str, list[Taken]] = {name: [] for name in (BARE, *ways)}
        for number in range(rounds + 1):
            for name in _of_round(ways, is_last=number == rounds):
                group = groups[ways[name].root if name in ways else BARE]
                before = group.cpu_seconds() if group is not None else 0.0
                run_id = f"run-{number}"
                if name == BARE:
                    with nullcontext() if group is None else group.entered():
                        seconds = layers.dbt("build")
                else:
                    seconds = airflows[ways[name].root].run(ids[name], run_id)
                cpu = group.cpu_seconds() - before if group is not None else 0.0
                said = f"{size} nodes, round {number}: {name} {seconds:.1f} s, CPU {cpu:.1f} s"
                print(said, file=sys.stderr, flush=True)
                if number:
                    found[name].append(Taken(seconds=seconds, cpu=cpu))
                    if after is not None and name in ways:
                        after(name, airflows[ways[name].root], ids[name], run_id)
        return found


def medians(found: Mapping[str, Sequence[Taken]], field: str) -> tuple[dict[str, float], str]:
    """The median of a field for each name, and all of them in words.

    :param found: as ``take_turns`` returns it.
    :param field: ``seconds`` or ``cpu``.
    """
    taken = {name: median(getattr(each, field) for each in runs) for name, runs in found.items()}
    return taken, ", ".join(f"{name} {seconds:.1f} s" for name, seconds in taken.items())


def _of_round(ways: Mapping[str, Way], *, is_last: bool) -> Collection[str]:
    return [BARE, *(name for name, way in ways.items() if is_last or not way.is_slow)]
