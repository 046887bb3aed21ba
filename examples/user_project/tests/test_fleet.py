"""Tests of the fleet DAG without a warehouse, a network or a sleep."""

from __future__ import annotations

import pytest


@pytest.fixture
def fleet(cosmos_airflow):
    """The DAG as Airflow imports it. Its environment is built for real, offline, in a folder of the test."""
    return cosmos_airflow.load("dags/fleet.py", connections="made up")


def test_models_wait_for_what_they_read(fleet):
    tasks = fleet.shape().data["tasks"]

    assert {name: task["upstream"] for name, task in tasks.items()} == {
        "arrivals_run": [],
        "late_ships_run": ["arrivals_run", "ports_seed"],
        "ports_seed": [],
    }


def test_what_reads_a_model_does_not_run_when_it_fails(fleet):
    fleet.model("arrivals").fails()

    assert fleet.run().states == {
        "arrivals_run": "failed",
        "late_ships_run": "upstream_failed",
        "ports_seed": "success",
    }


def test_days_that_were_missed_build_one_environment(fleet):
    outcomes = fleet.catch_up(until="2026-01-03")

    # Airflow 2 runs a day when it is over, Airflow 3 when it begins: two days, or three.
    assert len(outcomes) >= 2
    assert all(outcome.succeeded for outcome in outcomes)
    # Loading the file has an environment of its own, for dbt ls.
    assert len({call.prefix for call in fleet.calls if call.command != "ls"}) == 1


def test_the_lock_of_a_dead_worker_stops_nobody(fleet):
    fleet.lock.stale()

    assert fleet.run().succeeded


def test_the_password_is_in_no_file_log_or_command_line(cosmos_airflow):
    cosmos_airflow.connections.add(
        "warehouse", conn_type="postgres", host="db.example", login="loader", password="open-sesame", schema="ships"
    )
    fleet = cosmos_airflow.load("dags/fleet.py")

    assert fleet.run().succeeded
    assert fleet.leaks("open-sesame") == []


def test_a_requirement_that_cannot_be_installed_fails_the_import_with_the_installers_words(cosmos_airflow, cosmos_dbt):
    cosmos_dbt.add_sdist("dbt-postgres", fails_with="libpq is not here")

    with pytest.raises(Exception, match="libpq is not here"):
        cosmos_airflow.load("dags/fleet.py", connections="made up")
