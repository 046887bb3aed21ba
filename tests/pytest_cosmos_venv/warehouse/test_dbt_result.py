"""What a failed command of dbt says: its nodes in dbt's words, and the end of its log where these say too little."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_cosmos_venv.warehouse.dbt_result import DbtResult, NodeState

LOG = """   Loading ../cache/duckdb-0/profiles.yml
[error] [UnusedConfigKey (dbt1060)]: Ignored unexpected key `loaded_at_field`
   0: <unknown>
  14: start_thread
             at ./nptl/pthread_create.c:442:8

Finished 'compile' with 1 error"""


def node(status: str, message: str) -> NodeState:
    return NodeState(
        unique_id="model.fleet.ships", status=status, message=message, failures=None, seconds=0.0, compiled=""
    )


def result(*nodes: NodeState, **changes: Any) -> DbtResult:
    found = {each.unique_id: each for each in nodes}
    return DbtResult(**{"arguments": ("build",), "exit_code": 1, "log": LOG, "seconds": 1.0, "nodes": found, **changes})


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        pytest.param(
            result(),
            [
                "dbt build ended with 1.",
                "[error] [UnusedConfigKey (dbt1060)]: Ignored unexpected key `loaded_at_field`",
                "Finished 'compile' with 1 error",
            ],
            id="no-node",
        ),
        pytest.param(
            result(node("error", "Database Error\n  no such table")),
            ["dbt build ended with 1.", "model.fleet.ships: error", "    Database Error", "      no such table"],
            id="a-node-says-all",
        ),
        pytest.param(result(exit_code=0), ["dbt build ended with 0."], id="success"),
    ],
)
def test_a_failure_is_told_in_dbts_words_without_the_frames_of_its_program(found: DbtResult, lines: list[str]) -> None:
    assert str(found).splitlines() == lines


def test_a_message_without_its_reason_has_the_log_behind_it() -> None:
    text = str(result(node("error", "Compilation Error")))

    assert "model.fleet.ships: error\n    Compilation Error\n[error] [UnusedConfigKey" in text


@pytest.mark.parametrize(
    ("message", "is_dialect"),
    [
        ('Runtime Error\n  Parser Error: syntax error at or near "qualify"', True),
        ("Catalog Error: Scalar Function with name pg_sleep does not exist!", True),
        ("Catalog Error: Table with name ships does not exist!", False),
        ("Conversion Error: Could not convert string 'x' to INT32", False),
    ],
)
def test_sql_of_another_database_is_told_apart_from_other_errors(message: str, is_dialect: bool) -> None:
    assert node("error", message).needs_another_dialect is is_dialect
