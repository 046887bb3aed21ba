"""Airflow's Connections in a test, kept in environment variables as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.airflow.home_setup import set_variable
from pytest_cosmos_venv.errors import ToolkitMisuse

PREFIX = "AIRFLOW_CONN_"
_MADE_UP = "made-up"
_KEY_FILE = {
    "type": "service_account",
    "client_email": "made@up",
    **dict.fromkeys(("project_id", "private_key_id", "private_key"), _MADE_UP),
}


class Connections:
    """Connections by id. Processes that the test starts inherit them."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}

    def add(
        self,
        conn_id: str,
        *,
        conn_type: str,
        description: str | None = None,
        host: str | None = None,
        login: str | None = None,
        password: str | None = None,
        schema: str | None = None,
        port: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Make a Connection known to Airflow until the test ends.

        :param conn_id: any id without ``=``. Airflow does not tell upper case from lower case here.
        :param conn_type: any text: no provider is needed.
        :param description: the description.
        :param host: the host.
        :param login: the user.
        :param password: the password.
        :param schema: the schema; for many warehouses that is the database.
        :param port: the port.
        :param extra: the fields that only this kind of connection has.
        :returns: the id.
        :raises ToolkitMisuse: the id is taken.
        """
        fields = {
            "conn_type": conn_type,
            "description": description,
            "host": host,
            "login": login,
            "password": password,
            "schema": schema,
            "port": port,
            "extra": extra,
        }
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
        """Remove a Connection that the test has added.

        :param conn_id: the id under which it was added.
        :raises ToolkitMisuse: the test has added no Connection of this id.
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
