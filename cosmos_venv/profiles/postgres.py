"""PostgreSQL: the Connection's schema is dbt's ``dbname``; dbt's own ``schema`` comes from ``profile_args``."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping, extras, login


class PostgresUserPasswordProfileMapping(BaseProfileMapping):
    """A PostgreSQL database by user and password, from a Connection of type ``postgres``."""

    airflow_connection_type = "postgres"
    dbt_profile_type = "postgres"
    required_fields = ("host", "user", "password", "dbname")
    secret_fields = ("password",)
    airflow_param_mapping = {
        **login(),
        "dbname": "schema",
        **extras("keepalives_idle sslmode"),
    }
    default_values = {"port": 5432}
    kept_in_mock = ("schema",)
    needed_by_dbt = ("schema",)
