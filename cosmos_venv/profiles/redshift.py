"""Redshift: the Connection's schema is dbt's ``dbname``; dbt's own ``schema`` comes from ``profile_args``."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping, extras, login


class RedshiftUserPasswordProfileMapping(BaseProfileMapping):
    """Amazon Redshift by user and password."""

    airflow_connection_type = "redshift"
    dbt_profile_type = "redshift"
    required_fields = ("host", "user", "password", "dbname", "schema")
    secret_fields = ("password",)
    airflow_param_mapping = {
        **login(),
        "dbname": "schema",
        **extras("timeout sslmode region"),
    }
    default_values = {"port": 5439}
