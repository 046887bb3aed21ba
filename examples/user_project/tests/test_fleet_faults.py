"""What goes wrong while the DAG runs: a mark says it, the test says what it means."""

from __future__ import annotations

import pytest

from pytest_cosmos_venv.faults import dbt_killed, worker_killed


@pytest.mark.cosmos_fault(worker_killed(at="end", in_task="ports_seed"))
def test_a_seed_whose_worker_dies_is_loaded_again_by_the_retry(make_fleet, cosmos_run_dag, cosmos_wheelhouse):
    outcome = cosmos_run_dag(make_fleet())

    assert outcome.succeeded, outcome
    assert [call.command for call in cosmos_wheelhouse.calls].count("seed") == 2


@pytest.mark.cosmos_fault(dbt_killed(after="arrivals", times=2))
def test_nobody_reads_the_arrivals_when_dbt_is_killed_in_both_tries(make_fleet, cosmos_run_dag):
    outcome = cosmos_run_dag(make_fleet())

    assert outcome.tasks["arrivals_run"].tries == 2
    assert outcome.states["late_ships_run"] == "upstream_failed"


def test_days_that_were_missed_build_one_environment(make_fleet, cosmos_run_dag, cosmos_wheelhouse):
    outcomes = cosmos_run_dag.catch_up(make_fleet(), until="2026-01-03")

    # Airflow 2 runs a day when it is over, Airflow 3 when it begins: two days, or three.
    assert len(outcomes) >= 2
    assert all(outcome.succeeded for outcome in outcomes)
    assert len({call.prefix for call in cosmos_wheelhouse.calls}) == 1
