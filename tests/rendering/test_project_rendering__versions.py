"""Airflow 3 makes a new version of a DAG when the dbt project has changed, and none else."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import pytest

from cosmos_venv import DbtDag, DbtTaskGroup, ProjectConfig
from cosmos_venv.compat import DAG
from pytest_cosmos_venv import CosmosAirflow
from tests.kit import harbor_profile, written_manifest
from tests.rendering.serialised_dags import to_dict

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
HASH = re.compile(r"\*\*dbt project hash:\*\* `[0-9a-f]{32}`")


class MakeDag(Protocol):
    """Make a DAG of the project."""

    def __call__(self, *, doc_md: str | None = None) -> DbtDag: ...


@pytest.fixture
def make_dag(dbt_project: Path) -> MakeDag:
    def make(*, doc_md: str | None = None) -> DbtDag:
        return DbtDag(
            dag_id="harbor",
            start_date=START,
            schedule=None,
            project_config=ProjectConfig(dbt_project, manifest_path=written_manifest(dbt_project)),
            profile_config=harbor_profile(dbt_project),
            doc_md=doc_md,
        )

    return make


def change_sql(project: Path) -> None:
    model = next((project / "models").rglob("*.sql"))
    model.write_text(model.read_text() + "\n-- another line\n")


def test_the_documentation_ends_with_the_hash_of_the_project(make_dag: MakeDag, dbt_project: Path) -> None:
    first, same = make_dag(), make_dag()
    change_sql(dbt_project)
    changed = make_dag()

    assert first.doc_md is not None
    assert HASH.fullmatch(first.doc_md)
    assert same.doc_md == first.doc_md
    assert changed.doc_md != first.doc_md


def test_airflow_takes_it_for_another_version(make_dag: MakeDag, dbt_project: Path) -> None:
    first = to_dict(make_dag())
    assert to_dict(make_dag()) == first
    change_sql(dbt_project)
    assert to_dict(make_dag()) != first


def test_what_the_user_has_written_stands_before_it(make_dag: MakeDag) -> None:
    words, _, line = str(make_dag(doc_md="The harbor at night.").doc_md).partition("\n\n")

    assert words == "The harbor at night."
    assert HASH.fullmatch(line)


def test_it_can_be_switched_off(make_dag: MakeDag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__ENABLE_DAG_VERSIONING", "false")

    assert make_dag().doc_md is None


def test_what_is_excluded_does_not_count(make_dag: MakeDag, dbt_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__PROJECT_HASH_EXCLUDED_DIRS", "macros, *.sql")
    before = make_dag().doc_md

    change_sql(dbt_project)

    assert make_dag().doc_md == before


def test_groups_of_one_project_say_it_once(dbt_project: Path) -> None:
    with DAG(dag_id="two", start_date=START, schedule=None) as dag:
        for group_id in ("one", "other"):
            DbtTaskGroup(
                group_id,
                project_config=ProjectConfig(dbt_project, manifest_path=written_manifest(dbt_project)),
                profile_config=harbor_profile(dbt_project),
            )

    assert HASH.fullmatch(str(dag.doc_md))


DAG_FILE = """
# An airflow dag.
from datetime import datetime, timezone
from cosmos_venv import DbtDag, ProfileConfig, ProjectConfig

PROJECT = {project!r}
dag = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig(PROJECT, manifest_path=PROJECT + "/target/manifest.json"),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT + "/profiles.yml"),
)
"""


@pytest.mark.long
def test_airflow_counts_a_version_for_each_change_and_none_without(
    cosmos_airflow: CosmosAirflow, dbt_project: Path
) -> None:
    """A version that no run has used is replaced, so each version is used."""
    written_manifest(dbt_project)
    cosmos_airflow.home.add_dag_file("harbor.py", DAG_FILE.format(project=str(dbt_project)))

    def versions() -> int:
        airflow("dags", "reserialize")
        with sqlite3.connect(cosmos_airflow.home.database) as database:
            (found,) = database.execute("select count(*) from dag_version where dag_id = 'harbor'").fetchone()
        return int(found)

    def airflow(*arguments: str) -> None:
        command = [sys.executable, "-m", "airflow", *arguments]
        environment = {**os.environ, **cosmos_airflow.home.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    first = versions()
    airflow("dags", "trigger", "harbor")
    unchanged = versions()
    change_sql(dbt_project)

    assert (first, unchanged, versions()) == (1, 1, 2)
