"""Seeds that load when they have changed, with a real dbt: what stands in the table proves whether dbt has run.

The suite tells the rest of the page "Managing seeds" with the fake dbt.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import LoadMode, SeedRenderingBehavior, TestBehavior
from pytest_cosmos_venv import CosmosAirflow
from tests.real_seeds import Harbor, needs_real_dbt
from tests.whole.test_real_packages import git

pytestmark = [pytest.mark.long, needs_real_dbt]


@pytest.fixture
def harbor(dbt_project: Path, cosmos_airflow: CosmosAirflow) -> Harbor:
    assert not cosmos_airflow.variables.values
    return Harbor(dbt_project, cosmos_airflow)


def test_a_seed_is_loaded_when_its_content_has_changed_and_only_then(harbor: Harbor) -> None:
    text = harbor.csv.read_bytes()

    assert harbor.run()
    assert not harbor.run()
    harbor.csv.touch()
    assert not harbor.run()
    harbor.csv.write_bytes(text + b"2,South\n")
    assert harbor.run()
    assert not harbor.run()
    harbor.csv.unlink()
    harbor.csv.write_bytes(text + b"2,South\n")
    assert not harbor.run()


def test_all_ways_of_loading_agree_and_folders_do_not_count(harbor: Harbor) -> None:
    assert harbor.run(group="north")

    assert not harbor.run(group="north", load_method=LoadMode.DBT_LS)
    assert not harbor.run(group="north", group_nodes_by_folder=True)
    assert not harbor.run(group="north", load_method=LoadMode.DBT_MANIFEST, manifest=harbor.make_manifest())


def test_with_build_a_seed_without_a_task_of_its_own_is_not_loaded_and_its_models_are_built(harbor: Harbor) -> None:
    (harbor.project / "models" / "mart.sql").unlink()
    staging = "{{ config(materialized='table') }} select * from {{ ref('piers') }}\n"
    (harbor.project / "models" / "staging.sql").write_text(staging)
    building: dict[str, Any] = {"test_behavior": TestBehavior.BUILD, "load_method": LoadMode.DBT_LS, "select": []}

    assert harbor.run(behavior=SeedRenderingBehavior.ALWAYS, **building)
    assert not harbor.run(behavior=SeedRenderingBehavior.NONE, **building)
    assert harbor.marks("staging") == 1
    assert not harbor.run(behavior=SeedRenderingBehavior.RENDER_ONLY, **building)
    assert harbor.marks("staging") == 2


@pytest.mark.skipif(shutil.which("git") is None, reason="git packages need git")
def test_a_seed_of_a_package_that_dbt_deps_installs_is_loaded_each_time(harbor: Harbor, tmp_path: Path) -> None:
    ports = tmp_path / "remote" / "ports"
    (ports / "seeds").mkdir(parents=True)
    (ports / "dbt_project.yml").write_text("name: ports\nversion: '1.0'\n")
    harbor.csv = harbor.csv.rename(ports / "seeds" / "piers.csv")
    git(ports, "init", "-q", "-b", "main")
    git(ports, "add", ".")
    git(ports, "commit", "-q", "-m", "one")
    (harbor.project / "packages.yml").write_text(f"packages:\n  - git: file://{ports}\n    revision: main\n")
    of_package: dict[str, Any] = {"load_method": LoadMode.DBT_LS, "select": ["package:ports"]}

    assert harbor.run(**of_package)
    assert harbor.run(**of_package)
