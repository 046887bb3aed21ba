"""Airflow's database in tests: where it is, how several processes use it at once, and how it is put back afterwards.

Importing this module imports no Airflow.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.airflow.runs_at_once import runs_file
from pytest_cosmos_venv.errors import ToolkitMisuse

PATIENCE = 60
"""Seconds that a process waits for another one's write to the throw-away home's database. Python's own default is 5."""
_DEADLINE = 30.0
_LOCKED = (5, 6)  # SQLITE_BUSY and SQLITE_LOCKED, which have names from Python 3.11 on


def settled_home() -> Path:
    """The home that Airflow has taken in this process."""
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME).resolve()


def dags_folder() -> Path:
    """The folder of DAG files, made where it is missing."""
    from airflow.configuration import conf

    folder = Path(str(conf.get("core", "dags_folder")))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sqlite_file() -> Path:
    """The file of Airflow's database.

    :raises ToolkitMisuse: when it is none of SQLite.
    """
    from airflow import settings

    url = str(settings.SQL_ALCHEMY_CONN)
    scheme, _, file = url.partition(":///")
    if scheme.partition("+")[0] != "sqlite" or not file:
        raise ToolkitMisuse(
            f"These fixtures run Airflow on SQLite, so that nothing is left in anybody's database, and this "
            f"AIRFLOW_HOME ({settled_home()}) uses {scheme.partition(':')[0]}: "
            "set AIRFLOW__DATABASE__SQL_ALCHEMY_CONN for tests."
        )
    return Path(file.partition("?")[0])


def has_tables(file: Path) -> bool:
    """Whether Airflow's tables are there."""
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("select 1 from sqlite_master where name = 'dag_run'").fetchone()
    return found is not None


def make_tables() -> None:
    """Make Airflow's tables in its own way; takes seconds."""
    from airflow.utils.db import initdb

    initdb()


def connect_anew() -> None:
    """Give this process connections of its own, after a fork: SQLite's must not be used, nor closed, by two."""
    from airflow import settings

    module: Any = settings
    _OF_THE_PARENT.append((module.engine, module.Session))
    module.configure_orm()


_OF_THE_PARENT: list[object] = []
"""Kept, because what nobody holds is closed."""


def copy(file: Path, to: Path) -> None:
    """Copy a database as it is at this moment, whoever is using it.

    :param to: a file that does not exist.
    """
    with closing(sqlite3.connect(file, timeout=PATIENCE)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


@contextmanager
def put_back(file: Path) -> Iterator[None]:
    """For the length of the block tests may change the database as they like: then it is as it was before."""
    with closing(sqlite3.connect(":memory:")) as before:
        with closing(sqlite3.connect(file)) as connection:
            connection.backup(before)
        yield
        _close_session()
        deadline = real_time.monotonic() + _DEADLINE

        def give_up(status: int, *_: int) -> None:
            # Python would try for ever.
            if status in _LOCKED and real_time.monotonic() > deadline:
                raise TimeoutError(f"a connection that the test has left open keeps {file} locked")

        with closing(sqlite3.connect(file)) as connection:
            before.backup(connection, progress=give_up, sleep=0.01)
        runs_file(file).unlink(missing_ok=True)


def _close_session() -> None:
    """What a session of this thread has not committed would keep the file locked."""
    from airflow import settings

    session: Any = settings.Session
    session.remove()
