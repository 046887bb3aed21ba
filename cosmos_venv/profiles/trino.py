"""Trino: a password, a certificate or a token. ``database`` and ``schema`` come from ``profile_args``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from cosmos_venv.profiles.base import BaseProfileMapping

_PLACE = {"host": "host", "port": "port", "user": "login", "session_properties": "extra.session_properties"}
_REQUIRED = ("host", "database", "schema", "port")


class TrinoBaseProfileMapping(BaseProfileMapping):
    """The parts that all ways to log in to Trino share."""

    airflow_connection_type = "trino"
    dbt_profile_type = "trino"
    required_fields: ClassVar[Sequence[str]] = (*_REQUIRED, "user")
    airflow_param_mapping = _PLACE
    mock_values = {"port": 99999}

    def transform_host(self, host: str) -> str:
        """Return the bare name of the host, as dbt wants it.

        :param host: of the Connection.
        """
        return re.sub(r"^https?://", "", host)


class TrinoLDAPProfileMapping(TrinoBaseProfileMapping):
    """Trino by user and password."""

    dbt_profile_method = "ldap"
    required_fields = (*_REQUIRED, "user", "password")
    secret_fields = ("password",)
    airflow_param_mapping = {**_PLACE, "password": "password"}


class TrinoCertificateProfileMapping(TrinoBaseProfileMapping):
    """Trino by certificate and private key, two files on the worker."""

    dbt_profile_method = "certificate"
    required_fields = (*_REQUIRED, "client_certificate", "client_private_key")
    airflow_param_mapping = {
        **_PLACE,
        "client_certificate": "extra.certs__client_cert_path",
        "client_private_key": "extra.certs__client_key_path",
    }


class TrinoJWTProfileMapping(TrinoBaseProfileMapping):
    """Trino by JSON Web Token, ``jwt__token`` in the Connection's extra."""

    dbt_profile_method = "jwt"
    required_fields = (*_REQUIRED, "jwt_token")
    secret_fields = ("jwt_token",)
    airflow_param_mapping = {**_PLACE, "jwt_token": "extra.jwt__token"}

    def clear_profile(self) -> dict[str, Any]:
        """Without ``jwt``, which dbt does not read: a user may have put a token there."""
        return {name: value for name, value in super().clear_profile().items() if name != "jwt"}
