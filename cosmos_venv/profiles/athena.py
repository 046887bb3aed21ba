"""Athena: the credentials come from Airflow's AWS hook, which knows roles and temporary credentials too."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles.base import BaseProfileMapping, extras

_HOOK = "airflow.providers.amazon.aws.hooks.base_aws"


class AthenaAccessKeyProfileMapping(BaseProfileMapping):
    """Amazon Athena by access key, from a Connection of type ``aws``. Needs ``apache-airflow-providers-amazon``."""

    airflow_connection_type = "aws"
    dbt_profile_type = "athena"
    required_fields = (
        "aws_access_key_id",
        "aws_secret_access_key",
        "database",
        "region_name",
        "s3_staging_dir",
        "schema",
    )
    optional_in_dbt = ("s3_staging_dir",)  # a work group may have a place of its own
    secret_fields = ("aws_secret_access_key", "aws_session_token")
    airflow_param_mapping = {
        **extras(
            "aws_profile_name database debug_query_state lf_tags_database num_retries poll_interval region_name "
            "s3_data_dir s3_data_naming s3_staging_dir schema seed_s3_upload_args work_group"
        ),
    }

    @cached_property
    def credentials(self) -> Any:
        """``access_key``, ``secret_key`` and ``token``, asked for once: they belong together.

        :raises CosmosValueError: when the provider is missing.
        """
        from importlib import import_module

        try:
            hook = import_module(_HOOK).AwsGenericHook
        except ImportError as error:
            raise CosmosValueError(
                f"{type(self).__name__} asks Airflow's AWS hook for the credentials of the connection "
                f"{self.conn_id!r}, and it cannot be imported ({error}). Install apache-airflow-providers-amazon "
                "where Airflow runs."
            ) from error
        return hook(self.conn_id).get_credentials()

    def secrets(self) -> dict[str, Any]:
        """The secrets of the hook's credentials; a token only where they have one."""
        found = {"aws_secret_access_key": self.credentials.secret_key, "aws_session_token": self.credentials.token}
        return {name: value for name, value in found.items() if value}

    def clear_profile(self) -> dict[str, Any]:
        """The fields with their real values; the secrets and the id of the access key come from Airflow's AWS hook."""
        return super().clear_profile() | {"aws_access_key_id": self.credentials.access_key}
