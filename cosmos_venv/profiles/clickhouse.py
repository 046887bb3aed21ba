"""ClickHouse: Airflow has no type of connection for it, so a ``generic`` connection is marked in its extra."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping, login


class ClickhouseUserPasswordProfileMapping(BaseProfileMapping):
    """ClickHouse by user and password, from a ``generic`` Connection with ``{"clickhouse": "True"}`` in its extra."""

    airflow_connection_type = "generic"
    dbt_profile_type = "clickhouse"
    required_fields = ("host", "user", "schema", "clickhouse")
    optional_in_dbt = ("clickhouse", "user", "schema")
    secret_fields = ("password",)
    airflow_param_mapping = {
        **login(),
        "schema": "schema",
        "clickhouse": "extra.clickhouse",
    }
    default_values = {"driver": "native", "port": 9000, "secure": False}
