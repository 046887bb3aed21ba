"""Snowflake: a password, or a key pair whose private key is a file on the worker or stands in the Connection."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cosmos_venv.profiles.base import BaseProfileMapping, extras

# Airflow 2.2 and older wrote the extra of a Snowflake connection with this prefix; such connections live on.
_OLD = "extra__snowflake__"
# The default region: Snowflake knows an account there only by its name without the region.
_DEFAULT_REGION = "us-west-2"
_REQUIRED = ("account", "user", "database", "warehouse", "schema")
_PLACE: Mapping[str, str] = {
    "account": "extra.account",
    "user": "login",
    **extras("database warehouse"),
    "schema": "schema",
    **extras("role authenticator host port query_tag insecure_mode client_session_keep_alive"),
}


class SnowflakeBaseProfileMapping(BaseProfileMapping):
    """The parts that all ways to log in to Snowflake share."""

    airflow_connection_type = "snowflake"
    dbt_profile_type = "snowflake"
    required_fields: ClassVar[Sequence[str]] = _REQUIRED
    optional_in_dbt = ("warehouse",)  # then it is the user's default one
    airflow_param_mapping = _PLACE
    default_values = {"threads": 4}
    mock_values = {}

    def _airflow_value(self, airflow_field: str) -> Any:
        value = super()._airflow_value(airflow_field)
        if value is None and airflow_field.startswith("extra."):
            return super()._airflow_value(_OLD + airflow_field.removeprefix("extra."))
        return value

    def transform_account(self, account: str) -> str:
        """Return the account with the region of the Connection's extra, unless the account names it.

        :param account: of the Connection.
        """
        region = self._airflow_value("extra.region")
        return f"{account}.{region}" if region and region != _DEFAULT_REGION and region not in account else account

    def transform_private_key(self, content: str) -> str:
        """Return the key itself where it stands in base64, as a Connection in one line has it.

        :param content: of the Connection.
        """
        try:
            return base64.b64decode("".join(content.split()), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return content


class SnowflakeUserPasswordProfileMapping(SnowflakeBaseProfileMapping):
    """Snowflake by user and password."""

    required_fields = (*_REQUIRED, "password")
    secret_fields = ("password",)
    airflow_param_mapping = {**_PLACE, "password": "password"}
    claims_without = ("extra.private_key_content", "extra.private_key_file")


class SnowflakeEncryptedPrivateKeyFilePemProfileMapping(SnowflakeBaseProfileMapping):
    """Snowflake by an encrypted key file; the Connection's password is its passphrase."""

    required_fields = (*_REQUIRED, "private_key_passphrase", "private_key_path")
    secret_fields = ("private_key_passphrase",)
    airflow_param_mapping = {
        **_PLACE,
        "private_key_passphrase": "password",
        "private_key_path": "extra.private_key_file",
    }
    claims_without = ("extra.private_key_content",)


class SnowflakeEncryptedPrivateKeyPemProfileMapping(SnowflakeBaseProfileMapping):
    """Snowflake by an encrypted key in the Connection's extra, plain or in base64; the password is its passphrase."""

    required_fields = (*_REQUIRED, "private_key", "private_key_passphrase")
    secret_fields = ("private_key", "private_key_passphrase")
    airflow_param_mapping = {
        **_PLACE,
        "private_key": "extra.private_key_content",
        "private_key_passphrase": "password",
    }
    claims_without = ("extra.private_key_file",)


class SnowflakePrivateKeyPemProfileMapping(SnowflakeBaseProfileMapping):
    """Snowflake by a key in the Connection's extra, plain or in base64."""

    required_fields = (*_REQUIRED, "private_key")
    secret_fields = ("private_key",)
    airflow_param_mapping = {**_PLACE, "private_key": "extra.private_key_content"}


class SnowflakePrivateKeyFilePemProfileMapping(SnowflakeBaseProfileMapping):
    """Snowflake by a key file on the worker."""

    required_fields = (*_REQUIRED, "private_key_path")
    airflow_param_mapping = {**_PLACE, "private_key_path": "extra.private_key_file"}
    claims_without = ("password",)
