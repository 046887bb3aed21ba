"""Warm starts on Airflow 2.11: a whole DAG, each command forked from one server."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from cosmos_venv.dbt.warm import servers
from pytest_cosmos_venv import Wheelhouse
from tests.dbt.warm.conftest import end_all_servers
from tests.installed import needs_airflow_2
from tests.whole.test_airflow_2 import states_of_harbor

pytestmark = needs_airflow_2


@pytest.mark.long
def test_all_tasks_of_a_dag_start_warm(
    tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="cv-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", "require")
        try:
            states = states_of_harbor(dbt_project, fake_dbt_wheels, tmp_path)
            (place,) = servers.servers()
            state = servers.state_of(place)
        finally:
            end_all_servers()

    assert states == {"mart_run": "success", "piers_seed": "success", "staging_run": "success"}
    assert state is not None
    assert state["commands"] == 3
