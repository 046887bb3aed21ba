"""The hash of a dbt project: what changes it, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.project.fingerprint import project_hash


@pytest.mark.parametrize(
    "file", ["models/orders.sql", "models/schema.yml", "macros/cents.sql", "dbt_project.yml", "packages.yml"]
)
def test_what_dbt_parses_changes_it(file: str, dbt_project: Path) -> None:
    before = project_hash(dbt_project, {})

    changed = dbt_project / file
    changed.parent.mkdir(exist_ok=True)
    with changed.open("a") as written:
        written.write("\n# another line\n")

    assert before is not None
    assert len(before) == 32
    assert project_hash(dbt_project, {}) != before


@pytest.mark.parametrize(
    "file", ["target/manifest.json", "logs/dbt.log", "dbt_packages/utils/models/a.sql", "notes.txt"]
)
def test_what_dbt_writes_and_what_it_does_not_read_leaves_it(file: str, dbt_project: Path) -> None:
    before = project_hash(dbt_project, {})

    written = dbt_project / file
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text("other")

    assert project_hash(dbt_project, {}) == before


def test_packages_that_dbt_deps_does_not_install_count(dbt_project: Path) -> None:
    model = dbt_project / "dbt_packages" / "utils" / "models" / "a.sql"
    model.parent.mkdir(parents=True)
    model.write_text("select 1")
    before = project_hash(dbt_project, {}, has_deps=False)

    model.write_text("select 2")

    assert project_hash(dbt_project, {}, has_deps=False) != before


def test_a_local_package_counts(dbt_project: Path) -> None:
    model = dbt_project.parent / "signals" / "models" / "lamps.sql"
    model.parent.mkdir(parents=True)
    (model.parents[1] / "dbt_project.yml").write_text("name: signals\n")
    model.write_text("select 1")
    (dbt_project / "packages.yml").write_text("packages: [{local: ../signals}]\n")
    before = project_hash(dbt_project, {})

    model.write_text("select 2")

    assert project_hash(dbt_project, {}) != before


@pytest.mark.parametrize("pattern", ["drafts", "models/drafts", "*.draft.sql", "dra*"])
def test_what_is_excluded_does_not_count(pattern: str, dbt_project: Path) -> None:
    draft = dbt_project / "models" / "drafts" / "night.draft.sql"
    draft.parent.mkdir(parents=True)
    draft.write_text("select 1")
    before = project_hash(dbt_project, {}, excluded=[pattern])
    counted = project_hash(dbt_project, {})

    draft.write_text("select 2")

    assert project_hash(dbt_project, {}, excluded=[pattern]) == before
    assert project_hash(dbt_project, {}) != counted


def test_there_is_none_of_a_folder_without_a_project(tmp_path: Path) -> None:
    assert project_hash(tmp_path, {}) is None
