"""DuckDB: the Connection's host is the path of the database file."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping


class DuckDBUserPasswordProfileMapping(BaseProfileMapping):
    """A DuckDB file, from a Connection of type ``duckdb``."""

    airflow_connection_type = "duckdb"
    dbt_profile_type = "duckdb"
    is_community = True
    required_fields = ("path",)
    airflow_param_mapping = {"path": "host"}
