"""What goes wrong while the DAG runs: a mark says it, the test says what it means."""

from __future__ import annotations

import pytest

from pytest_cosmos_venv.faults import dbt_killed, worker_killed


@pytest.mark.cosmos_fault(worker_killed(at="end", in_task="ports_seed"))
def test_a_seed_whose_worker_dies_is_loaded_again_by_the_retry(cosmos_airflow):
    fleet = cosmos_airflow.load("dags/fleet.py", connections="made up")

    assert fleet.run().succeeded
    assert [call.command for call in fleet.calls].count("seed") == 2


@pytest.mark.cosmos_fault(dbt_killed(after="arrivals", times=2))
def test_nobody_reads_the_arrivals_when_dbt_is_killed_in_both_tries(cosmos_airflow):
    outcome = cosmos_airflow.load("dags/fleet.py", connections="made up").run()

    assert outcome.tasks["arrivals_run"].tries == 2
    assert outcome.states["late_ships_run"] == "upstream_failed"
