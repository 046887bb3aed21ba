"""Rows and files that a test gives as the content of a table, and rows that queries return: values, types and SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse

Row = Mapping[str, Any]
_READERS = {".csv": "read_csv", ".tsv": "read_csv", ".parquet": "read_parquet", ".json": "read_json"}
# The first type that fits a value counts: a bool is also an int, and a datetime is also a date.
_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "BOOLEAN"),
    (int, "BIGINT"),
    (float, "DOUBLE"),
    (Decimal, "DECIMAL(38, 9)"),
    (datetime, "TIMESTAMP"),
    (date, "DATE"),
    (time, "TIME"),
    (bytes, "BLOB"),
    (dict, "JSON"),
    (str, "VARCHAR"),
)
_ANY = "VARCHAR"
_NESTED = (list, tuple, dict)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """The place of a table in a DuckDB file, as dbt's manifest names it.

    :param database: the name of the attached file.
    :param schema: the schema in it.
    :param identifier: the name of the table or view.
    :param types: column -> type that the project declares (``data_type``); columns without a type are left out.
    """

    database: str
    schema: str
    identifier: str
    types: Mapping[str, str]

    def __str__(self) -> str:
        return ".".join(map(quoted, (self.database, self.schema, self.identifier)))


def quoted(name: str) -> str:
    """Return a name as a quoted identifier of SQL.

    :param name: the name of a column, table, schema or database.
    """
    return '"' + name.replace('"', '""') + '"'


def statements_for(relation: Relation, content: Path | Sequence[Row], *, name: str) -> list[tuple[str, Any]]:
    """Return the statements that make a table with some content, each with its rows of parameters or None.

    :param relation: the table. An existing view or table of this name is replaced.
    :param content: rows as mappings of column -> value, or a CSV, Parquet or JSON file. The columns have the types that
        the project declares, else the types of the values; for a file, DuckDB detects the types.
    :param name: the name of the table in the test, for messages.
    :raises ToolkitMisuse: no table can be made of the content.
    """
    place = f"{quoted(relation.database)}.{quoted(relation.schema)}"
    prepared: list[tuple[str, Any]] = [(f"create schema if not exists {place}", None)]
    if isinstance(content, Path):
        return [*prepared, *_of_file(relation, content, name)]
    return [*prepared, *_of_rows(relation, content, name)]


def _of_file(relation: Relation, file: Path, name: str) -> list[tuple[str, Any]]:
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise ToolkitMisuse(f"{name}={str(file)!r}: give rows, or a file that ends in {', '.join(sorted(_READERS))}.")
    if not file.is_file():
        raise ToolkitMisuse(f"{name}={str(file)!r}: there is no such file.")
    path = str(file.resolve()).replace("'", "''")
    columns = "*"
    if relation.types:
        casts = ", ".join(
            f"cast({quoted(column)} as {kind}) as {quoted(column)}" for column, kind in relation.types.items()
        )
        columns = f"* replace ({casts})"
    return [(f"create or replace table {relation} as from {reader}('{path}') select {columns}", None)]


def _of_rows(relation: Relation, rows: Sequence[Row], name: str) -> list[tuple[str, Any]]:
    if not all(isinstance(row, Mapping) for row in rows):
        raise ToolkitMisuse(f"{name}: give a list of rows, each a mapping of column -> value, or the path of a file.")
    columns = list(rows[0]) if rows else list(relation.types)
    if not columns:
        raise ToolkitMisuse(
            f"{name}: there is no row, so its columns are not known. Declare them in the project with data_type, or "
            "give one row."
        )
    for number, row in enumerate(rows):
        if set(row) != set(columns):
            raise ToolkitMisuse(
                f"{name}: row {number} has the columns {', '.join(map(str, row))}, and row 0 has {', '.join(columns)}. "
                "Give every row the same columns; None is NULL."
            )
    types = {
        column: relation.types.get(column) or _type_of([row[column] for row in rows], f"{name}: column {column}")
        for column in columns
    }
    declared = ", ".join(f"{quoted(column)} {kind}" for column, kind in types.items())
    nested = {column for column in columns if any(isinstance(row[column], _NESTED) for row in rows)}
    # DuckDB's cast of a text to a list does not handle escapes; a cast to JSON before it does.
    casts = ", ".join(
        f"cast({'cast(? as JSON)' if column in nested else '?'} as {kind})" for column, kind in types.items()
    )
    return [
        (f"create or replace table {relation} ({declared})", None),
        # Names are quoted, and values are parameters.
        (f"insert into {relation} values ({casts})", [[_text(row[column]) for column in columns] for row in rows]),  # noqa: S608
    ]


def _type_of(values: Iterable[Any], what: str) -> str:
    """Return the type of DuckDB that fits all values.

    :param values: the values of a column, or the elements of its lists.
    :param what: the words for the column, for messages.
    """
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, (list, tuple)) for value in known):
        return f"{_type_of([each for value in known for each in value], what)}[]"
    found = dict.fromkeys(_type(value, what) for value in known)
    if not found:
        return _ANY
    if set(found) == {"BIGINT", "DOUBLE"}:
        return "DOUBLE"
    if len(found) > 1:
        raise ToolkitMisuse(
            f"{what} has values of several types ({', '.join(found)}). Give values of one type, or declare the "
            "column's data_type in the project."
        )
    return next(iter(found))


def _type(value: Any, what: str) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return "TIMESTAMP WITH TIME ZONE"
    if isinstance(value, (list, tuple)):
        return "a list"
    for kind, type_ in _TYPES:
        if isinstance(value, kind):
            return type_
    raise ToolkitMisuse(f"{what}: {value!r} is no value of a table. Give numbers, text, dates, lists, dicts or None.")


def _text(value: Any) -> str | None:
    """Return a value as the text that DuckDB casts to the column's type."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, _NESTED):
        return json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, bytes):
        return "".join(f"\\x{byte:02x}" for byte in value)
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def decoded(value: Any) -> Any:
    """Return a value of DuckDB from the JSON that the program ``duckdb_script.py`` writes.

    :param value: the JSON value.
    """
    if isinstance(value, list):
        return [decoded(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind, text = value["type"], value.get("text", "")
    if kind == "struct":
        return {name: decoded(each) for name, each in value["items"]}
    makers: dict[str, Any] = {
        "datetime": datetime.fromisoformat,
        "date": date.fromisoformat,
        "time": time.fromisoformat,
        "decimal": Decimal,
        "bytes": bytes.fromhex,
    }
    return makers[kind](text)


def in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows sorted by their columns, the first column first and NULL before values, for a stable order.

    :param rows: the rows.
    """
    return sorted(rows, key=lambda row: [(value is not None, *_comparable(value)) for value in row.values()])


def _comparable(value: Any) -> tuple[Any, ...]:
    # Numbers of different types can be compared. Other values of a column have one type; dicts and lists are compared
    # as text, because dicts have no order.
    return (value,) if isinstance(value, (int, float, Decimal, str, date, time, bytes)) else (str(value),)
