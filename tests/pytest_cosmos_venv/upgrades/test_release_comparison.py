"""Records of one test with two releases of dbt, and what differs between them."""

from __future__ import annotations

import pytest

from pytest_cosmos_venv.upgrades.release_comparison import differences, table
from pytest_cosmos_venv.upgrades.release_record import Facts, ReleaseRecord

SHIPS, PORTS = "model.fleet.ships", "model.fleet.ports"


def facts(*names: str, status: str = "success", rows: str = "", sql: str = "") -> Facts:
    """The facts of nodes that end alike."""
    return {
        "nodes": dict.fromkeys(names, "there"),
        "state": dict.fromkeys(names, status),
        "rows": dict.fromkeys(names, rows),
        "SQL": dict.fromkeys(names, sql),
    }


def record(
    release: str,
    of_command: Facts | None = None,
    *,
    test: str = "dbt/fleet::build",
    command: str = "build",
    outcome: str = "passed",
) -> ReleaseRecord:
    commands = ((command, facts(SHIPS) if of_command is None else of_command),)
    return ReleaseRecord(test=test, release=release, outcome=outcome, commands=commands)


CASES: dict[str, tuple[ReleaseRecord, list[tuple[str, str, str, str]]]] = {
    "nothing": (record("2"), []),
    "a state": (
        record("2", facts(SHIPS, status="error")),
        [("state", SHIPS, "success", "error")],
    ),
    "a node less": (
        record("2", facts(PORTS)),
        [("nodes", SHIPS, "there", "-"), ("nodes", PORTS, "-", "there")],
    ),
    "rows and SQL at which one alone has looked": (record("2", facts(SHIPS, rows="2 rows", sql="select 1")), []),
    "the test": (
        record("2", outcome="failed"),
        [("outcome", "", "passed", "failed")],
    ),
    "nothing that failed as a whole": (record("2", {}), []),
    "another command": (
        record("2", command="run"),
        [("outcome", "build", "build", "run")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_differs_from_the_first_release_is_found(case: str) -> None:
    other, expected = CASES[case]

    assert list(differences(record("1.11"), other)) == expected


def test_rows_and_sql_that_both_releases_have_are_compared() -> None:
    one = record("1.11", facts(SHIPS, rows="12 rows, 5e22", sql="select 1"))
    two = record("2", facts(SHIPS, rows="11 rows, 4e64", sql="select 2"))

    assert list(differences(one, two)) == [
        ("rows", SHIPS, "12 rows, 5e22", "11 rows, 4e64"),
        ("SQL", SHIPS, "", "differs"),
    ]


def test_a_node_that_one_release_alone_knows_is_told_once_for_all_steps_of_a_project() -> None:
    def steps(release: str, *names: str) -> list[ReleaseRecord]:
        return [record(release, facts(*names), test=f"dbt/fleet::{step}") for step in ("build", "compile")]

    assert table([*steps("1.11", SHIPS, PORTS), *steps("2", SHIPS)], ["1.11", "2"]) == [
        "differs  of                 1.11   2",
        "nodes    model.fleet.ports  there  -",
    ]


def test_tasks_of_a_dag_are_compared_by_their_ids_and_what_they_wait_for() -> None:
    def imported(release: str, tasks: dict[str, str]) -> ReleaseRecord:
        return record(release, {"tasks": tasks}, command="import")

    one = imported("1.11", {"daily.a": "after no task", "daily.b": "after a", "daily.c": "after a"})
    two = imported("2", {"daily.a": "after no task", "daily.c": "after d", "daily.d": "after no task"})

    assert list(differences(one, two)) == [
        ("tasks", "daily.b", "after a", "-"),
        ("tasks", "daily.c", "after a", "after d"),
        ("tasks", "daily.d", "-", "after no task"),
    ]
    assert list(differences(one, imported("2", {}))) == []


def test_the_table_has_a_row_for_each_thing_and_a_column_for_each_release() -> None:
    failed = record("2", facts(SHIPS, status="error"))

    assert table([failed, record("1.12"), record("1.11")], ["1.11", "1.12", "2"]) == [
        "differs  of                 1.11     1.12  2",
        "state    model.fleet.ships  success  =     error",
    ]
    assert table([], ["1.11", "2"]) == ["Nothing differs from dbt 1.11."]
