"""API: what DbtDag and DbtTaskGroup take in virtualenv mode, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .bench import Bench
from .dags import TaskOfDag
from .requirements import requirement
from .runs import is_below

if TYPE_CHECKING:
    from pytest_cosmos_venv import DbtProjects


@pytest.fixture
def project(cosmos_dbt_project: DbtProjects) -> Path:
    """One with a model and a manifest."""
    made = cosmos_dbt_project("harbor")
    made.model("orders", "select 1 as id")
    made.manifest()
    return made.path


DOCUMENTED = {
    "": ["DbtDag", "DbtTaskGroup", "ProjectConfig", "ProfileConfig", "ExecutionConfig", "RenderConfig"],
    "constants": ["ExecutionMode", "SeedRenderingBehavior"],
    "profiles": ["PostgresUserPasswordProfileMapping"],
}
"""Module below the import root -> what examples import from it."""


@requirement("API-014")
def test_what_examples_import_is_found(bench: Bench) -> None:
    missing = bench.ask("missing_names", names=DOCUMENTED)

    assert not missing, f"What the documentation imports must be found where it does; seen: no {', '.join(missing)}"


@requirement("API-015")
def test_a_project_is_named_by_a_relative_path(bench: Bench, project: Path) -> None:
    manifest = str(project / "target" / "manifest.json")
    named = {"dbt_project_path": project.name, "manifest_path": manifest}

    seen = bench.render(bench.dag_plan(project, project=named, folder=str(project.parent)))

    assert seen.tasks, f'ProjectConfig("{project.name}") must name the folder in the current directory; seen: {seen}'


@requirement("API-005")
@pytest.mark.parametrize("groups", [(), ("shop",)], ids=["DbtDag", "DbtTaskGroup"])
def test_dbt_runner_is_refused_in_virtualenv_mode(bench: Bench, project: Path, groups: tuple[str, ...]) -> None:
    plan = bench.dag_plan(project, groups=groups, execution={"invocation_mode": "dbt_runner"})

    error = bench.ask("error_of_dag", plan=plan)

    kinds = error["kinds"] if error else []
    assert "CosmosValueError" in kinds, (
        "ExecutionConfig(execution_mode=VIRTUALENV, invocation_mode=DBT_RUNNER), or at the latest the DAG built with "
        f"it, must raise CosmosValueError; seen: {error}"
    )


@requirement("API-007")
@pytest.mark.parametrize("groups", [(), ("shop",)], ids=["DbtDag", "DbtTaskGroup"])
@pytest.mark.parametrize("place", ["operator_args", "execution"])
def test_a_dag_in_virtualenv_mode_keeps_its_environment_where_it_is_told(
    bench: Bench, project: Path, place: str, groups: tuple[str, ...]
) -> None:
    told = bench.shared_directory
    kept: dict[str, Any] = {place: {"virtualenv_dir": str(told)}}
    plan = bench.dag_plan(project, groups=groups, **kept)

    outcome = bench.run(TaskOfDag(command="run", plan=plan))

    assert outcome.succeeded, f"the model's task must succeed; seen: {outcome}"
    prefixes = [call.prefix for call in bench.calls("run")]
    assert len(prefixes) == 1, f"the model's task must run dbt once; seen: {bench.calls()}"
    assert is_below(prefixes[0], told), (
        f"dbt must run from an environment in {told}, named in {place}; seen: {prefixes[0]}"
    )


@requirement("API-008")
@pytest.mark.parametrize("what", ["operator", "dag"])
def test_building_makes_nothing(bench: Bench, project: Path, what: str) -> None:
    kept = {"virtualenv_dir": str(bench.virtualenv_dir)}
    make = bench.kept_task() if what == "operator" else bench.dag_plan(project, operator_args=kept)

    traces = bench.ask("traces_of", make=make)

    ours = [trace for trace in traces if trace.startswith("process:") or str(bench.folder) in trace]
    assert not ours, f"making the {what} must start no process and change nothing in {bench.folder}; seen: {ours}"
    assert not bench.virtualenv_dir.exists(), f"making the {what} must not make virtualenv_dir; seen: it is there"


@requirement("API-012")
def test_ordinary_dag_parameters_reach_the_dag_and_its_tasks(bench: Bench, project: Path) -> None:
    for catchup in (False, True):  # one of them is this Airflow's default
        ordinary: Mapping[str, Any] = {
            "dag_id": "nightly",
            "schedule": "@daily",
            "start_date": datetime(2023, 1, 1, tzinfo=timezone.utc),
            "catchup": catchup,
            "default_args": {"retries": 2, "owner": "harbor"},
        }

        seen = bench.ask("dag_facts", plan=bench.dag_plan(project, dag=ordinary))

        required = bench.ask("dag_facts", dag=ordinary)
        assert seen == required, f"a DbtDag must take the parameters of a DAG as a DAG does: {required}; seen: {seen}"
