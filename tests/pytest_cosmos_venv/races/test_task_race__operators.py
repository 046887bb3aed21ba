"""Tasks of a real implementation race for one kept environment, with its own lock and a true install."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_cosmos_venv import Contender, Implementation, TaskRace, Wheelhouse


def run_task(
    contender: Contender,
    implementation: Implementation,
    project: Path,
    directory: Path,
    requirements: list[str],
    options: list[str],
) -> None:
    config = implementation.module("config")
    operators = implementation.module("operators.virtualenv")
    operator = operators.DbtRunVirtualenvOperator(
        task_id="run",
        project_dir=str(project),
        profile_config=config.ProfileConfig(
            profile_name="harbor", target_name="dev", profiles_yml_filepath=project / "profiles.yml"
        ),
        py_requirements=requirements,
        pip_install_options=options,
        virtualenv_dir=directory,
        # Cosmos asks its context for much that only a run of Airflow has, unless no assets are wanted.
        **({"emit_datasets": False} if implementation.import_root == "cosmos" else {}),
    )
    operator.execute({"run_id": "race"})


@pytest.mark.long
@pytest.mark.parametrize(
    ("requirements", "dbt_version"),
    [
        pytest.param(["harbor-lamp", "dbt-core", "dbt-duckdb"], "1.10.0", id="dbt-1"),
        pytest.param(["harbor-lamp", "dbt-core==2.0.0a4"], "2.0.0a4", id="dbt-2"),
    ],
)
def test_four_tasks_install_once_and_run_at_once(
    cosmos_task_race: TaskRace,
    cosmos_wheelhouse: Wheelhouse,
    cosmos_implementation: Implementation,
    dbt_project: Path,
    tmp_path: Path,
    requirements: list[str],
    dbt_version: str,
) -> None:
    cosmos_wheelhouse.add_dbt(dbt_version)
    sdist = cosmos_wheelhouse.add_sdist("harbor-lamp")

    race = cosmos_task_race(
        run_task,
        cosmos_implementation,
        dbt_project,
        tmp_path / "environments",
        requirements,
        cosmos_wheelhouse.pip_install_options,
        contenders=4,
        prepare=[f"{cosmos_implementation.import_root}.operators.virtualenv"],
    )

    assert len(race.winners) == 4
    assert {call.dbt_version for call in cosmos_wheelhouse.calls} == {dbt_version}
    assert race.left_behind == ()
    assert len(sdist.builds) == 1
    race.timeline.assert_count("install", 1)
    race.timeline.assert_count("dbt run", 4)
    assert set(race.timeline.order("dbt run")) == {outcome.actor for outcome in race.outcomes}
    race.timeline.assert_no_overlap("install", "dbt run")
