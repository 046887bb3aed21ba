"""Airflow 3 makes a new version of a DAG when the dbt project has changed, and none else."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import pytest

from cosmos_venv import DbtDag, ProjectConfig
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
