"""What is in Airflow's database, and what came into it during a test? Importing this module imports no Airflow."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse

Rows = Mapping[str, frozenset[int]]
"""Table -> SQLite's own numbers of its rows."""


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


def rows(file: Path) -> Rows:
    """Which rows there are now, of every table."""
    with closing(sqlite3.connect(file)) as connection:
        return {table: _numbers(connection, table) for table in _tables(connection)}


def remove_rows_since(before: Rows, file: Path) -> None:
    """Remove every row that was not there before."""
    from airflow import settings

    # What a session of this thread has not committed would keep the file locked.
    session: Any = settings.Session
    session.remove()
    with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        for table in _tables(connection):
            new = _numbers(connection, table) - before.get(table, frozenset())
            connection.executemany(f'delete from "{table}" where rowid = ?', [(number,) for number in new])  # noqa: S608


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
    return [str(name) for (name,) in found]


def _numbers(connection: sqlite3.Connection, table: str) -> frozenset[int]:
    return frozenset(number for (number,) in connection.execute(f'select rowid from "{table}"'))  # noqa: S608
