"""Spark: a thrift server."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping


class SparkThriftProfileMapping(BaseProfileMapping):
    """Spark by its thrift server. ``schema`` comes from ``profile_args``."""

    airflow_connection_type = "spark"
    dbt_profile_type = "spark"
    dbt_profile_method = "thrift"
    required_fields = ("schema", "host")
    airflow_param_mapping = {"host": "host", "port": "port"}
