"""A DAG file is imported as Airflow's DAG processor imports it: under the variables that the processor sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv.dags.dag_files import built, file_builder, processor_variables
from tests.installed import ENVIRONMENTS, ROOT, site_packages_of
from tests.pytest_cosmos_venv.inner_run import BEFORE_3_13

FORBIDDEN = "airflow-db-not-allowed:///"
DATABASE = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": FORBIDDEN, "AIRFLOW__CORE__SQL_ALCHEMY_CONN": FORBIDDEN}
CLIENT = {"_AIRFLOW_PROCESS_CONTEXT": "client"}
TELLING = """
import os
from airflow.sdk import DAG

os.environ["SET_BY_THE_FILE"] = "yes"
dag = DAG("telling", schedule=None, params={"seen": {name: os.environ.get(name) for name in %r}})
"""
LISTING = """
import subprocess, sys
from airflow.sdk import DAG

subprocess.run([sys.executable, "-W", "ignore", "-c", "import airflow"], check=True)
dag = DAG("listing", schedule=None)
"""


def build(file: Path) -> list[Any]:
    with file_builder(file) as builder:
        return builder()


def test_a_dag_file_sees_what_the_processor_sets_and_nobody_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {"AIRFLOW__CORE__SQL_ALCHEMY_CONN": "sqlite:////mine.db"}
    monkeypatch.setenv("SET_BY_THE_FILE", "no")
    for name in processor_variables():
        monkeypatch.delenv(name, raising=False)
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "telling.py"
    file.write_text(TELLING % sorted(processor_variables()), encoding="utf-8")

    (dag,) = build(file)

    assert dag.params["seen"] == processor_variables() == {**DATABASE, **CLIENT}
    assert {name: os.environ[name] for name in processor_variables() if name in os.environ} == mine
    assert os.environ["SET_BY_THE_FILE"] == "yes"


@pytest.mark.long
def test_a_process_that_imports_airflow_fails_as_it_would_in_the_processor(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "listing.py"
    file.write_text(LISTING, encoding="utf-8")

    with file_builder(file) as builder:
        dags, error = built(builder)

    assert dags == []
    assert "returned non-zero exit status 1" in str(error)
    assert "Could not parse SQLAlchemy URL" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param("cosmos2", {}, id="2.11", marks=BEFORE_3_13),
        pytest.param("airflow30", DATABASE, id="3.0"),
        pytest.param("airflow31", {**DATABASE, **CLIENT}, id="3.1"),
        pytest.param("airflow32", {**DATABASE, **CLIENT}, id="3.2"),
    ],
)
def test_each_airflow_sets_its_own(environment: str, expected: dict[str, str]) -> None:
    packages = site_packages_of(ENVIRONMENTS / environment)
    if packages is None:
        pytest.skip(f"no packages for this Python at .cache/envs/{environment}: make test makes them")
    has_pytest = (packages / "pytest").is_dir()
    start = "import json, pytest_cosmos_venv.dags.dag_files as it; print(json.dumps(it.processor_variables()))"

    done = subprocess.run(
        [ENVIRONMENTS / environment / "bin" / "python" if has_pytest else sys.executable, "-c", start],
        # Of two releases of Airflow 3 the first one on the path is taken for the installed one; none is imported.
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(packages)])},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == expected
