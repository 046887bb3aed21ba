"""StarRocks: speaks MySQL's protocol, and its Airflow Connection is of that type."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping, login


class StarrocksUserPasswordProfileMapping(BaseProfileMapping):
    """StarRocks by user and password, from a ``mysql`` Connection with a port.

    The automatic choice takes such a Connection for MySQL, unless ``profile_args`` has ``"type": "starrocks"``.
    """

    airflow_connection_type = "mysql"
    dbt_profile_type = "starrocks"
    required_fields = ("host", "username", "password", "port", "schema")
    optional_in_dbt = ("port", "schema")
    secret_fields = ("password",)
    airflow_param_mapping = {**login(user="username"), "schema": "schema"}
    mock_values = {"port": 9030}
