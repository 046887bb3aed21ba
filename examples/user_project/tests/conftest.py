"""The DAG of dags/fleet.py as Airflow would import it, on a warehouse and a dbt that do not exist."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

DAG_FILE = Path(__file__).parents[1] / "dags" / "fleet.py"


@pytest.fixture
def make_fleet(cosmos_airflow_home, cosmos_wheelhouse, cosmos_connections, monkeypatch, tmp_path) -> Callable:
    """Imports the DAG file; the environment is built for real, offline, in a directory of this test.

    Call it in the test, after everything that the test prepares: importing the file already builds the environment.
    """
    cosmos_connections.add(
        "warehouse", conn_type="postgres", host="db.example", login="loader", password="open-sesame", schema="ships"
    )
    monkeypatch.setenv("FLEET_ENVIRONMENTS", str(tmp_path / "environments"))
    return lambda: runpy.run_path(str(DAG_FILE))["fleet"]
