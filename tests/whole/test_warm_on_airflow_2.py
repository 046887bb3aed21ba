"""Warm starts on Airflow 2.11: a whole DAG, each command forked from one server."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from cosmos_venv.dbt.warm import servers
from pytest_cosmos_venv import Wheelhouse
from tests.dbt.warm.conftest import end_all_servers
from tests.whole import test_airflow_2

pytestmark = test_airflow_2.pytestmark


@pytest.mark.long
def test_all_tasks_of_a_dag_start_warm(
    tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = test_airflow_2.SOURCE.format(
        project=str(dbt_project),
        directory=str(tmp_path / "environments"),
        options=fake_dbt_wheels.pip_install_options,
    )
    with tempfile.TemporaryDirectory(prefix="cv-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", "require")
        try:
            output = test_airflow_2.run_on_airflow_2(source, tmp_path)
            (place,) = servers.servers()
            state = servers.state_of(place)
        finally:
            end_all_servers()

    states = json.loads(output.rpartition("STATES")[2])
    assert states == {"mart_run": "success", "piers_seed": "success", "staging_run": "success"}
    assert state is not None
    assert state["commands"] == 3
