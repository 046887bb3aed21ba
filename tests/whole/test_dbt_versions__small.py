"""One seed and what follows from it, on each release of dbt: the small sister of `test_dbt_versions.py`."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtBuildVirtualenvOperator
from tests.engines import ENGINES, Engine


@pytest.mark.timeout(280)
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
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
