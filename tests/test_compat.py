"""What only Airflow's own commands and releases show: which command this is, and which file is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import airflow
import pytest

from cosmos_venv.compat import is_typed_for
from tests.operators.whole_airflow import DEADLINE, ENVIRONMENTS, WholeAirflow

AIRFLOWS = {"3": Path(sys.executable), "2": ENVIRONMENTS / "airflow2" / "bin" / "python"}
MODULE = str(Path(airflow.__file__).with_name("__main__.py"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("/bin/airflow dags test harbor", True, id="dags-test"),
        pytest.param("airflow dags test harbor 2026-01-01 --show-dagrun", True, id="with-more-words"),
        pytest.param(f"{MODULE} tasks test harbor piers_seed", True, id="as-a-module"),
        pytest.param("airflow tasks test other piers_seed", False, id="another-dag"),
        pytest.param("airflow tasks run harbor piers_seed manual --local", False, id="by-an-executor"),
        pytest.param("airflow dags list", False, id="all-dags"),
        pytest.param("airflow scheduler", False, id="scheduler"),
        pytest.param("airflow dag-processor", False, id="dag-processor"),
        pytest.param("/usr/bin/celery worker", False, id="another-program"),
        pytest.param("/opt/dags/test harbor", False, id="a-script"),
    ],
)
def test_a_command_that_somebody_types_for_a_dag_is_known(
    words: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", words.split())

    assert is_typed_for("harbor") is expected


SLOW_DBT = """#!/bin/sh
case " $* " in
  *" ls "*) sleep 3; cat '{lines}' ;;
esac
"""
LINES = """\
{"name": "mart", "unique_id": "model.harbor.mart", "resource_type": "model", "package_name": "harbor", \
"original_file_path": "models/mart.sql", "depends_on": {"nodes": []}, "tags": [], "config": {}}
"""
DAG_FILE = """
# airflow
from datetime import datetime, timezone
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv import InvocationMode, LoadMode
from cosmos_venv.compat import parsed_file

print("PARSED", parsed_file())
harbor = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig({project!r}),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml"),
    execution_config=ExecutionConfig(dbt_executable_path={dbt!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_LS),
)
"""


@pytest.mark.long
@pytest.mark.parametrize("release", AIRFLOWS)
def test_a_command_that_somebody_has_typed_waits_although_airflow_ends_imports_sooner(
    release: str, tmp_path: Path, dbt_project: Path
) -> None:
    python = AIRFLOWS[release]
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"no Airflow {release} at {python}")
    (tmp_path / "lines.jsonl").write_text(LINES)
    dbt = tmp_path / "dbt"
    dbt.write_text(SLOW_DBT.format(lines=tmp_path / "lines.jsonl"))
    dbt.chmod(0o755)
    whole = WholeAirflow(python=python, folder=tmp_path, variables={"AIRFLOW__CORE__LOAD_EXAMPLES": "False"})
    whole.dag_file.parent.mkdir(parents=True)
    whole.airflow("db", "migrate")
    whole.dag_file.write_text(DAG_FILE.format(project=str(dbt_project), dbt=str(dbt)))

    done = subprocess.run(
        [python, "-m", "airflow", "tasks", "list", "harbor"],
        # Two seconds for all that this file imports, and for dbt.
        env={**whole.environment, "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "2.5"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "mart_run" in done.stdout
    assert "Traceback" not in output
    assert f"PARSED {whole.dag_file}" in output
