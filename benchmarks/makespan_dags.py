"""The DAGs of the example project that ``benchmarks.makespan`` runs: files that either Airflow reads.

The project runs on PostgreSQL: a DuckDB file takes one writing process at a time, and two tasks would wait for each
other. So a copy of the project replaces what DuckDB alone understands. All of the copy runs on one dbt: the snapshot of
the example has a dbt of its own, which LOCAL tasks could not give it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.dag_side import shape_of
from benchmarks.environments import REAL_WHEELS
from benchmarks.local import DBT, EXAMPLE
from tests.postgres import Postgres

REQUIREMENTS = ("dbt-core==1.11.16", "dbt-postgres==1.11.0")
# What DuckDB alone understands, file by file.
PORTED = {
    "models/marts/route_days.sql": ("group by all", "group by 1, 2"),
    "models/marts/fct_crossings.sql": (
        "date_diff('minute', crossings.planned_departure_at, crossings.actual_departure_at)",
        "extract(epoch from crossings.actual_departure_at - crossings.planned_departure_at) / 60",
    ),
}
SNAPSHOT = "snapshots/vessels_history.yml"
LANDED = (
    "create schema ticketing; create table ticketing.crossings (crossing_id int, vessel_id text, from_pier text, "
    "to_pier text, planned_departure text, actual_departure text, passengers int, cars int, status text)"
)
DAG_FILE = """
import os
import sys
from datetime import datetime, timezone
from pathlib import Path

sys.path += {packages!r}
os.environ.update({variables!r})

from {root} import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig
from {root}.constants import InvocationMode

harbor = DbtDag(
    dag_id={dag_id!r},
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig(Path({project!r}), manifest_path=Path({manifest!r})),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=Path({profile!r})),
    execution_config=ExecutionConfig({execution}),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
    operator_args={arguments!r},
)
"""
PLAIN_FILE = """
from datetime import datetime, timezone

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

SHAPE = {shape!r}

with DAG({dag_id!r}, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
    first, last = {{}}, {{}}
    for name, is_tested, _ in SHAPE:
        first[name] = last[name] = BashOperator(task_id=name, bash_command="true")
        if is_tested:
            last[name] = BashOperator(task_id=name + ".test", bash_command="true")
            first[name] >> last[name]
    for name, _, before in SHAPE:
        for each in before:
            last[each] >> first[name]
"""


@dataclass(frozen=True, kw_only=True)
class Harbor:
    """The example project as either implementation takes it, with its manifest and its profile.

    :param ends_at_once: a program that does nothing, in place of dbt.
    """

    project: Path
    manifest: Path
    profile: Path
    ends_at_once: Path

    @classmethod
    def make(cls, folder: Path, postgres: Postgres) -> Harbor:
        """A copy of the example, parsed, with the tables that it reads in the database."""
        made = cls(
            project=folder / "harbor",
            manifest=folder / "manifest.json",
            profile=folder / "profiles.yml",
            ends_at_once=folder / "dbt",
        )
        made.profile.write_text(json.dumps({"harbor": {"target": "dev", "outputs": {"dev": _output(postgres)}}}))
        made.ends_at_once.write_text("#!/bin/sh\nexit 0\n")
        made.ends_at_once.chmod(0o755)
        shutil.copytree(EXAMPLE, made.project, ignore=shutil.ignore_patterns("target", "logs"))
        port(made.project)
        postgres.rows(LANDED)
        postgres.rows(f"\\copy ticketing.crossings from '{made.project}/landing/crossings.csv' csv header")
        words = ["parse", "--profiles-dir", str(folder), "--target-path", str(folder / "target")]
        dbt = [str(DBT / "bin" / "dbt"), *words, "--log-path", str(folder / "logs")]
        subprocess.run(dbt, cwd=made.project, check=True, stdout=subprocess.DEVNULL)
        shutil.copy(folder / "target" / "manifest.json", made.manifest)
        return made


def port(project: Path) -> None:
    """Say what DuckDB alone understands in PostgreSQL's way, and let the snapshot run on the dbt of the others.

    :raises SystemExit: when the example no longer says it.
    """
    for name, (before, after) in PORTED.items():
        text = (project / name).read_text(encoding="utf-8")
        if before not in text:
            raise SystemExit(f"{name} of the example no longer says {before!r}: PORTED in {__file__} is out of date")
        (project / name).write_text(text.replace(before, after), encoding="utf-8")
    snapshot = project / SNAPSHOT
    snapshot.write_text(snapshot.read_text(encoding="utf-8").partition("      meta:\n")[0], encoding="utf-8")


def _output(postgres: Postgres) -> dict[str, Any]:
    where = {"host": "127.0.0.1", "port": postgres.port, "dbname": postgres.database, "schema": "harbor"}
    return {"type": "postgres", "user": postgres.user, "password": postgres.password, "threads": 1, **where}


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One DAG.

    :param root: the implementation that renders it; the Airflow in the environment of that implementation runs it.
    :param mode: ``virtualenv``, a way of LOCAL to start dbt, ``nothing``: LOCAL with a program that ends at once,
        or ``plain``: bash tasks of the same shape, rendered by nobody.
    """

    root: str
    mode: str
    installer: str = "uv"

    @property
    def dag_id(self) -> str:
        return f"{self.root}_{self.mode}_{self.installer}"

    def dag_file(self, harbor: Harbor) -> str:
        """The text of a file with this DAG alone: each task reads the whole file."""
        if self.mode == "plain":
            shape = shape_of(json.loads(harbor.manifest.read_text(encoding="utf-8")))
            return PLAIN_FILE.format(dag_id=self.dag_id, shape=shape)
        kept = harbor.project.parent / f"kept-{self.dag_id}"
        arguments: dict[str, Any] = {"install_deps": False}
        execution = f"execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=Path({str(kept)!r})"
        if self.mode == "virtualenv":
            options = ["--no-index", "--find-links", str(REAL_WHEELS)]
            arguments |= {"py_requirements": list(REQUIREMENTS), "pip_install_options": options}
        else:
            program = harbor.ends_at_once if self.mode == "nothing" else DBT / "bin" / "dbt"
            way = "DBT_RUNNER" if self.mode == "dbt_runner" else "SUBPROCESS"
            execution = f"dbt_executable_path={str(program)!r}, invocation_mode=InvocationMode.{way}"
        return DAG_FILE.format(
            root=self.root,
            dag_id=self.dag_id,
            # dbt is found behind Airflow's own packages, as if it were installed there.
            packages=list(map(str, DBT.glob("lib/python3.*/site-packages"))) if self.mode == "dbt_runner" else [],
            variables={"AIRFLOW__STANDARD__VENV_INSTALL_METHOD": self.installer},
            project=str(harbor.project),
            manifest=str(harbor.manifest),
            profile=str(harbor.profile),
            execution=execution,
            arguments=arguments,
        )


def written(contestants: Sequence[Contestant], harbor: Harbor, folder: Path) -> None:
    """Their files, in a DAGs folder."""
    folder.mkdir(parents=True)
    for each in contestants:
        (folder / f"{each.dag_id}.py").write_text(each.dag_file(harbor), encoding="utf-8")
