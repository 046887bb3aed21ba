"""Tests of ``cosmos-venv seeds list`` and ``forget`` as a shell sees them, with Airflow's own store behind them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module

import pytest

from cosmos_venv.compat import delete_variables, stored_variables
from cosmos_venv.operators.seeds.seed_state import PREFIX, Remembered, Scope, encoded
from pytest_cosmos_venv import CosmosAirflow
from tests.cli.conftest import Run

A, B = "a" * 64, "b" * 64


def scope(dag: str, group: str | None, name: str) -> Scope:
    return Scope(dag_id=dag, group_id=group, seed=f"seed.shop.{name}")


def set_variable(key: str, value: str) -> None:
    """Set a Variable as Airflow's page of Variables does: no task is running here."""
    import_module("airflow.models").Variable.set(key, value)


@pytest.fixture(autouse=True)
def remembered(cosmos_airflow: CosmosAirflow) -> Iterator[dict[str, str | None]]:
    """Two seeds of ``port``, one of a DAG whose id begins likewise, and one that a person has written for ``port``."""
    for each, checksum in (
        (scope("port", "north", "piers"), A),
        (scope("port", "north", "old_piers"), "damaged"),
        (scope("port2", None, "piers"), B),
    ):
        value = encoded(each, Remembered(checksum=checksum, run_id="night", time="2026-01-01T00:00:00+00:00"))
        set_variable(each.key, value)
    set_variable(scope("port", None, "ships").key, B)
    set_variable("cosmos_venv", "of somebody else")
    yield stored_variables(PREFIX)
    delete_variables(["cosmos_venv", *stored_variables(PREFIX)])


def test_list_shows_what_a_dag_remembers(run: Run) -> None:
    done = run("seeds", "list", "port")

    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(
        [
            "port/north: seed.shop.old_piers, nothing certain: the next run loads it",
            "port/north: seed.shop.piers, aaaaaaaaaaaa…, run night, 2026-01-01T00:00:00+00:00",
            f"{scope('port', None, 'ships').key}, bbbbbbbbbbbb…, no run named",
        ]
    )


def test_json_is_for_programs(run: Run) -> None:
    data = json.loads(run("seeds", "list", "port2", "--json").stdout)
    forgotten = json.loads(run("seeds", "forget", "port2", "seed.shop.piers", "--json").stdout)

    assert forgotten == {"dag_id": "port2", "forgotten": data["seeds"]}
    assert data == {
        "dag_id": "port2",
        "seeds": [
            {
                "key": scope("port2", None, "piers").key,
                "place": "port2",
                "seed": "seed.shop.piers",
                "checksum": B,
                "run_id": "night",
                "time": "2026-01-01T00:00:00+00:00",
            }
        ],
    }


@pytest.mark.parametrize(
    ("named", "forgotten"),
    [
        pytest.param(["piers"], {"piers"}, id="name"),
        pytest.param(["seed.shop.piers"], {"piers"}, id="unique-id"),
        pytest.param([], {"piers", "old_piers", "ships"}, id="all"),
    ],
)
def test_forget_takes_away_what_is_named_and_nothing_else(
    named: list[str], forgotten: set[str], remembered: dict[str, str | None], run: Run
) -> None:
    done = run("seeds", "forget", "port", *named)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": forgotten\n") == len(forgotten)
    gone = remembered.keys() - stored_variables("cosmos_venv").keys()
    assert gone == {scope("port", None if each == "ships" else "north", each).key for each in forgotten}


def test_nothing_to_forget_is_a_failure_where_a_seed_was_named_and_nothing_to_list_is_none(run: Run) -> None:
    listed, named = run("seeds", "list", "elsewhere"), run("seeds", "forget", "port", "cranes")

    assert (listed.returncode, listed.stdout) == (0, "Nothing is remembered of seeds of the DAG 'elsewhere'.\n")
    assert (named.returncode, named.stdout) == (1, "Nothing was remembered of 'cranes' of the DAG 'port'.\n")


@pytest.mark.parametrize("arguments", [["list", "port"], ["list", "port", "--json"], ["forget", "port"]], ids=" ".join)
def test_a_database_that_cannot_be_read_is_told(
    arguments: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ConnectionError("nobody listens there")

    monkeypatch.setattr("airflow.utils.session.create_session", fail)

    done = run("seeds", *arguments)

    text = "Airflow's Variables cannot be read: ConnectionError: nobody listens there"
    assert done.returncode == 1
    assert done.stdout == (json.dumps({"error": text}, indent=2) + "\n" if "--json" in arguments else "")
    assert text in done.stderr
