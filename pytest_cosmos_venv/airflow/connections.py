"""Airflow's Connections in a test: they stand in its environment variables, as JSON."""

from __future__ import annotations

import json
import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.airflow.home_setup import set_variable
from pytest_cosmos_venv.errors import ToolkitMisuse

PREFIX = "AIRFLOW_CONN_"
FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")
_MADE_UP = "made-up"
_KEY_FILE = {
    "type": "service_account",
    "client_email": "made@up",
    **dict.fromkeys(("project_id", "private_key_id", "private_key"), _MADE_UP),
}
# Names that warehouses have for these fields, which people write by mistake.
_OTHER_NAMES = {"user": "login", "username": "login", "database": "schema", "dbname": "schema", "pass": "password"}


class Connections:
    """Connections by id. Processes that the test starts inherit them."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}

    def add(self, conn_id: str, **fields: Any) -> str:
        """Make a Connection known to Airflow until the test ends.

        :param conn_id: any id without ``=``. Airflow does not tell upper case from lower case here.
        :param **fields: ``conn_type`` (any text: no provider is needed), ``host``, ``login``, ``password``, ``schema``,
            ``port``, ``extra`` (a dictionary), ``description``.
        :returns: the id.
        :raises ToolkitMisuse: a Connection has no such field, the id is taken, or there is no ``conn_type``.
        """
        _check(conn_id, fields)
        name = _variable(conn_id)
        if name in self._before:
            raise ToolkitMisuse(
                f"cosmos_airflow.connections.add({conn_id!r}): this test has added a Connection of this id."
            )
        self._before[name] = os.environ.get(name)
        os.environ[name] = json.dumps({key: value for key, value in fields.items() if value is not None})
        return conn_id

    def has(self, conn_id: str) -> bool:
        """Whether the test, or the machine's environment, gives a Connection.

        :param conn_id: the id.
        """
        return _variable(conn_id) in os.environ

    def remove(self, conn_id: str) -> None:
        """Take back a Connection that was added.

        :param conn_id: the id under which it was added.
        :raises ToolkitMisuse: none of this id was added.
        """
        name = _variable(str(conn_id))
        if name not in self._before:
            raise ToolkitMisuse(f"cosmos_airflow.connections.remove({conn_id!r}): this test has added none of this id.")
        set_variable(name, self._before.pop(name))

    def close(self) -> None:
        """Put the environment variables back."""
        for name, value in self._before.items():
            set_variable(name, value)
        self._before.clear()


def made_up(mapping: Any, folder: Path) -> dict[str, Any]:
    """Return the fields of a Connection in which a profile mapping finds all that it requires.

    :param mapping: an object of a profile mapping class.
    :param folder: the folder of the file that is the host of DuckDB.
    """
    kind = str(getattr(mapping, "airflow_connection_type", "generic"))
    host = str(folder / "made-up.duckdb") if kind == "duckdb" else "made-up.invalid"
    fields: dict[str, Any] = {"host": host, **dict.fromkeys(("login", "password", "schema"), _MADE_UP)}
    extra: dict[str, str] = {}
    sources = getattr(mapping, "airflow_param_mapping", {})
    for name in getattr(mapping, "required_fields", ()):
        places = sources.get(name, ())
        place = places if isinstance(places, str) else next(iter(places), "")
        if place == "port":
            fields["port"] = 5432
        elif place and place not in fields:
            is_json, is_path = "json" in name or "dict" in place, "path" in name or name.endswith("file")
            text = json.dumps(_KEY_FILE) if is_json else f"/{_MADE_UP}/{name}" if is_path else _MADE_UP
            extra[place.removeprefix("extra.")] = text
    return {"conn_type": kind, **fields, "extra": extra}


def _variable(conn_id: str) -> str:
    return f"{PREFIX}{conn_id.upper()}"


def _check(conn_id: object, fields: dict[str, Any]) -> None:
    call = f"cosmos_airflow.connections.add({conn_id!r})"
    if not isinstance(conn_id, str) or not conn_id or "=" in conn_id or "\0" in conn_id:
        raise ToolkitMisuse(f"{call}: no environment variable can be named after this id; leave out '='.")
    for name in fields:
        if name not in FIELDS:
            meant = _OTHER_NAMES.get(name) or next(iter(get_close_matches(name, FIELDS, n=1)), None)
            hint = (
                f"did you mean {meant}?" if meant else "what only this kind of connection has belongs into extra={...}."
            )
            raise ToolkitMisuse(f"{call}: a Connection has no {name!r}; {hint}")
    if not fields.get("conn_type"):
        raise ToolkitMisuse(f"{call}: say of which kind it is: conn_type='postgres'.")
    try:
        json.dumps(fields)
    except TypeError as error:
        raise ToolkitMisuse(f"{call}: Airflow reads it as JSON, and it is none: {error}.") from None
