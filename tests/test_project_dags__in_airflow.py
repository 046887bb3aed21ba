"""A DAG file with several DAGs of one project: as Airflow finds and runs them, and as a worker parses it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from pytest_cosmos_venv import CosmosAirflow, CosmosProject
from tests.worker_parse import made_of, parse, parse_in_worker

FILE = """
# an airflow dag
import sys
from datetime import datetime, timezone
from cosmos_venv import DbtProjectDags, ExecutionConfig, ProfileConfig, ProjectConfig

sys.dags_of_a_test = DbtProjectDags(
    ProjectConfig({folder!r}, manifest_path={folder!r} + "/target/manifest.json"),
    profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath={folder!r} + "/profiles.yml"),
    execution_config=ExecutionConfig({mode!r}, virtualenv_dir={folder!r} + "/environments"),
    operator_args={{"py_requirements": ["dbt-duckdb"]}},
    schedules={{"staging": "@daily"}},
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    {more}
)
"""
FUNCTION = "split_by=lambda node: node.original_file_path.parts[1]"
ALL = {"staging": {"stg_orders_run", "ready_for_marts"}, "marts": {"report_run", "totals_run"}}
needs_airflow_3 = pytest.mark.skipif(not IS_AIRFLOW_3, reason="a worker of Airflow 2 makes all DAGs of a file")


@pytest.fixture
def file(tmp_path: Path, cosmos_project: CosmosProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(sys, "dags_of_a_test", {}, raising=False)
    project = cosmos_project("shop")
    project.model("staging/stg_orders", "select 1 as id")
    project.model("marts/report", "select * from {{ ref('stg_orders') }}")
    project.model("marts/totals", "select * from {{ ref('report') }}")
    project.manifest()
    return written(tmp_path / "dags_of_the_shop.py")


def written(file: Path, more: str = "", mode: str = "virtualenv") -> Path:
    file.write_text(FILE.format(folder=str(file.parent / "shop"), more=more, mode=mode))
    return file


def made() -> dict[str, set[str]]:
    """By domain the tasks that are made."""
    dags: Mapping[str, Any] = sys.dags_of_a_test  # type: ignore[attr-defined]
    return {domain: made_of(dag) for domain, dag in dags.items()}


def test_airflow_finds_the_dags_without_a_variable_for_each(file: Path, cosmos_airflow: CosmosAirflow) -> None:
    assert parse(file, "shop_marts").fileloc == str(file)
    assert made() == ALL
    assert set(cosmos_airflow.load(file, dag_id="shop_staging").shape().data["tasks"]) == ALL["staging"]


@pytest.mark.long
@pytest.mark.parametrize("mode", ["virtualenv", "watcher"])
def test_the_asset_for_another_dag_is_given_once_the_nodes_are_there(
    file: Path, cosmos_airflow: CosmosAirflow, mode: str
) -> None:
    staging = cosmos_airflow.load(written(file, mode=mode), dag_id="shop_staging")
    staging.model("stg_orders").fails("no such column")
    failed = staging.run()
    staging.model("stg_orders").succeeds()

    good = staging.run()

    assert failed.states["ready_for_marts"] == "upstream_failed"
    assert list(failed.assets) == []
    given = [(task, asset.uri) for task, each in good.tasks.items() for asset in each.assets]
    assert ("ready_for_marts", "dbt://shop_staging/shop_marts") in given


@needs_airflow_3
@pytest.mark.parametrize(("dag_id", "task_id"), [("shop_staging", "ready_for_marts"), ("shop_marts", "totals_run")])
def test_a_worker_loads_nothing_and_makes_its_task_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dag_id: str, task_id: str
) -> None:
    whole = parse(file, dag_id)
    caplog.clear()
    caplog.set_level(logging.INFO, logger="cosmos_venv.project.graph")

    dag = parse_in_worker(monkeypatch, file, dag_id, task_id)

    assert {domain: tasks for domain, tasks in made().items() if tasks} == {dag_id.removeprefix("shop_"): {task_id}}
    assert caplog.messages == []
    assert dag.timetable == whole.timetable
    assert dag.task_dict[task_id].outlets == whole.task_dict[task_id].outlets
    assert dag.task_dict[task_id].upstream_task_ids == whole.task_dict[task_id].upstream_task_ids
    assert {*dag.task_dict} == made_of(whole)


@needs_airflow_3
@pytest.mark.parametrize("more", ["", FUNCTION])
def test_a_worker_that_finds_nothing_kept_makes_the_dag_of_its_task(
    file: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    parse_in_worker(monkeypatch, written(file, more), "shop_marts", "totals_run")
    assert made() == {**ALL, "staging": set()}

    parse_in_worker(monkeypatch, file, "shop_marts", "totals_run")
    assert made() == {"staging": set(), "marts": ALL["marts"] if more else {"totals_run"}}


@needs_airflow_3
def test_the_same_project_under_another_dag_id_has_assets_of_its_own(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse(file, "shop_staging")
    parse(written(file, "dag_id='eu'"), "eu_staging")

    dag = parse_in_worker(monkeypatch, file, "eu_staging", "ready_for_marts")

    (outlet,) = dag.task_dict["ready_for_marts"].outlets
    assert outlet.uri == "dbt://eu_staging/eu_marts"


@needs_airflow_3
def test_a_worker_finds_the_domains_of_the_project_as_it_is_now(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse(file, "shop_marts")
    manifest = file.parent / "shop" / "target" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("models/marts/", "models/reports/"))

    parse_in_worker(monkeypatch, file, "shop_reports", "totals_run")

    assert made() == {"staging": set(), "reports": ALL["marts"]}
