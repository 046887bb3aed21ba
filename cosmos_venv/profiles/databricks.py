"""Databricks: a personal access token, or an OAuth client."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping


class _Databricks(BaseProfileMapping):
    airflow_connection_type = "databricks"
    dbt_profile_type = "databricks"

    def transform_host(self, host: str) -> str:
        """Return the bare name of the host, as dbt wants it.

        :param host: of the Connection.
        """
        return host.removeprefix("https://")


class DatabricksTokenProfileMapping(_Databricks):
    """Databricks by token: the Connection's password, or ``token`` in its extra."""

    required_fields = ("host", "schema", "token", "http_path")
    secret_fields = ("token",)
    airflow_param_mapping = {
        "host": "host",
        "schema": "schema",
        "token": ("password", "extra.token"),
        "http_path": "extra.http_path",
    }


class DatabricksOauthProfileMapping(_Databricks):
    """Databricks by OAuth client: the Connection's login and password, or both in its extra."""

    required_fields = ("host", "schema", "client_secret", "client_id", "http_path")
    secret_fields = ("client_secret", "client_id")
    airflow_param_mapping = {
        "host": "host",
        "schema": "schema",
        "client_id": ("login", "extra.client_id"),
        "client_secret": ("password", "extra.client_secret"),
        "http_path": "extra.http_path",
    }
    fixed_values = {"auth_type": "oauth"}
