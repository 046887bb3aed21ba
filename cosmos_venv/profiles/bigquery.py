"""BigQuery: a key file, the key itself, or what Google's libraries find on the machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.read_limits import decoded
from cosmos_venv.profiles.base import BaseProfileMapping

# Airflow 2.2 and older wrote the extra of a Google connection with this prefix; such connections live on.
_OLD = "extra__google_cloud_platform__"
_PLACE: Mapping[str, tuple[str, ...]] = {
    "project": ("extra.project", f"{_OLD}project"),
    "dataset": ("extra.dataset", f"{_OLD}dataset"),
}


class _Google(BaseProfileMapping):
    airflow_connection_type = "google_cloud_platform"
    dbt_profile_type = "bigquery"
    default_values = {"threads": 1}


class GoogleCloudServiceAccountFileProfileMapping(_Google):
    """BigQuery as a service account, whose key file lies on the worker."""

    dbt_profile_method = "service-account"
    required_fields = ("project", "dataset", "keyfile")
    airflow_param_mapping = {**_PLACE, "keyfile": ("extra.key_path", f"{_OLD}key_path")}


class GoogleCloudServiceAccountDictProfileMapping(_Google):
    """BigQuery as a service account, whose key stands in the Connection, as an object or as its JSON text."""

    dbt_profile_method = "service-account-json"
    required_fields = ("project", "dataset", "keyfile_json")
    #: The secret parts of the key; its other parts name the account.
    secret_fields = ("private_key_id", "private_key")
    airflow_param_mapping = {
        **_PLACE,
        "keyfile_json": ("extra.keyfile_dict", "keyfile_dict", f"{_OLD}keyfile_dict"),
    }
    mock_values = {"keyfile_json": None, "threads": 1}

    def get_dbt_value(self, name: str) -> Any:
        """Return the value of a dbt field as the base does; the key is given as an object.

        :param name: of the dbt field.
        :raises CosmosValueError: for a text that is no key.
        """
        value = super().get_dbt_value(name)
        return self._key(value) if name == "keyfile_json" and value is not None else value

    def clear_profile(self) -> dict[str, Any]:
        """The fields with their real values."""
        return super().clear_profile() | {"keyfile_json": self.get_dbt_value("keyfile_json")}

    def secrets(self) -> dict[str, Any]:
        """Nothing: the secrets stand inside the key."""
        return {}

    def _key(self, value: Any) -> dict[str, Any]:
        try:
            key = decoded(value, json.loads) if isinstance(value, str) else value
        except ValueError:
            key = None  # its text must not get into an error
        if not isinstance(key, Mapping):
            raise self._refusal("is no JSON object")
        absent = [name for name in self.secret_fields if not key.get(name)]
        if absent:
            raise self._refusal(f"has no {' and no '.join(absent)}")
        return dict(key)

    def _refusal(self, reason: str) -> CosmosValueError:
        place = "profile_args['keyfile_json']" if self.profile_args.get("keyfile_json") else "extra.keyfile_dict"
        return CosmosValueError(
            f"{type(self).__name__}: the key in {place} (connection {self.conn_id!r}) {reason}. "
            "Put the whole content of the service account's key file there."
        )


class GoogleCloudOauthProfileMapping(_Google):
    """BigQuery as the account that Google's libraries find on the worker (application default credentials)."""

    dbt_profile_method = "oauth"
    required_fields = ("project", "dataset")
    optional_in_dbt = ("project",)  # without it the default project of the worker's account counts
    airflow_param_mapping = _PLACE
