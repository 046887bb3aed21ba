"""Tasks that start at once on a project with packages: one runs ``dbt deps``, whatever becomes of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from pytest_cosmos_venv import Contender, CosmosDbt, CosmosRace, FakeVenv
from tests.kit import operator_arguments


def run_local(contender: Contender, project: Path, dbt: Path) -> None:
    os.environ["AIRFLOW__COSMOS_VENV__CACHE_DIR"] = str(project.parent / "cache")
    DbtRunLocalOperator(**operator_arguments(project, dbt_executable_path=dbt)).execute({})


def run_virtualenv(contender: Contender, project: Path, directory: Path) -> None:
    DbtRunVirtualenvOperator(
        **operator_arguments(project, py_requirements=["dbt-core", "dbt-duckdb"], virtualenv_dir=directory)
    ).execute({})


@pytest.fixture
def harbor(dbt_project: Path) -> Path:
    """The small project, with a package from the hub and one beside it. The fake runs only with both."""
    (dbt_project.parent / "shared").mkdir()
    (dbt_project.parent / "shared" / "dbt_project.yml").write_text("name: shared\n")
    (dbt_project / "packages.yml").write_text("packages:\n  - package: port/cranes\n  - local: ../shared\n")
    return dbt_project


@pytest.mark.long
def test_tasks_in_one_directory_install_the_packages_once(
    cosmos_race: CosmosRace, cosmos_dbt: CosmosDbt, harbor: Path, tmp_path: Path
) -> None:
    race = cosmos_race(run_virtualenv, harbor, tmp_path / "environments", contenders=4)

    race.timeline.assert_count("dbt deps", 1)
    race.timeline.assert_count("dbt run", 4)
    assert len(list((tmp_path / "environments" / "packages-v1").glob("*.tar.gz"))) == 1


@pytest.mark.long
def test_a_failing_installer_fails_its_own_task_only(
    cosmos_race: CosmosRace, cosmos_fake_venv: FakeVenv, harbor: Path
) -> None:
    cosmos_fake_venv.script("deps", nth=1, exit_code=2)

    race = cosmos_race(run_local, harbor, cosmos_fake_venv.dbt, contenders=3, check=False)

    (failed,) = race.losers
    assert "exit code 2" in failed.in_words
    race.timeline.assert_count("dbt run", 2)


@pytest.mark.long
def test_a_task_that_waits_for_anothers_installation_can_be_killed(
    cosmos_race: CosmosRace, cosmos_fake_venv: FakeVenv, harbor: Path
) -> None:
    held = cosmos_fake_venv.script("deps", nth=1, hold=True)

    with cosmos_race.start(wait_killably, harbor, cosmos_fake_venv.dbt, contenders=2) as race:
        first = race.wait_for("running")
        race.wait_for("waiting for packages")
        waiting = 1 - [f"contender-{index}" for index in range(2)].index(str(first.actor))
        os.kill(race.pids[waiting], signal.SIGTERM)
        race.wait_for("killed")
        held.release()
        result = race.finish(check=False)

    assert result.outcomes[waiting].in_words == "raised AirflowException: Task run was killed; its dbt was ended."
    assert len(result.winners) == 1
    result.timeline.assert_count("dbt deps", 1)


class _TellingOperator(DbtRunLocalOperator):
    """Tells the race when it waits."""

    def tell(self, contender: Contender) -> None:
        info = self.log.info

        def told(line: str, *arguments: object) -> None:
            info(line, *arguments)
            if "Another task installs the same dbt packages" in line:
                contender.point("waiting for packages")

        self.log.info = told  # type: ignore[assignment] # of each Airflow another type


def wait_killably(contender: Contender, project: Path, dbt: Path) -> None:
    os.environ["AIRFLOW__COSMOS_VENV__CACHE_DIR"] = str(project.parent / "cache")
    operator = _TellingOperator(**operator_arguments(project, task_id="run", dbt_executable_path=dbt))
    operator.tell(contender)
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    try:
        operator.execute({})
    except BaseException:
        contender.point("killed")
        raise
