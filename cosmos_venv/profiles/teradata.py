"""Teradata: where no schema is said, it is the user's own."""

from __future__ import annotations

from typing import Any

from cosmos_venv.profiles.base import BaseProfileMapping


class TeradataUserPasswordProfileMapping(BaseProfileMapping):
    """Teradata by user and password."""

    airflow_connection_type = "teradata"
    dbt_profile_type = "teradata"
    required_fields = ("host", "user", "password")
    secret_fields = ("password",)
    airflow_param_mapping = {
        "host": "host",
        "user": "login",
        "password": "password",
        "schema": "schema",
        "tmode": "extra.tmode",
    }

    @property
    def mock_profile(self) -> dict[str, Any]:
        """An output that is enough for parsing, with a schema."""
        mocked = super().mock_profile
        return {**mocked, "schema": mocked["user"]}

    def clear_profile(self) -> dict[str, Any]:
        """The fields with their real values; the schema is the user where nothing else is given."""
        profile = super().clear_profile()
        return {**profile, "schema": profile.get("schema") or profile.get("user")}
