"""The kind of a failure, from messages as dbt and its adapters have written them."""

from __future__ import annotations

import pytest

from cosmos_venv.dbt.failure_kinds import FailureKind, kind_of_text, kinds_of
from cosmos_venv.dbt.log_lines import NodeOutcome

CONTRACT = "Compilation Error in model con (models/con.sql)\n  This model has an enforced contract that failed.\n"
CONTRACT_OF_DBT_2 = (
    "Error executing materialization macro 'dbt_duckdb.materialization_table_duckdb' for model model.rd.con: Failed to "
    "eval the compiled Jinja expression invalid operation: Compilation Error for model.rd.con from models/con.sql: "
    "This model has an enforced contract that failed.\n Please ensure the name"
)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("contract", CONTRACT),
        ("contract", CONTRACT_OF_DBT_2),
        ("compilation", "Compilation Error\n  Model 'model.rd.a' (models/a.sql) depends on a node named 'b' which was"),
        ("compilation", "Compilation Error in model comp (models/comp.sql)\n  'nofunc' is undefined"),
        ("compilation", "[error] [JinjaError (dbt1501)]: Failed to render SQL unknown function"),
        ("compilation", "Parsing Error\n  at path ['models']: yaml"),
        ("sql", "Runtime Error in model a (models/a.sql)\n  Catalog Error: Table with name nope does not exist!"),
        ("sql", "Runtime Error in model a (models/a.sql)\n  Binder Error: Referenced column"),
        ("sql", "Database Error in model a (target/run/a.sql)\n  Parser Error: syntax error at or near"),
        ("sql", 'Database Error in model a (models/a.sql)\n  relation "nope" does not exist\n  LINE 1'),
        ("sql", "Database Error in model a (models/a.sql)\n  permission denied for schema raw"),
        (
            "sql",
            "Database Error in model a (a.sql)\n  002003 (42S02): SQL compilation error:\n  Object 'X' does not exist",
        ),
        ("sql", "Database Error in model a (models/a.sql)\n  Unrecognized name: stae at [3:1]"),
        (
            "sql",
            "Database Error in model a (models/a.sql)\n  [TABLE_OR_VIEW_NOT_FOUND] The table or view `x` cannot be",
        ),
        ("sql", "Database Error in model a\n  TrinoUserError(type=USER_ERROR, name=COLUMN_NOT_FOUND, message="),
        ("sql", "Database Error in model a (models/a.sql)\n  Invalid object name 'dbo.x'"),
        (
            "warehouse",
            'Database Error\n  connection to server at "db" (10.0.0.1), port 5432 failed: Connection refused',
        ),
        ("warehouse", "Database Error in model a (models/a.sql)\n  deadlock detected"),
        (
            "warehouse",
            "Database Error in model a\n  Quota exceeded: Your project exceeded quota for concurrent queries",
        ),
        ("warehouse", "Runtime Error\n  IO Error: Could not set lock on file"),
        # dbt 2 says so of each node where it cannot connect.
        ("warehouse", "model.rd.a: error: Compilation Error"),
        ("warehouse", ""),
    ],
)
def test_the_kind_of_a_message(kind: str, message: str) -> None:
    assert kind_of_text(message).value == kind


@pytest.mark.parametrize(
    ("unique_id", "status", "message", "kind"),
    [
        ("test.rd.not_null_a.0", "fail", "Got 3 results, configured to fail if != 0", FailureKind.TESTS),
        ("unit_test.rd.a.ut", "fail", "actual differs from expected", FailureKind.TESTS),
        ("unit_test.rd.a.ut", "error", "Error", FailureKind.TESTS),
        ("test.rd.not_null_a.0", "error", "Database Error in test\n  deadlock detected", FailureKind.WAREHOUSE),
        ("model.rd.a", "error", "", FailureKind.WAREHOUSE),
        ("test.rd.not_null_a.0", "error", "", FailureKind.WAREHOUSE),
    ],
)
def test_the_kind_of_a_node(unique_id: str, status: str, message: str, kind: FailureKind) -> None:
    outcomes = {"model.rd.done": NodeOutcome("success"), unique_id: NodeOutcome(status, message=message)}

    assert kinds_of(outcomes, "Catalog Error: is not looked at") == {kind}


def test_a_line_of_a_failed_test_in_the_text_of_an_error() -> None:
    text = "dbt command failed. The command returned a non-zero exit code 1.\ntest.rd.not_null_a.0: fail: Got 3 results"

    assert kinds_of({}, text) == {FailureKind.TESTS}
