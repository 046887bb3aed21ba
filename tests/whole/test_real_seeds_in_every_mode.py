"""An unchanged seed, with real dbt in an environment of its own and in the task's process; what comes after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import ExecutionConfig, ExecutionMode, LoadMode, SeedRenderingBehavior, TestBehavior
from pytest_cosmos_venv import AirflowHome, RunDag, Variables
from tests.installed import DBT_111, ROOT, install_from_wheels, needs_dbt_wheels, site_packages_of
from tests.real_seeds import MARK, Harbor, needs_real_dbt

DEADLINE = 200.0

pytestmark = [pytest.mark.long, needs_real_dbt]

# The test warns of the row that no CSV has, so that one can see whether it has run on the table as it was left.
SCHEMA = """
seeds:
  - name: piers
    columns:
      - name: id
        data_tests:
          - accepted_values: {arguments: {values: [1], quote: false}, config: {severity: warn}}
"""


@pytest.fixture
def project(dbt_project: Path) -> Path:
    """The small project, with a test of its seed, and of the models the one that is made anew in each run."""
    (dbt_project / "models" / "mart.sql").unlink()
    (dbt_project / "models" / "staging.sql").write_text(
        "{{ config(materialized='table') }} select * from {{ ref('piers') }}\n"
    )
    (dbt_project / "seeds" / "schema.yml").write_text(SCHEMA)
    return dbt_project


@pytest.fixture
def harbor(project: Path, cosmos_run_dag: RunDag, cosmos_variables: Variables) -> Harbor:
    return Harbor(project, cosmos_run_dag)


@needs_dbt_wheels
def test_in_an_environment_of_its_own_what_comes_after_a_skipped_seed_runs(
    harbor: Harbor, kept_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DbtTaskGroup, loaded by the dbt of that environment, with the test behind each node."""
    install_from_wheels(monkeypatch)
    warned: list[list[str]] = []
    given: dict[str, Any] = {
        "group": "north",
        "execution": ExecutionConfig(ExecutionMode.VIRTUALENV, virtualenv_dir=kept_directory),
        "load_method": LoadMode.DBT_LS,
        "test_behavior": TestBehavior.AFTER_EACH,
        "on_warning_callback": lambda context: warned.append(context["test_names"]),
        "select": [],
        "py_requirements": ["dbt-core~=1.11.0", "dbt-duckdb"],
    }

    assert harbor.run(**given)
    assert not warned
    assert not harbor.run(**given)

    assert harbor.marks("staging") == 1, "the model was made of the table as it was left"
    (names,) = warned
    assert "accepted_values" in names[0]


TWO_RUNS = """
import json, sys
sys.path.append({packages!r})
import duckdb
from airflow.__main__ import main

def rows(statement):
    with duckdb.connect({database!r}) as database:
        return database.execute(statement).fetchall()

found = []
for _ in range(2):
    sys.argv = ["airflow", "dags", "test", "harbor"]
    main()
    found.append({{table: len(rows(f"select id from {{table}}")) for table in ("piers", "staging")}})
    rows("insert into piers (id) values ({mark})")
print("FOUND", json.dumps(found))
"""

DAG = """
# An airflow dag.
from datetime import datetime, timezone
from cosmos_venv import (
    DbtDag, ExecutionConfig, InvocationMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig,
    SeedRenderingBehavior, TestBehavior
)

harbor = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig({project!r}, manifest_path={manifest!r}),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml"),
    execution_config=ExecutionConfig(invocation_mode=InvocationMode.DBT_RUNNER),
    render_config=RenderConfig(
        seed_rendering_behavior=SeedRenderingBehavior.WHEN_SEED_CHANGES,
        load_method=LoadMode.DBT_MANIFEST,
        test_behavior=TestBehavior.AFTER_ALL,
    ),
    on_warning_callback=lambda context: print("WARNED", context["test_names"]),
)
"""


def test_in_the_tasks_own_process_what_comes_after_a_skipped_seed_runs(
    project: Path, airflow_apart: AirflowHome, tmp_path: Path
) -> None:
    """A DbtDag, loaded from dbt's manifest, with all tests at the end and Airflow's own store of Variables."""
    harbor, packages = Harbor(project), str(site_packages_of(DBT_111))
    manifest = str(harbor.make_manifest())
    airflow_apart.add_dag_file("harbor.py", DAG.format(project=str(project), manifest=manifest))

    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            TWO_RUNS.format(packages=packages, database=str(harbor.database), mark=MARK),
        ],
        env={**os.environ, **airflow_apart.environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE,
    )

    assert done.returncode == 0, done.stdout
    first, second = json.loads(done.stdout.rpartition("FOUND")[2])
    assert (first, second) == ({"piers": 1, "staging": 1}, {"piers": 2, "staging": 2}), done.stdout
    assert done.stdout.count("WARNED") == 1
    assert " in this process" in done.stdout


def test_with_build_a_seed_without_a_task_of_its_own_is_not_loaded_and_its_models_are_built(harbor: Harbor) -> None:
    building: dict[str, Any] = {"test_behavior": TestBehavior.BUILD, "load_method": LoadMode.DBT_LS, "select": []}

    assert harbor.run(behavior=SeedRenderingBehavior.ALWAYS, **building)
    assert not harbor.run(behavior=SeedRenderingBehavior.NONE, **building)
    assert harbor.marks("staging") == 1
    assert not harbor.run(behavior=SeedRenderingBehavior.RENDER_ONLY, **building)
    assert harbor.marks("staging") == 2
