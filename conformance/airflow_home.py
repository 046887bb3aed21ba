"""Which Airflow does a task run in? A throw-away home with a database of its own, migrated once and copied per task."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from . import process


@dataclass(frozen=True, kw_only=True)
class AirflowHome:
    """One AIRFLOW_HOME on SQLite.

    :param path: the directory.
    """

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "airflow.db"

    @property
    def dags(self) -> Path:
        return self.path / "dags"

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a process that is to use it; they go before any ``airflow.cfg``."""
        return {
            "AIRFLOW_HOME": str(self.path),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        }

    def copy_to(self, path: Path) -> AirflowHome:
        """A home of its own at ``path`` with the same content of the database."""
        copy = AirflowHome(path=path)
        copy.dags.mkdir(parents=True)
        shutil.copy(self.database, copy.database)
        return copy


def make_airflow_home(path: Path) -> AirflowHome:
    """A home with a migrated database; takes seconds.

    :param path: of a directory that does not exist yet.
    :raises RuntimeError: when Airflow cannot do it; with what it said.
    """
    home = AirflowHome(path=path)
    home.dags.mkdir(parents=True)
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    finished = process.run(command, environment=home.environment, cwd=path)
    if not finished.succeeded:
        raise RuntimeError(f"Airflow must be able to make its database; seen: {finished}")
    return home
