"""300 models in 5 domains over 72 hours with failures: each model is built when it should, compared with an oracle.

Airflow's backfill makes runs of the DAGs whose schedule is a time. It refuses a DAG that waits for assets: such a DAG
follows the assets that the runs of the backfill give. This test does what a backfill of one run at a time does, without
a scheduler, which would take very long for 894 tasks. Each run is a ``dag.test()``. Airflow says which assets a run
gives and for which assets a DAG waits; the test runs a DAG as soon as all its assets have been updated.

Assets have no hours. After a failure at one hour, the asset of the other domain that a reader reads stays, and counts
at the next hour. Then the reader runs as soon as the first of the two domains is done, and reads what the other domain
has built an hour ago. This lasts until that other domain fails in its turn. A scheduler may take several updates of an
asset into one run. Here this happens only to the asset that waits, since a complete set of updates never waits.

``tests/stacks/test_project_dags__hours_on_a_stack.py`` shows the same on a real scheduler with partition keys, by which
each reader waits for its own hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Protocol

import pytest

from cosmos_venv import DbtDag, DbtProjectDags, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.compat import awaited_uris
from cosmos_venv.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior
from pytest_cosmos_venv import CosmosAirflow, CosmosProject, FakeVenv
from tests.five_domains import (
    READS,
    ROOTS,
    Model,
    Run,
    Runs,
    built_models,
    drawn_failures,
    drawn_models,
    expected_models,
    expected_runs,
    fill_project,
    needed_models,
    program_of_all_hours,
    script_failures,
    tasks_of,
    variables_of_an_hour,
)

SEED = 62
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
HOUR = "%Y-%m-%dT%H"
HOURS = [(START + timedelta(hours=number)).strftime(HOUR) for number in range(72)]


class Split(Protocol):
    """Make the DAGs of a project with these models; ``render`` are arguments of ``RenderConfig``."""

    def __call__(self, models: Mapping[str, Model], **render: Any) -> DbtProjectDags: ...


def runs_by_assets(airflow: CosmosAirflow, dags: Mapping[str, DbtDag]) -> Runs:
    """Run the DAGs for all hours, and return the states of their tasks."""
    awaited = {domain: {*awaited_uris(dag)} for domain, dag in dags.items()}
    updated: dict[str, set[str]] = {domain: set() for domain in dags}
    runs: Runs = {}

    def run(hour: str, domain: str) -> None:
        assert (hour, domain) not in runs
        date = datetime.strptime(hour, HOUR).replace(tzinfo=timezone.utc)
        outcome = airflow.run(dags[domain], logical_date=date)
        runs[hour, domain] = Run(tasks=outcome.states)
        for reader, uris in awaited.items():
            given = uris & {asset.uri for asset in outcome.assets}
            updated[reader] |= given
            if given and updated[reader] == uris:
                updated[reader].clear()
                run(hour, reader)

    for hour in HOURS:
        for domain in dags:
            if not awaited[domain]:
                run(hour, domain)
    return runs


@pytest.fixture
def hours(tmp_path: Path) -> Path:
    """The folder of the hours of the fake dbt."""
    return tmp_path / "hours"


@pytest.fixture
def split(cosmos_project: CosmosProject, cosmos_fake_venv: FakeVenv, hours: Path) -> Split:
    def make(models: Mapping[str, Model], **render: Any) -> DbtProjectDags:
        project = cosmos_project("shop")
        return DbtProjectDags(
            ProjectConfig(
                project.path,
                manifest_path=fill_project(project, models),
                install_dbt_deps=False,
                env_vars=variables_of_an_hour(hours, f"{{{{ logical_date.strftime('{HOUR}') }}}}"),
            ),
            schedules=dict.fromkeys(ROOTS, "@hourly"),
            profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=project.profiles_yml),
            execution_config=ExecutionConfig(
                ExecutionMode.LOCAL,
                dbt_executable_path=program_of_all_hours(cosmos_fake_venv),
                invocation_mode=InvocationMode.SUBPROCESS,
            ),
            # The assets of the models would take half of Airflow's time; those of the domains are given nevertheless.
            render_config=RenderConfig(
                load_method=LoadMode.DBT_MANIFEST, test_behavior=TestBehavior.NONE, emit_datasets=False, **render
            ),
            start_date=START,
        )

    return make


def test_where_each_model_is_a_task_a_reader_waits_for_the_models_that_it_reads_and_no_others(split: Split) -> None:
    models = drawn_models(SEED)

    dags = split(models)

    for reader, others in READS.items():
        for domain in others:
            ready = dags[domain].get_task(f"ready_for_{reader}")
            assert ready.get_flat_relative_ids(upstream=True) == {
                f"{name}_run" for name in needed_models(models, domain, reader)
            }


@pytest.mark.long
@pytest.mark.timeout(1800)  # seven minutes on two cores with a load of 7
def test_each_model_is_built_when_the_domains_that_its_domain_reads_have_been(
    cosmos_airflow: CosmosAirflow, split: Split, hours: Path
) -> None:
    models = drawn_models(SEED)
    failures = drawn_failures(models, HOURS, SEED)
    script_failures(hours, failures)

    runs = runs_by_assets(cosmos_airflow, split(models, batch_by="folder"))

    expected = expected_runs(models, failures, has_keys=False)
    assert [*tasks_of(runs).items()] == [*tasks_of(expected).items()]
    assert built_models(hours, HOURS) == expected_models(expected, HOURS)
