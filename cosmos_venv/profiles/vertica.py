"""Vertica: the Connection's schema is dbt's ``database``; dbt's own ``schema`` comes from ``profile_args``."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping, extras, login


class VerticaUserPasswordProfileMapping(BaseProfileMapping):
    """Vertica by user and password."""

    airflow_connection_type = "vertica"
    dbt_profile_type = "vertica"
    required_fields = ("host", "username", "password", "database", "schema")
    secret_fields = ("password",)
    airflow_param_mapping = {
        **login(user="username"),
        "database": "schema",
        **extras(
            "autocommit backup_server_node binary_transfer connection_load_balance connection_timeout "
            "disable_copy_local kerberos_host_name kerberos_service_name log_level log_path oauth_access_token "
            "request_complex_types session_label ssl unicode_error use_prepared_statements workload"
        ),
    }
    default_values = {"port": 5433}
