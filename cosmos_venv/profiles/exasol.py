"""Exasol: dbt wants host and port in one text."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping, extras

_PORT = 8563


class ExasolUserPasswordProfileMapping(BaseProfileMapping):
    """Exasol by user and password. ``threads`` and ``schema`` come from ``profile_args``."""

    airflow_connection_type = "exasol"
    dbt_profile_type = "exasol"
    required_fields = ("threads", "dsn", "user", "password", "dbname", "schema")
    optional_in_dbt = ("threads",)
    secret_fields = ("password",)
    airflow_param_mapping = {
        "dsn": "host",
        "user": "login",
        "password": "password",
        "dbname": "schema",
        **extras("encryption compression connection_timeout socket_timeout protocol_version"),
    }

    def transform_dsn(self, host: str) -> str:
        """Return the host with the port, unless the host names one.

        :param host: of the Connection.
        """
        return host if ":" in host else f"{host}:{self.conn.port or _PORT}"
