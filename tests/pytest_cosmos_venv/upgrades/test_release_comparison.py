"""Records of one test with two releases of dbt, and what differs between them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_cosmos_venv.upgrades.release_comparison import Difference, differences
from pytest_cosmos_venv.upgrades.release_record import CommandRecord, NodeRecord, ReleaseRecord, record_of

SHIPS, PORTS = "model.fleet.ships", "model.fleet.ports"


def node(**changes: Any) -> NodeRecord:
    return NodeRecord(**{"status": "success", "message": "", "seconds": 1.0, "compiled": "", "content": "", **changes})


def record(release: str, nodes: dict[str, NodeRecord] | None = None, **changes: Any) -> ReleaseRecord:
    command = CommandRecord(command="build", exit_code=0, seconds=2.0, nodes=nodes or {SHIPS: node()}, log="")
    return ReleaseRecord(
        **{
            "test": "dbt/fleet::build",
            "release": release,
            "outcome": "passed",
            "text": "",
            "commands": (command,),
            **changes,
        }
    )


CASES: dict[str, tuple[ReleaseRecord, list[tuple[str, str, str, str, str]]]] = {
    "nothing": (record("2"), []),
    "other times": (record("2", {SHIPS: node(seconds=9.0)}), []),
    "a state": (
        record("2", {SHIPS: node(status="error", message="no such macro (line 3)")}),
        [("state", SHIPS, "success", "error", "no such macro (line 3)")],
    ),
    "a node less": (
        record("2", {PORTS: node()}),
        [("nodes", SHIPS, "there", "-", ""), ("nodes", PORTS, "-", "there", "")],
    ),
    "other rows": (record("2", {SHIPS: node(content="2 rows, b")}), []),
    "the test": (
        record("2", outcome="failed", text="dbt build ended with 1."),
        [("outcome", "", "passed", "failed", "dbt build ended with 1.")],
    ),
    "nothing that failed as a whole": (
        record("2", commands=(CommandRecord(command="build", exit_code=2, seconds=0.1, nodes={}, log="no profile"),)),
        [],
    ),
    "another command": (
        record("2", commands=(CommandRecord(command="run", exit_code=0, seconds=0.1, nodes={}, log=""),)),
        [("outcome", "build", "build", "run", "")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_differs_from_the_first_release_is_found(case: str) -> None:
    other, expected = CASES[case]

    found = differences([other, record("1.11")], ["1.11", "2"])

    assert [(each.kind, each.subject, each.before, each.after, each.detail) for each in found] == expected
    assert {(each.base, each.release) for each in found} <= {("1.11", "2")}


def test_sql_differs_by_its_words_and_is_shown_line_by_line() -> None:
    one = record("1.11", {SHIPS: node(compiled="select a,\n  b\nfrom t"), PORTS: node(compiled="select 1\n\n")})
    two = record("2", {SHIPS: node(compiled="select a,\n  c\nfrom t"), PORTS: node(compiled="\nselect 1")})

    (found,) = differences([one, two], ["1.11", "2"])

    assert (found.kind, found.subject) == ("SQL", SHIPS)
    assert found.detail.splitlines()[1:] == [" select a,", "-  b", "+  c", " from t"]


def test_rows_differ_where_both_were_looked_at_and_the_gravest_comes_first() -> None:
    one = record("1.11", {SHIPS: node(content="2 rows, a"), PORTS: node()})
    two = record("2", {SHIPS: node(content="2 rows, b"), PORTS: node(status="error", content="1 rows, c")})

    found = differences([one, two], ["1.11", "2"])

    assert [each.kind for each in found] == ["state", "rows"]
    assert isinstance(found[0], Difference)


def test_a_record_survives_the_way_from_a_worker() -> None:
    sent = record("2", {SHIPS: node(compiled="select 1")})

    assert record_of(json.loads(json.dumps(sent.document()))) == sent
