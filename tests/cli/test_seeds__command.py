"""Tests of ``cosmos-venv seeds list`` and ``forget`` as a shell sees them, with Airflow's own store behind them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from importlib import import_module
from typing import Protocol

import pytest

from cosmos_venv.cli import main
from cosmos_venv.compat import delete_variables, stored_variables
from cosmos_venv.operators.seeds.seed_state import PREFIX, Remembered, Scope, encoded
from pytest_cosmos_venv import AirflowHome

A, B = "a" * 64, "b" * 64


class Seeds(Protocol):
    """Run ``cosmos-venv seeds`` in this process: another one at the same SQLite file is not what is tested here."""

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def seeds(capfd: pytest.CaptureFixture[str]) -> Seeds:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        code = main(["seeds", *arguments])
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


def scope(dag: str, group: str | None, name: str) -> Scope:
    return Scope(dag_id=dag, group_id=group, seed=f"seed.shop.{name}")


def set_variable(key: str, value: str) -> None:
    """Set a Variable as Airflow's page of Variables does: no task is running here."""
    import_module("airflow.models").Variable.set(key, value)


@pytest.fixture(autouse=True)
def remembered(cosmos_airflow_home: AirflowHome) -> Iterator[dict[str, str | None]]:
    """Two seeds of ``port``, one of a DAG whose id begins likewise, and one that a person has written for ``port``."""
    for each, checksum in (
        (scope("port", "north", "piers"), A),
        (scope("port", "north", "old_piers"), None),
        (scope("port2", None, "piers"), B),
    ):
        value = encoded(each, Remembered(checksum=checksum, run_id="night", time="2026-01-01T00:00:00+00:00"))
        set_variable(each.key, value)
    set_variable(scope("port", None, "ships").key, B)
    set_variable("cosmos_venv", "of somebody else")
    yield stored_variables(PREFIX)
    delete_variables(["cosmos_venv", *stored_variables(PREFIX)])


def test_list_shows_what_a_dag_remembers(seeds: Seeds) -> None:
    done = seeds("list", "port")

    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(
        [
            "port/north: seed.shop.old_piers, nothing certain: the next run loads it",
            "port/north: seed.shop.piers, aaaaaaaaaaaa…, run night, 2026-01-01T00:00:00+00:00",
            f"{scope('port', None, 'ships').key}, bbbbbbbbbbbb…, no run named",
        ]
    )


def test_list_as_json_is_for_programs(seeds: Seeds) -> None:
    data = json.loads(seeds("list", "port2", "--json").stdout)

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


def test_a_dag_that_remembers_nothing_is_no_failure(seeds: Seeds) -> None:
    done = seeds("list", "elsewhere")

    assert (done.returncode, done.stdout) == (0, "Nothing is remembered of seeds of the DAG 'elsewhere'.\n")


@pytest.mark.parametrize(
    ("named", "forgotten"),
    [
        pytest.param(["piers"], {"piers"}, id="name"),
        pytest.param(["seed.shop.piers"], {"piers"}, id="unique-id"),
        pytest.param(["ships"], {"ships"}, id="written-by-hand"),
        pytest.param([], {"piers", "old_piers", "ships"}, id="all"),
    ],
)
def test_forget_takes_away_what_is_named_and_nothing_else(
    named: list[str], forgotten: set[str], remembered: dict[str, str | None], seeds: Seeds
) -> None:
    done = seeds("forget", "port", *named)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": forgotten\n") == len(forgotten)
    gone = remembered.keys() - stored_variables("cosmos_venv").keys()
    assert gone == {scope("port", None if each == "ships" else "north", each).key for each in forgotten}


def test_a_seed_of_which_nothing_is_remembered_is_told(seeds: Seeds) -> None:
    done = seeds("forget", "port", "cranes")

    assert (done.returncode, done.stdout) == (1, "Nothing was remembered of 'cranes' of the DAG 'port'.\n")


def test_forget_as_json_says_what_was_forgotten(seeds: Seeds) -> None:
    done = seeds("forget", "port", "seed.shop.piers", "--json")

    data = json.loads(done.stdout)
    assert (data["dag_id"], [each["key"] for each in data["forgotten"]]) == (
        "port",
        [scope("port", "north", "piers").key],
    )


@pytest.mark.parametrize("arguments", [["list", "port"], ["list", "port", "--json"], ["forget", "port"]], ids=" ".join)
def test_a_database_that_cannot_be_read_is_told(
    arguments: list[str], seeds: Seeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ConnectionError("nobody listens there")

    monkeypatch.setattr("airflow.utils.session.create_session", fail)

    done = seeds(*arguments)

    text = "Airflow's Variables cannot be read: ConnectionError: nobody listens there"
    assert done.returncode == 1
    assert done.stdout == (json.dumps({"error": text}, indent=2) + "\n" if "--json" in arguments else "")
    assert text in done.stderr
