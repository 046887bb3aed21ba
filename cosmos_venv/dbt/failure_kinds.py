"""The kind of a failure of dbt: whether the next try of a task may succeed, or fails in the same way.

The statuses and the prefixes of messages were read off dbt-core 1.11 and 2.0.0a4. The words of databases are those of
their adapters' error classes. An unknown failure counts as a failure of the warehouse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from cosmos_venv.dbt.log_lines import FAILED, NodeOutcome


class FailureKind(str, Enum):
    """The kind of a failure. The value is the word in ``retry_on``."""

    WAREHOUSE = "warehouse"
    """The connection, a lock, a quota, a time limit, a kill; and every unknown failure."""
    TESTS = "tests"
    """A test or unit test has found something."""
    COMPILATION = "compilation"
    """The project, or a node of it, cannot be compiled."""
    CONTRACT = "contract"
    """A model does not keep its contract."""
    SQL = "sql"
    """The database refuses a statement: a syntax error, a missing relation or column, a missing permission."""


# The first that matches counts: a broken contract is a compilation error to dbt.
_WORDS = {
    FailureKind.TESTS: r"^(?:unit_)?test\.\S+: fail\b",  # a node's line in the text of an error
    FailureKind.CONTRACT: r"has an enforced contract that failed",
    # dbt 2 says "Compilation Error" and no more of each node where it cannot connect.
    FailureKind.COMPILATION: r"Compilation Error(?: in | for |\n)|Parsing Error|\bJinjaError\b",
    FailureKind.SQL: "|".join(
        (
            # DuckDB
            r"\b(?:Catalog|Binder|Parser) Error:",
            # Postgres and Redshift
            r"syntax error at or near|\b(?:relation|column|function|schema|type) .* does not exist",
            r"permission denied for",
            # Snowflake
            r"SQL compilation error|does not exist or not authorized|Insufficient privileges",
            # BigQuery
            r"Syntax error:|Unrecognized name:|Not found: (?:Table|Dataset)|Access Denied:",
            # Databricks and Spark
            r"\[(?:TABLE_OR_VIEW_NOT_FOUND|PARSE_SYNTAX_ERROR|UNRESOLVED_COLUMN|UNRESOLVED_ROUTINE)",
            # Trino and ClickHouse
            r"\b(?:SYNTAX_ERROR|TABLE_NOT_FOUND|COLUMN_NOT_FOUND|UNKNOWN_TABLE|UNKNOWN_IDENTIFIER)\b",
            # SQL Server
            r"Invalid (?:object|column) name|Incorrect syntax near",
        )
    ),
}


def kinds_of(outcomes: Mapping[str, NodeOutcome], text: str) -> set[FailureKind]:
    """Return the kinds of all failures of one command; at least one.

    :param outcomes: the outcomes of the nodes, by unique id; empty when dbt has run no node.
    :param text: the message of the failure, which counts when no node has failed.
    """
    failed = {each: found for each, found in outcomes.items() if found.state == FAILED}
    return {_kind_of_node(each, found) for each, found in failed.items()} or {kind_of_text(text)}


def kind_of_text(text: str) -> FailureKind:
    """Return the kind of a failure by its message.

    :param text: a message of dbt, or the text of an error with such messages.
    """
    found = (kind for kind, words in _WORDS.items() if re.search(words, text, re.MULTILINE))
    return next(found, FailureKind.WAREHOUSE)


def _kind_of_node(unique_id: str, outcome: NodeOutcome) -> FailureKind:
    # dbt 2 says no more than this of a unit test that fails.
    if outcome.status == "fail" or (unique_id.startswith("unit_test.") and outcome.message == "Error"):
        return FailureKind.TESTS
    return kind_of_text(outcome.message)
