"""The real dbt takes the profiles that are written, and finds in them what the Connection says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import profiles
from cosmos_venv.config import ProfileConfig
from cosmos_venv.profiles import BaseProfileMapping, DbtProfileConfigVars
from tests.installed import DBT, needs_dbt
from tests.profiles.samples import connect

pytestmark = needs_dbt


def run_dbt(command: str, mapping: BaseProfileMapping, project: Path, *flags: str, mock: bool = False) -> Any:
    """dbt with the written profile and its variables, and nothing else of ours in its environment."""
    config = ProfileConfig("harbor", "dev", profile_mapping=mapping)
    with config.ensure_profile(use_mock_values=mock) as (profile, variables):
        return subprocess.run(
            [str(DBT), "--no-use-colors", command, *config.flags(profile), "--project-dir", str(project), *flags],
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables},
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.long
def test_dbt_logs_in_to_the_duckdb_of_a_connection(
    dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "harbor.duckdb"
    connect(monkeypatch, conn_type="duckdb", host=str(database))
    mapping = profiles.DuckDBUserPasswordProfileMapping(
        "sample", {"schema": "main"}, dbt_config_vars=DbtProfileConfigVars(version_check=True)
    )

    done = run_dbt("debug", mapping, dbt_project)

    assert done.returncode == 0, done.stdout
    assert "All checks passed!" in done.stdout
    assert f"path: {database}" in done.stdout
    assert database.exists()


@pytest.mark.long
def test_dbt_goes_by_its_settings_of_the_mapping_beside_those_of_the_project(
    dbt_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config block in the profile is not read, and one beside it is refused where the project has flags."""
    connect(monkeypatch, conn_type="duckdb", host=":memory:")
    with (dbt_project / "dbt_project.yml").open("a") as file:
        file.write("flags: {printer_width: 90, log_format: text}\n")
    settings = DbtProfileConfigVars(
        log_format="json",
        write_json=False,
        partial_parse=True,
        printer_width=100,
        debug=False,
        warn_error_options={"error": ["NoNodesForSelectionCriteria"]},
        use_experimental_parser=True,
        static_parser=True,
        version_check=True,
    )
    mapping = profiles.DuckDBUserPasswordProfileMapping("sample", dbt_config_vars=settings)

    parsed = run_dbt("parse", mapping, dbt_project)
    refused = run_dbt("compile", mapping, dbt_project, "--select", "no_such_model")

    assert parsed.returncode == 0, parsed.stdout
    assert {json.loads(line)["info"]["level"] for line in parsed.stdout.splitlines()} <= {"info", "warn"}
    assert not (dbt_project / "target" / "manifest.json").exists()
    assert refused.returncode != 0


@pytest.mark.long
def test_dbt_parses_with_the_mock_profile_of_a_connection_that_does_not_exist(dbt_project: Path) -> None:
    mapping = profiles.PostgresUserPasswordProfileMapping("no_such", {"schema": "fleet", "password": "s3cret-word"})

    done = run_dbt("parse", mapping, dbt_project, mock=True)

    assert done.returncode == 0, done.stdout
    assert '"schema":"fleet"' in (dbt_project / "target" / "manifest.json").read_text().replace(" ", "")
