"""The snapshot of task ids: a renamed task is told with both ids."""

from __future__ import annotations

import json

import pytest

from pytest_cosmos_venv.dag_checks import task_ids
from tests.pytest_cosmos_venv.dag_checks.checked_project import CheckedProject

STORED = {"harbor": {"ships_run": "model.harbor.ships run", "arrive": None}}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(
            {"harbor": {"fleet.ships_run": "model.harbor.ships run", "arrive": None}},
            ["renamed: ships_run -> fleet.ships_run (model.harbor.ships run): its history stays under the old id"],
            id="renamed",
        ),
        pytest.param(
            {"harbor": {"ships_run": "model.harbor.ships run", "leave": None}},
            ["gone: arrive (no dbt node)", "new: leave (no dbt node)"],
            id="without-a-node-nobody-knows-what-was-renamed",
        ),
        pytest.param(
            {"harbor": {"arrive": None, "ships_test": "model.harbor.ships test"}},
            ["gone: ships_run (model.harbor.ships run)", "new: ships_test (model.harbor.ships test)"],
            id="another-command-is-another-task",
        ),
        pytest.param({"port": STORED["harbor"]}, ["DAG renamed: harbor -> port", "DAG new: port"], id="renamed-dag"),
        pytest.param({}, ["DAG gone: harbor"], id="dag-gone"),
    ],
)
def test_differences_are_told_by_what_a_task_is_for(now: task_ids.Ids, expected: list[str]) -> None:
    assert task_ids.differences(STORED, now) == expected


@pytest.mark.long
def test_a_renamed_task_fails_until_the_snapshot_is_updated(project: CheckedProject) -> None:
    project.add(daily="dag = make(render={'test_behavior': TestBehavior.NONE})")
    without = project.run("-k", "task_ids")
    in_ci = project.run("-k", "task_ids", variables={"CI": "true"})
    project.run("-k", "task_ids", "--cosmos-update-snapshots")
    stored = json.loads((project.folder / "dags" / "cosmos-snapshots" / "daily.task_ids.json").read_text("utf-8"))
    project.add(daily="dag = make()")

    renamed = project.run("-k", "task_ids")
    project.run("-k", "task_ids", "--cosmos-update-snapshots")
    updated = project.run("-k", "task_ids")

    assert without.verdicts("dags/daily.py") == {"task_ids": "not checked"}
    assert "write it with --cosmos-update-snapshots" in without.text("dags/daily.py", "task_ids")
    assert in_ci.verdicts("dags/daily.py") == {"task_ids": "failed"}
    assert stored["dags"]["harbor"]["ships_run"] == "model.harbor.ships run"
    assert "renamed: ships_run -> ships.run (model.harbor.ships run)" in renamed.text("dags/daily.py", "task_ids")
    assert "new: ships.test (model.harbor.ships test)" in renamed.text("dags/daily.py", "task_ids")
    assert updated.verdicts("dags/daily.py") == {"task_ids": "passed"}
