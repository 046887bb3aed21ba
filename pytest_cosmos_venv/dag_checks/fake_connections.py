"""Airflow's secrets backend while a DAG file is checked: fake Connections for profile mappings, and a log of requests.

Airflow asks this backend before any other. A Variable is noted and left to the next backend, which reads
``AIRFLOW_VAR_…``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.secrets import BaseSecretsBackend

from pytest_cosmos_venv.airflow.connections import made_up
from pytest_cosmos_venv.dag_checks.record import CONNECTION, VARIABLE, Effect
from pytest_cosmos_venv.dags.side_effects import caller

BACKEND = f"{__name__}.FakeSecrets"
"""The name of the class, for Airflow's setting."""
ASKED: list[Effect] = []
"""The requests for Connections and Variables, in order."""
_CONNECTIONS: dict[str, dict[str, Any]] = {}
_FOLDER = Path("/made-up")


class FakeSecrets(BaseSecretsBackend):
    """The secrets backend: it knows the fake Connections and no Variable, and records each request."""

    def get_conn_value(self, conn_id: str, *_: Any, **__: Any) -> str | None:
        """Return a fake Connection as JSON; None where no mapping has asked for it.

        :param conn_id: the id of the Connection.
        """
        ASKED.append(Effect(kind=CONNECTION, what=f"asked Airflow for Connection {conn_id!r}", where=caller()))
        found = _CONNECTIONS.get(conn_id)
        return None if found is None else json.dumps(found)

    def get_variable(self, key: str, *_: Any, **__: Any) -> None:
        """Record the request, and leave the answer to the next backend.

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
    fields, known = made_up(mapping, _FOLDER), _CONNECTIONS.get(conn_id, {})
    _CONNECTIONS[conn_id] = {**fields, **known, "extra": {**fields["extra"], **known.get("extra", {})}}
