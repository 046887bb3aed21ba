"""What does Airflow know under a connection id, what stands in one of its fields, and what is to be masked in logs?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from airflow.sdk import Connection


def find_connection(conn_id: str, *, asker: str, conn_type: str) -> Connection:
    """The Airflow Connection.

    :param asker: who wants it, for the error.
    :param conn_type: which type it should be made of, for the error.
    :raises CosmosValueError: when Airflow has none of that id.
    """
    from cosmos_venv.compat import AirflowNotFoundException, get_connection

    try:
        return get_connection(conn_id)
    except AirflowNotFoundException:
        raise CosmosValueError(
            f"{asker}: conn_id={conn_id!r}: Airflow has no connection of that id. Create it "
            f"(`airflow connections add {conn_id} --conn-type {conn_type} ...`, or the "
            f"environment variable AIRFLOW_CONN_{conn_id.upper()}), or correct conn_id."
        ) from None


def connection_value(conn: Connection, airflow_field: str) -> Any:
    """What stands there; None when nothing does.

    :param airflow_field: ``extra.KEY`` or ``extra__KEY`` (then the whole is the key) of the Connection's JSON, in which
        False and 0 are values; else an attribute of the Connection, of which 0 and the empty text are none.
    """
    if not airflow_field.startswith(("extra.", "extra__")):
        return getattr(conn, airflow_field, None) or None
    value = conn.extra_dejson.get(airflow_field.removeprefix("extra."))
    return None if value == "" else value


def mask(secrets: Iterable[str]) -> None:
    """Have Airflow mask these in logs: it knows the Connection's password, but neither arguments nor a path's token."""
    for secret in secrets:
        from cosmos_venv.compat import mask_in_logs  # which imports Airflow: a profile without secrets needs none

        mask_in_logs(secret)
