"""The variables that children inherit: those of the deployment, and none of Airflow's own process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cosmos_venv.processes.guarded_process import run_guarded
from cosmos_venv.processes.inherited_environment import inherited_environment, leave_airflows_process

FORBIDDEN = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "airflow-db-not-allowed:///",
    "AIRFLOW__CORE__SQL_ALCHEMY_CONN": "airflow-db-not-allowed:///",
}
GIVEN = {
    "PATH": "/usr/bin",
    "AIRFLOW_HOME": "/opt/airflow",
    "AIRFLOW__CORE__DAGS_FOLDER": "/opt/airflow/dags",
    "AIRFLOW_CTX_DAG_ID": "harbor",
    "_AIRFLOW_WWW_USER_CREATE": "true",
}


@pytest.mark.parametrize(
    "of_airflow",
    [
        pytest.param(FORBIDDEN, id="airflow-3.0"),
        pytest.param({**FORBIDDEN, "_AIRFLOW_PROCESS_CONTEXT": "client"}, id="airflow-3.1"),
        pytest.param({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "none://"}, id="airflow-2-isolated"),
        pytest.param({"_AIRFLOW__REEXECUTED_PROCESS": "1", "_AIRFLOW__STARTUP_MSG": "{}"}, id="run_as_user"),
        pytest.param({"_AIRFLOW_PARSING_CONTEXT_DAG_ID": "a", "_AIRFLOW_PARSING_CONTEXT_TASK_ID": "b"}, id="a-task"),
    ],
)
def test_what_airflow_has_set_for_its_own_process_is_not_inherited(of_airflow: dict[str, str]) -> None:
    assert inherited_environment(GIVEN | of_airflow) == GIVEN


def test_the_address_of_a_database_that_a_deployment_has_given_is_inherited() -> None:
    given = GIVEN | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://db/airflow"}

    assert inherited_environment(given) == given


def test_a_command_under_a_guard_inherits_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FORBIDDEN.items():
        monkeypatch.setenv(name, value)

    done = run_guarded([sys.executable, "-c", "import os; print(*sorted(os.environ))"])

    assert not FORBIDDEN.keys() & set(" ".join(done.lines).split())


def test_a_command_that_a_task_starts_leaves_airflows_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    for name, value in FORBIDDEN.items():
        monkeypatch.setenv(name, value)

    leave_airflows_process()

    assert not FORBIDDEN.keys() & os.environ.keys()
    assert os.environ["AIRFLOW_HOME"] == str(tmp_path)
