"""Airflow's secrets while a DAG file is checked: fake Connections as the profile mappings ask for, and a log of asking.

Airflow asks this backend before any other. A Variable is noted and left to the next backend, which reads
``AIRFLOW_VAR_…``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from airflow.secrets import BaseSecretsBackend

from pytest_cosmos_venv.dag_checks.record import CONNECTION, VARIABLE, Effect
from pytest_cosmos_venv.dags.side_effects import caller

BACKEND = f"{__name__}.FakeSecrets"
"""The name of the class, for Airflow's setting."""
ASKED: list[Effect] = []
"""What Airflow was asked for, in order."""
_CONNECTIONS: dict[str, dict[str, Any]] = {}
_PORT = 5432
_OWN_FIELDS = ("host", "login", "password", "schema", "port")
_KEY_FILE = {"type": "service_account", "project_id": "fake", "private_key": "fake", "client_email": "fake@fake"}


class FakeSecrets(BaseSecretsBackend):
    """The secrets backend: it knows the fake Connections and no Variable, and notes each question."""

    def get_conn_value(self, conn_id: str, *_: Any, **__: Any) -> str | None:
        """Return a fake Connection as JSON; None where no mapping has asked for it.

        :param conn_id: the id of the Connection.
        """
        ASKED.append(Effect(kind=CONNECTION, what=f"asked Airflow for Connection {conn_id!r}", where=caller()))
        found = _CONNECTIONS.get(conn_id)
        return None if found is None else json.dumps(found)

    def get_variable(self, key: str, *_: Any, **__: Any) -> None:
        """Note the question, and leave the answer to the next backend.

        :param key: the name of the Variable.
        """
        ASKED.append(Effect(kind=VARIABLE, what=f"asked Airflow for Variable {key!r}", where=caller()))


def add_connection_of(mapping: Any) -> None:
    """Make the Connection that a profile mapping will ask for; two mappings of one Connection share it.

    :param mapping: an object of a profile mapping class.
    """
    conn_id = getattr(mapping, "conn_id", None)
    if not isinstance(conn_id, str):
        return
    kind = getattr(mapping, "airflow_connection_type", "generic")
    connection = _CONNECTIONS.setdefault(conn_id, {"conn_type": kind, "extra": {}})
    fields: Mapping[str, Any] = getattr(mapping, "airflow_param_mapping", {})
    for name in getattr(mapping, "required_fields", ()):
        for place in list(_places(fields.get(name, ())))[:1]:
            _fill(connection, place, name)


def _places(mapped: str | Iterable[str]) -> Iterable[str]:
    return (mapped,) if isinstance(mapped, str) else mapped


def _fill(connection: dict[str, Any], place: str, name: str) -> None:
    if place in _OWN_FIELDS:
        connection.setdefault(place, _PORT if place == "port" else _value_of(name))
    else:
        value = json.dumps(_KEY_FILE) if "json" in name or "dict" in place else _value_of(name)
        connection["extra"].setdefault(place.removeprefix("extra."), value)


def _value_of(name: str) -> str:
    return f"/fake/{name}" if "path" in name or name.endswith("file") else f"fake_{name}"
