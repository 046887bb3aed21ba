"""An Airflow in processes and with a home of its own: its commands, one DAG file, its database."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.airflow.home import copy, publish
from tests.installed import ROOT

DEADLINE = 240.0


@dataclass(frozen=True, kw_only=True)
class WholeAirflow:
    """:param folder: everything that it writes goes here.
    :param variables: further environment variables.
    """

    python: Path
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def dag_file(self) -> Path:
        return self.folder / "airflow" / "dags" / "harbor.py"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of its processes."""
        return {
            **os.environ,
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(self.folder / "cache"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            **self.variables,
        }

    def run_dag_file(self, text: str) -> str:
        """The output of the DAG file, run as a program, its DAGs being known to Airflow."""
        self.dag_file.parent.mkdir(parents=True)
        self.dag_file.write_text(text)
        self.make_database()
        self.airflow("dags", "reserialize")
        return self._run(str(self.dag_file))

    def make_database(self) -> None:
        """Make Airflow's database, of SQLite: once for each environment with Airflow, then as a copy of that one.

        Airflow takes eight seconds of CPU for it, and twenty long tests need one.
        """
        environment = self.python.parents[1]  # not resolved: bin/python is a link to the base Python
        (about_airflow,) = environment.glob("lib/python*/site-packages/apache_airflow-[0-9]*.dist-info")
        kept = ROOT / ".cache" / "databases" / f"{environment.name}-{about_airflow.stem}.db"
        database = self.folder / "airflow" / "airflow.db"
        if kept.is_file():
            database.parent.mkdir(parents=True, exist_ok=True)
            copy(kept, database)
            return
        self.airflow("db", "migrate")
        kept.parent.mkdir(parents=True, exist_ok=True)
        publish(database, kept)

    def airflow(self, *arguments: str) -> str:
        return self._run("-m", "airflow", *arguments)

    def ask(self, statement: str) -> list[Any]:
        """The answer of the database."""
        with sqlite3.connect(self.folder / "airflow" / "airflow.db") as connection:
            return connection.execute(statement).fetchall()

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.python, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout
