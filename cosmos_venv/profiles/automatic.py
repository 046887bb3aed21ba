"""The choice of the mapping class that fits a Connection."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles.base import BaseProfileMapping, find_connection
from cosmos_venv.public_names import PROFILE_MAPPINGS

#: In the order in which they are tried, which is that of Cosmos.
profile_mappings: list[type[BaseProfileMapping]] = [
    getattr(import_module(f"cosmos_venv.profiles.{path.partition('.')[0]}"), name)
    for path, name in PROFILE_MAPPINGS.items()
]


def get_automatic_profile_mapping(conn_id: str, profile_args: Mapping[str, Any] | None = None) -> BaseProfileMapping:
    """Return the first mapping that can claim the Connection, which is looked up here, once.

    :param conn_id: id of the Airflow Connection.
    :param profile_args: dbt fields as the mapping takes them; ``type`` and ``method`` among them narrow the choice.
        None: there are none.
    :raises CosmosValueError: when there is no such Connection, no mapping claims it (with the reason of each), or the
        key in it is broken: the next class would log in as somebody else.
    """
    conn = find_connection(conn_id, asker="get_automatic_profile_mapping", conn_type="...")
    reasons = []
    for cls in profile_mappings:
        if cls.airflow_connection_type != conn.conn_type:
            continue
        if contradicted := cls.contradicted_by(profile_args or {}):
            reasons.append(f"{cls.__name__}: profile_args names another {' and '.join(contradicted)}")
            continue
        mapping = cls(conn_id, profile_args)
        mapping.conn = conn
        if not (reason := mapping.why_not_claimed()):
            return mapping
        reasons.append(f"{cls.__name__}: {reason}")
    raise CosmosValueError(_none_claims(conn_id, conn.conn_type, reasons))


def _none_claims(conn_id: str, conn_type: str | None, reasons: list[str]) -> str:
    head = f"get_automatic_profile_mapping: no mapping claims the connection {conn_id!r} of type {conn_type!r}. "
    if not reasons:
        known = ", ".join(sorted({cls.airflow_connection_type for cls in profile_mappings}))
        return (
            f"{head}There are mappings for {known}. Use one of these types, or your own subclass of BaseProfileMapping."
        )
    return f"{head}{'; '.join(reasons)}."
