"""The inner project's conftest.py: it writes down which fixtures were used, and what a process has left in itself.

For each process of the run ``<worker>.json`` in the folder that ``EVERYTHING_REPORT`` names.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

REPORT = Path(os.environ["EVERYTHING_REPORT"])
BEFORE = dict(os.environ)
FOUND: dict[str, Any] = {"fixtures": [], "variables": {}, "rows": {}}
# What pytest sets and takes back itself.
OF_PYTEST = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    FOUND["fixtures"] = sorted({name for item in items for name in getattr(item, "fixturenames", ())})


@pytest.fixture(autouse=True, scope="session")
def rows_before(pytestconfig: pytest.Config) -> Iterator[None]:
    """Looks at the end of the run, before the home is removed."""
    yield
    FOUND["rows"] = _rows()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    names = (BEFORE.keys() | os.environ.keys()) - set(OF_PYTEST)
    FOUND["variables"] = {
        name: [BEFORE.get(name), os.environ.get(name)] for name in names if BEFORE.get(name) != os.environ.get(name)
    }
    REPORT.mkdir(exist_ok=True)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    (REPORT / f"{worker}.json").write_text(json.dumps(FOUND), encoding="utf-8")


def _rows() -> dict[str, int]:
    """Of all tables; none where nothing in this process has used Airflow."""
    if "airflow.settings" not in sys.modules:
        return {}
    from airflow import settings
    from sqlalchemy.engine import make_url

    # The URL has options behind the file: how long SQLite waits for a lock.
    database = Path(str(make_url(str(settings.SQL_ALCHEMY_CONN)).database))
    if not database.exists():
        return {}
    with closing(sqlite3.connect(database)) as connection:
        # Not SQLite's own, which counts what was ever there.
        names = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
        tables = [name for (name,) in connection.execute(names)]
        count = "select count(*) from {}".format
        return {table: connection.execute(count(table)).fetchone()[0] for table in tables}
