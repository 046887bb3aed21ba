"""MySQL: dbt's ``server`` is the Connection's host."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping, login


class MysqlUserPasswordProfileMapping(BaseProfileMapping):
    """MySQL by user and password."""

    airflow_connection_type = "mysql"
    dbt_profile_type = "mysql"
    required_fields = ("server", "username", "password", "schema")
    secret_fields = ("password",)
    airflow_param_mapping = {**login(user="username", host="server"), "schema": "schema"}
    default_values = {"port": 3306}
