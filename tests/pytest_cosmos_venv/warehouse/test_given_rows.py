"""Rows of a test become statements of SQL, with the types of the project or of their values."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.warehouse.given_rows import Relation, in_order, statements_for

SHIPS = Relation(database="lake", schema='a "b"', identifier="ships", types={"id": "smallint"})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "BOOLEAN"),
        (1, "BIGINT"),
        (Decimal("1.5"), "DECIMAL(38, 9)"),
        (datetime.fromisoformat("2026-01-01T12:00"), "TIMESTAMP"),
        (datetime(2026, 1, 1, tzinfo=timezone.utc), "TIMESTAMP WITH TIME ZONE"),
        (None, "VARCHAR"),
        ([1, 2], "BIGINT[]"),
        ([[1], []], "BIGINT[][]"),
        ({"a": 1}, "JSON"),
    ],
)
def test_a_column_has_the_type_of_its_values(value: Any, kind: str) -> None:
    _, (made, _), (filled, rows) = statements_for(SHIPS, [{"id": 1, "v": value}], name="raw.ships")

    assert made == f'create or replace table "lake"."a ""b"""."ships" ("id" smallint, "v" {kind})'
    given = "cast(? as JSON)" if isinstance(value, (list, dict)) else "?"
    assert filled.endswith(f"values (cast(? as smallint), cast({given} as {kind}))")
    assert len(rows) == 1


def test_whole_and_other_numbers_are_one_type() -> None:
    statements = statements_for(SHIPS, [{"v": None}, {"v": 1}, {"v": 1.5}], name="raw.ships")

    assert '("v" DOUBLE)' in statements[1][0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"v": 1}, {"v": "a"}], r"raw\.ships: column v has values of several types \(BIGINT, VARCHAR\)"),
        (
            Path("ships.xlsx"),
            r"raw\.ships='ships.xlsx': give rows, or a file that ends in \.csv, \.json, \.parquet, \.tsv",
        ),
        (Path("missing.csv"), r"raw\.ships='missing.csv': there is no such file"),
    ],
)
def test_what_is_no_table_is_refused(content: Any, words: str) -> None:
    with pytest.raises(ToolkitMisuse, match=words):
        statements_for(SHIPS, content, name="raw.ships")


def test_rows_come_in_the_order_of_their_columns_with_null_first() -> None:
    rows: list[dict[str, Any]] = [
        {"a": 2, "b": "x"},
        {"a": None, "b": "y"},
        {"a": 2, "b": None},
        {"a": Decimal(1), "b": "z"},
    ]

    assert [(row["a"], row["b"]) for row in in_order(rows)] == [(None, "y"), (1, "z"), (2, None), (2, "x")]
