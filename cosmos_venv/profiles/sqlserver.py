"""SQL Server: from a ``generic`` Connection, whose extra names database and driver."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping, login


class StandardSQLServerAuth(BaseProfileMapping):
    """SQL Server by user and password."""

    airflow_connection_type = "generic"
    dbt_profile_type = "sqlserver"
    required_fields = ("server", "user", "schema", "database", "driver", "password")
    secret_fields = ("password",)
    airflow_param_mapping = {
        **login(host="server"),
        "schema": "schema",
        "database": "extra.database",
        "driver": "extra.driver",
    }
    default_values = {"port": 1433}
