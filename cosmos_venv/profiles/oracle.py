"""Oracle: a schema is a user, and ``login[owner]`` logs in as ``login`` for the schema of ``owner``."""

from __future__ import annotations

import re
from typing import Any

from cosmos_venv.profiles.base import BaseProfileMapping

_PROXY = re.compile(r"\[([^\[\]]+)\]")


class OracleUserPasswordProfileMapping(BaseProfileMapping):
    """Oracle by user and password. The schema is the user, or the one in brackets of a proxy user."""

    airflow_connection_type = "oracle"
    dbt_profile_type = "oracle"
    required_fields = ("user", "password")
    secret_fields = ("password",)
    airflow_param_mapping = {
        "host": "host",
        "port": "port",
        "service": "extra.service_name",
        "user": "login",
        "password": "password",
        "database": "extra.service_name",
        "connection_string": "extra.dsn",
    }
    default_values = {"protocol": "tcp", "port": 1521}
    kept_in_mock = ("schema",)

    @property
    def env_vars(self) -> dict[str, str]:
        """The environment variables of the base; with ``thick_mode`` in the Connection's extra also the one that makes
        the driver use it.
        """
        thick = {"ORA_PYTHON_DRIVER_TYPE": "thick"} if self._airflow_value("extra.thick_mode") else {}
        return super().env_vars | thick

    @property
    def mock_profile(self) -> dict[str, Any]:
        """An output that is enough for parsing, with the schema that dbt asks for."""
        return _with_schema(super().mock_profile)

    def clear_profile(self) -> dict[str, Any]:
        """The fields with their real values; the schema is the user where nothing else is given."""
        return _with_schema(super().clear_profile())


def _with_schema(profile: dict[str, Any]) -> dict[str, Any]:
    user = str(profile.get("user") or "")
    owner = _PROXY.search(user)
    return {"schema": owner.group(1) if owner else user or None, **profile}
