"""Vertica: the Connection's schema is dbt's ``database``; dbt's own ``schema`` comes from ``profile_args``."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping


class VerticaUserPasswordProfileMapping(BaseProfileMapping):
    """Vertica by user and password."""

    airflow_connection_type = "vertica"
    dbt_profile_type = "vertica"
    required_fields = ("host", "username", "password", "database", "schema")
    secret_fields = ("password",)
    airflow_param_mapping = {
        "host": "host",
        "username": "login",
        "password": "password",
        "port": "port",
        "database": "schema",
        "autocommit": "extra.autocommit",
        "backup_server_node": "extra.backup_server_node",
        "binary_transfer": "extra.binary_transfer",
        "connection_load_balance": "extra.connection_load_balance",
        "connection_timeout": "extra.connection_timeout",
        "disable_copy_local": "extra.disable_copy_local",
        "kerberos_host_name": "extra.kerberos_host_name",
        "kerberos_service_name": "extra.kerberos_service_name",
        "log_level": "extra.log_level",
        "log_path": "extra.log_path",
        "oauth_access_token": "extra.oauth_access_token",
        "request_complex_types": "extra.request_complex_types",
        "session_label": "extra.session_label",
        "ssl": "extra.ssl",
        "unicode_error": "extra.unicode_error",
        "use_prepared_statements": "extra.use_prepared_statements",
        "workload": "extra.workload",
    }
    default_values = {"port": 5433}
