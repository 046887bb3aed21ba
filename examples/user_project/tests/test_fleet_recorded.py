"""The DAG on a recorded run of a real dbt, in a second and without a warehouse.

The recording is made anew by ``pytest --cosmos-record=tests/recordings tests/test_fleet_duckdb.py -k its_plan``.
"""

from __future__ import annotations

from pathlib import Path

from pytest_cosmos_venv import NodeOutcome

NIGHT = "tests-test_fleet_duckdb.py-test_a_ship_is_late_when_it_comes_after_its_plan-dbt-1.10"
RECORDING = Path(__file__).parent / "recordings" / NIGHT


def test_each_task_does_what_its_node_did_in_the_recorded_run(cosmos_airflow, cosmos_dbt):
    cosmos_dbt.replay(RECORDING)

    outcome = cosmos_airflow.load("dags/fleet.py", connections="made up").run()

    assert outcome.succeeded, outcome
    assert "OK loaded seed file main.ports" in outcome.tasks["ports_seed"].log
    assert "INSERT 2 in" in outcome.tasks["ports_seed"].log


def test_a_view_that_fails_stops_its_readers_and_says_why(cosmos_airflow, cosmos_dbt):
    cosmos_dbt.replay(RECORDING)
    cosmos_dbt.script(nodes={"arrivals": NodeOutcome(status="error", message="relation is gone")})

    outcome = cosmos_airflow.load("dags/fleet.py", connections="made up").run()

    assert outcome.states["late_ships_run"] == "upstream_failed"
    assert "relation is gone" in outcome.tasks["arrivals_run"].log
