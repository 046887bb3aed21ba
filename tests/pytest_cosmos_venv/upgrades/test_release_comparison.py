"""Records of one test with two releases of dbt, and what differs between them."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_cosmos_venv.upgrades.release_comparison import differences, table
from pytest_cosmos_venv.upgrades.release_record import CommandRecord, NodeRecord, ReleaseRecord, TaskRecord

SHIPS, PORTS = "model.fleet.ships", "model.fleet.ports"


def node(**changes: Any) -> NodeRecord:
    return NodeRecord(**{"status": "success", **changes})


def command(**changes: Any) -> CommandRecord:
    return CommandRecord(**{"command": "build", "nodes": {SHIPS: node()}, **changes})


def record(release: str, nodes: dict[str, NodeRecord] | None = None, **changes: Any) -> ReleaseRecord:
    return ReleaseRecord(
        **{
            "test": "dbt/fleet::build",
            "release": release,
            "outcome": "passed",
            "commands": (command(nodes=nodes or {SHIPS: node()}),),
            **changes,
        }
    )


CASES: dict[str, tuple[ReleaseRecord, list[tuple[str, str, str, str]]]] = {
    "nothing": (record("2"), []),
    "a state": (
        record("2", {SHIPS: node(status="error")}),
        [("state", SHIPS, "success", "error")],
    ),
    "a node less": (
        record("2", {PORTS: node()}),
        [("nodes", SHIPS, "there", "-"), ("nodes", PORTS, "-", "there")],
    ),
    "the test": (
        record("2", outcome="failed"),
        [("outcome", "", "passed", "failed")],
    ),
    "nothing that failed as a whole": (
        record("2", commands=(command(nodes={}),)),
        [],
    ),
    "another command": (
        record("2", commands=(command(command="run"),)),
        [("outcome", "build", "build", "run")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_differs_from_the_first_release_is_found(case: str) -> None:
    other, expected = CASES[case]

    found = differences([other, record("1.11")], ["1.11", "2"])

    assert [(each.kind, each.subject, each.before, each.after) for each in found] == expected
    assert {(each.base, each.release) for each in found} <= {("1.11", "2")}


def test_warnings_that_one_release_alone_gives_are_told_once_for_all_steps_of_a_project() -> None:
    def warned(release: str, step: str, **warnings: str) -> ReleaseRecord:
        return record(release, test=f"dbt/fleet::{step}", commands=(command(warnings=warnings),))

    records = [
        *(warned("1.11", step, Deprecated="write it so", Both="as 1.11 words it") for step in ("build", "compile")),
        *(warned("2", step, Both="as 2 words it") for step in ("build", "compile")),
        warned("1.11", "run"),
        warned("2", "run", Late="only when it runs"),
    ]

    found = differences(records, ["1.11", "2"])

    assert [(each.kind, each.subject, each.before, each.after) for each in found] == [
        ("warnings", "Deprecated", "there", "-"),
        ("warnings", "Late", "-", "there"),
    ]


def test_tasks_of_a_dag_are_compared_by_what_they_are_for() -> None:
    def task(purpose: str | None, *upstream: str) -> TaskRecord:
        return TaskRecord(purpose=purpose, upstream=upstream)

    def imported(release: str, tasks: dict[str, TaskRecord]) -> ReleaseRecord:
        return record(release, commands=(command(command="import", tasks=tasks),))

    one = imported("1.11", {"daily.a": task("a run"), "daily.b": task(None), "daily.c": task("c run", "a")})
    two = imported("2", {"daily.a.run": task("a run"), "daily.c": task("c run", "a.run"), "daily.d": task(None)})

    found = differences([one, two], ["1.11", "2"])

    assert [(each.kind, each.subject, each.before, each.after) for each in found] == [
        ("tasks", "daily.a", "daily.a", "daily.a.run"),
        ("tasks", "daily.b", "there", "-"),
        ("tasks", "daily.d", "-", "there"),
        ("tasks", "daily.c", "after a", "after a.run"),
    ]
    assert differences([one, imported("2", {})], ["1.11", "2"]) == []


def test_the_table_has_a_row_for_each_thing_and_a_column_for_each_release() -> None:
    failed = {SHIPS: node(status="error")}
    found = differences([record("1.11"), record("1.12"), record("2", failed)], ["1.11", "1.12", "2"])

    assert table(found, ["1.11", "1.12", "2"]) == [
        "differs  of                 1.11     1.12  2",
        "state    model.fleet.ships  success  =     error",
    ]
    assert table([], ["1.11", "2"]) == ["Nothing differs from dbt 1.11."]
