"""One seed and what follows from it, on each release of dbt: the small sister of `test_dbt_versions.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from yaml import safe_load

from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtBuildVirtualenvOperator, DbtLSVirtualenvOperator
from pytest_cosmos_venv import CosmosAirflow
from tests.engines import DBT_1, DBT_2, ENGINES, Engine
from tests.installed import ROOT

EXAMPLES = ROOT / "examples"
"""Releases that take ten seconds of the processor each, beside a release that is tested before each commit."""


@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    "engine",
    [pytest.param(each, marks=[pytest.mark.long, pytest.mark.proof]) for each in ENGINES],
    ids=lambda engine: engine.name,
)
def test_each_release_of_dbt_builds_a_project(
    engine: Engine, dbt_project: Path, kept_directory: Path, tmp_path: Path
) -> None:
    engine.require()
    database = tmp_path / "harbor.duckdb"
    target = f"{{type: duckdb, path: '{database}'}}"
    (dbt_project / "profiles.yml").write_text(f"harbor: {{target: dev, outputs: {{dev: {target}}}}}\n")
    profile = ProfileConfig("harbor", "dev", profiles_yml_filepath=dbt_project / "profiles.yml")

    DbtBuildVirtualenvOperator(
        task_id="build",
        project_dir=dbt_project,
        profile_config=profile,
        virtualenv_dir=kept_directory,
        **engine.arguments,
    ).execute({})

    with duckdb.connect(str(database)) as connection:
        assert connection.execute("select name from piers").fetchall() == [("North",)]


@pytest.mark.parametrize("project", sorted(EXAMPLES.rglob("dbt_project.yml")), ids=lambda file: file.parent.name)
def test_dbt_2_parses_each_example_though_it_is_strict(project: Path, kept_directory: Path, tmp_path: Path) -> None:
    engine = DBT_2
    engine.require()
    profile = safe_load(project.read_text())["profile"]
    target = f"{{type: duckdb, path: '{tmp_path}/example.duckdb'}}"
    (tmp_path / "profiles.yml").write_text(f"{profile}: {{target: dev, outputs: {{dev: {target}}}}}\n")

    DbtLSVirtualenvOperator(
        task_id="ls",
        project_dir=project.parent,
        profile_config=ProfileConfig(profile, "dev", profiles_yml_filepath=tmp_path / "profiles.yml"),
        virtualenv_dir=kept_directory,
        **engine.arguments,
    ).execute({})


@pytest.mark.timeout(280)
@pytest.mark.parametrize("engine", [pytest.param(DBT_1, marks=pytest.mark.long), DBT_2], ids=lambda engine: engine.name)
def test_dbt_builds_what_has_changed_since_the_last_success_of_the_task(
    engine: Engine, dbt_project: Path, kept_directory: Path, tmp_path: Path, cosmos_airflow: CosmosAirflow
) -> None:
    """The first time there is no success, which dbt takes for a state too; each run has a folder of its own."""
    assert not cosmos_airflow.variables.values
    engine.require()
    target = f"{{type: duckdb, path: '{tmp_path}/harbor.duckdb'}}"
    (dbt_project / "profiles.yml").write_text(f"harbor: {{target: dev, outputs: {{dev: {target}}}}}\n")

    def build() -> list[str]:
        built: list[str] = []

        def look(folder: str, **_: Any) -> None:
            results = Path(folder) / "target" / "run_results.json"
            if results.is_file():  # dbt 2 leaves none where nothing is selected
                built.extend(each["unique_id"].split(".")[2] for each in json.loads(results.read_text())["results"])

        DbtBuildVirtualenvOperator(
            task_id="build",
            project_dir=dbt_project,
            profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=dbt_project / "profiles.yml"),
            virtualenv_dir=kept_directory,
            select="state:modified+",
            state="last_success",
            defer_to_state=True,
            callback=look,
            **engine.arguments,
        ).execute({})
        return sorted(built)

    first, second = build(), build()
    (dbt_project / "models" / "staging.sql").write_text("select 2 as id, * from {{ ref('piers') }}\n")
    third, fourth = build(), build()

    assert first == ["mart", "piers", "staging"]
    assert (second, third, fourth) == ([], ["mart", "staging"], [])
