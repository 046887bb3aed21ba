"""Tests of the fleet DAG without a warehouse, a network or a sleep."""

from __future__ import annotations

import pytest


def test_models_wait_for_what_they_read(make_fleet, cosmos_dag_shape):
    tasks = cosmos_dag_shape(make_fleet()).data["tasks"]

    assert {name: task["upstream"] for name, task in tasks.items()} == {
        "arrivals_run": [],
        "late_ships_run": ["arrivals_run", "ports_seed"],
        "ports_seed": [],
    }


def test_a_run_succeeds_in_one_environment(make_fleet, cosmos_run_dag, cosmos_wheelhouse):
    outcome = cosmos_run_dag(make_fleet())

    assert outcome.succeeded, outcome
    assert len({call.prefix for call in cosmos_wheelhouse.calls}) == 1


def test_the_password_reaches_dbt_by_its_environment_only(make_fleet, cosmos_run_dag, cosmos_wheelhouse):
    cosmos_wheelhouse.keep_env("*")

    cosmos_run_dag(make_fleet())

    loads = [call for call in cosmos_wheelhouse.calls if call.command in ("run", "seed")]
    assert all("open-sesame" in call.env.values() for call in loads)
    assert not any("open-sesame" in argument for call in loads for argument in call.argv)


def test_what_reads_a_model_does_not_run_when_it_fails(make_fleet, cosmos_run_dag, cosmos_wheelhouse):
    cosmos_wheelhouse.script("run", nodes={"arrivals": "error"})

    outcome = cosmos_run_dag(make_fleet())

    assert outcome.states == {
        "arrivals_run": "failed",
        "late_ships_run": "upstream_failed",
        "ports_seed": "success",
    }


def test_a_requirement_that_cannot_be_installed_fails_the_import_with_the_installers_words(
    make_fleet, cosmos_wheelhouse
):
    cosmos_wheelhouse.add_sdist("dbt-postgres", fails_with="libpq is not here")

    with pytest.raises(Exception, match="libpq is not here"):
        make_fleet()
