"""The program that reads and writes a DuckDB file, run by the Python of the environment in which dbt is installed.

So the Python of the tests need not have ``duckdb``. The program imports only ``duckdb`` and the standard library.
Standard input and output are JSON. The request is ``{"path": FILE, "attached": {NAME: FILE}, "replaced": [DATABASE,
SCHEMA, NAME] or null, "statements": [[SQL, ROWS or null], …]}``. The answer is ``{"columns": [[NAME, TYPE], …],
"rows": [[VALUE, …], …]}`` of the last statement, or ``{"error": TEXT, "sql": SQL}``. A view named by ``replaced`` is
dropped first. Values that JSON does not have are written as ``{"type": TYPE, "text": TEXT}``.
"""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

_PLAIN = (str, int, float, bool, type(None))
_NAMED: tuple[tuple[type, str], ...] = ((datetime, "datetime"), (date, "date"), (time, "time"), (Decimal, "decimal"))


def encode(value: Any) -> Any:
    """Return a value of DuckDB in a form that JSON can hold.

    :param value: the value, as DuckDB's Python interface returns it.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (list, tuple)):
        return [encode(each) for each in value]
    if isinstance(value, dict):
        return {"type": "struct", "items": [[str(name), encode(each)] for name, each in value.items()]}
    for kind, name in _NAMED:
        if isinstance(value, kind):
            return {"type": name, "text": value.isoformat() if hasattr(value, "isoformat") else str(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"type": "bytes", "text": bytes(value).hex()}
    return str(value)  # UUID, INTERVAL and other types


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run the statements of a request; return columns and rows of the last statement, or the first error.

    :param request: the request, as described at the top of this module.
    """
    import duckdb

    sql = ""
    with duckdb.connect(request["path"], config=_settings(duckdb.__version__)) as connection:
        try:
            for name, file in request["attached"].items():
                sql = f"attach if not exists {_quoted(file, chr(39))} as {_quoted(name, chr(34))}"
                connection.execute(sql)
            # "create or replace table" refuses to take the place of a view.
            sql = "select sql from duckdb_views() where (database_name, schema_name, view_name) = (?, ?, ?)"
            if request["replaced"] and connection.execute(sql, request["replaced"]).fetchone():
                sql = "drop view " + ".".join(_quoted(part, chr(34)) for part in request["replaced"])
                connection.execute(sql)
            for sql, rows in request["statements"]:
                if rows is None:
                    connection.execute(sql)
                elif rows:
                    connection.executemany(sql, rows)
            columns = [[column[0], str(column[1])] for column in connection.description or ()]
            found = connection.fetchall() if columns else []
        except duckdb.Error as error:
            return {"error": str(error), "sql": sql}
    return {"columns": columns, "rows": [[encode(value) for value in row] for row in found]}


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace(quote, 2 * quote) + quote


def _settings(version: str) -> dict[str, Any]:
    """Return settings with which the DuckDB inside any dbt can read the file.

    DuckDB 2.0 writes files that the driver of dbt 2.0.0a4 refuses ("version number 69, but we can only read versions
    between 64 and 68"). Releases before 1.2 have no such setting and write the older format.
    """
    is_old = tuple(map(int, version.split(".")[:2])) < (1, 2)
    return {} if is_old else {"storage_compatibility_version": "v1.0.0"}


def main() -> None:
    """Answer the request on standard input."""
    json.dump(answer(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
