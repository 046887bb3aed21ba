"""A task whose disk is full meets ENOSPC, and leaves for the next try what it could write. On Airflow 2 and 3."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosAirflow, CosmosProject, FakeVenv
from pytest_cosmos_venv.faults import disk_full
from pytest_cosmos_venv.faults.faults import Faults
from tests.pytest_cosmos_venv.faults.harbor import dbt, harbor


@pytest.mark.cosmos_fault(disk_full(in_task="load", times=None))
def test_what_could_be_done_stays(tmp_path: Path, cosmos_airflow: CosmosAirflow, cosmos_faults: Faults) -> None:
    (tmp_path / "removed").touch()
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "folder" / "old").touch()

    def load() -> None:
        (tmp_path / "removed").unlink(missing_ok=True)
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to("nowhere")
        shutil.rmtree(tmp_path / "folder")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "new").touch()
        (tmp_path / "large").write_bytes(bytes(100_000))

    outcome = cosmos_airflow.run(harbor(load))

    assert outcome.states == {"load": "failed", "report": "upstream_failed"}, str(outcome)
    error = outcome.tasks["load"].exception
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "fake-venv") == ["folder", "large", "link"]
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    assert (tmp_path / "large").stat().st_size < 100_000
    assert len(cosmos_faults.happened) == 2


@pytest.mark.long
@pytest.mark.cosmos_fault(disk_full(after=2))
def test_dbt_meets_a_disk_that_fills_while_it_works(
    cosmos_project: CosmosProject, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, cosmos_faults: Faults
) -> None:
    project = cosmos_project("harbor")
    for number in range(1, 4):
        project.model(f"pier_{number}", "select 1 as id")
    executable = cosmos_fake_venv.dbt

    outcome = cosmos_airflow.run(harbor(lambda: dbt(executable, "run", cwd=project.path)))

    assert outcome.tasks["load"].tries == 2, str(outcome)
    first, second = cosmos_fake_venv.calls
    assert first.exit_code != 0
    assert second.exit_code == 0
    assert cosmos_faults.happened[0].place == "model.harbor.pier_2"
    assert (project.path / "target" / "run_results.json").stat().st_size > 0
