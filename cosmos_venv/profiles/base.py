"""How does an Airflow Connection become a dbt profile whose secrets stand only in the environment?

A mapping class is a table: which Airflow field feeds which dbt field, which are required, which are secret. This engine
reads the table; a warehouse that needs more overrides one small method.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import yaml

from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from airflow.sdk import Connection

MOCK_VALUE = "mock_value"
_NO_TRACKING = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "False", "DO_NOT_TRACK": "1"}
_LOG_FORMATS = ("text", "json", "default")


@dataclass(kw_only=True)
class DbtProfileConfigVars:
    """The ``config:`` block of a profiles.yml: dbt's global settings. None leaves a setting to dbt.

    :raises CosmosValueError: for a value that dbt would refuse.
    """

    send_anonymous_usage_stats: bool | None = False
    partial_parse: bool | None = None
    use_experimental_parser: bool | None = None
    static_parser: bool | None = None
    printer_width: int | None = None
    write_json: bool | None = None
    warn_error: bool | None = None
    warn_error_options: dict[str, Any] | None = None
    log_format: str | None = None
    debug: bool | None = None
    version_check: bool | None = None

    def __post_init__(self) -> None:
        if self.send_anonymous_usage_stats not in (True, False, None):
            raise CosmosValueError(
                f"dbt_config_vars: send_anonymous_usage_stats={self.send_anonymous_usage_stats!r} must be a boolean."
            )
        if self.log_format is not None and self.log_format not in _LOG_FORMATS:
            raise CosmosValueError(
                f"dbt_config_vars: log_format={self.log_format!r} must be one of {', '.join(_LOG_FORMATS)}."
            )

    def as_dict(self) -> dict[str, Any]:
        """The settings that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class BaseProfileMapping:
    """One way to log in to a warehouse, as dbt's adapter names the fields.

    :param conn_id: of the Airflow Connection; it is looked up when the profile is needed, never at parse time.
    :param profile_args: dbt fields that win over the Connection's, and further ones such as ``schema``, ``threads``.
    :param disable_event_tracking: deprecated, use ``dbt_config_vars``.
    :param dbt_config_vars: the ``config:`` block of the profile.
    :raises CosmosValueError: when ``profile_args`` names another ``type`` or ``method`` than this class is for, or two
        parameters say whether dbt reports its usage.
    """

    airflow_connection_type: ClassVar[str]
    dbt_profile_type: ClassVar[str]
    dbt_profile_method: ClassVar[str | None] = None
    is_community: ClassVar[bool] = False
    required_fields: ClassVar[tuple[str, ...]] = ()
    secret_fields: ClassVar[tuple[str, ...]] = ()
    #: dbt field -> Airflow fields, tried in order: an attribute of the Connection, or ``extra.KEY`` of its JSON.
    airflow_param_mapping: ClassVar[Mapping[str, str | tuple[str, ...]]] = {}
    #: dbt field -> what stands there when neither the arguments nor the Connection say anything.
    default_values: ClassVar[Mapping[str, Any]] = {}

    #: arguments that parsing needs too: dbt works out where a model will stand.
    kept_in_mock: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        conn_id: str,
        profile_args: Mapping[str, Any] | None = None,
        disable_event_tracking: bool | None = None,
        dbt_config_vars: DbtProfileConfigVars | None = None,
    ) -> None:
        self.conn_id = conn_id
        self.profile_args = dict(profile_args or {})
        self.disable_event_tracking = disable_event_tracking
        self.dbt_config_vars = dbt_config_vars
        self._refuse_other("type", self.dbt_profile_type)
        self._refuse_other("method", self.dbt_profile_method)
        if disable_event_tracking and dbt_config_vars and dbt_config_vars.send_anonymous_usage_stats is not None:
            raise CosmosValueError(
                "disable_event_tracking and dbt_config_vars.send_anonymous_usage_stats both say whether dbt reports "
                "its usage. Drop disable_event_tracking, which is deprecated."
            )
        if disable_event_tracking:
            warnings.warn(
                "disable_event_tracking is deprecated: use dbt_config_vars=DbtProfileConfigVars(...)",
                DeprecationWarning,
                stacklevel=2,
            )

    def _refuse_other(self, key: str, own: str | None) -> None:
        given = self.profile_args.get(key)
        if given is not None and given != own:
            raise CosmosValueError(
                f"profile_args[{key!r}] is {given!r}, but {type(self).__name__} is for {own!r}. "
                f"Drop the key, or take the mapping class of {given!r}."
            )

    @cached_property
    def conn(self) -> Connection:
        """The Airflow Connection, looked up once.

        :raises CosmosValueError: when Airflow has none of that id.
        """
        from cosmos_venv.compat import AirflowNotFoundException, get_connection

        try:
            return get_connection(self.conn_id)
        except AirflowNotFoundException:
            raise CosmosValueError(
                f"{type(self).__name__}: conn_id={self.conn_id!r}: Airflow has no connection of that id. Create it "
                f"(`airflow connections add {self.conn_id} --conn-type {self.airflow_connection_type} ...`, or the "
                f"environment variable AIRFLOW_CONN_{self.conn_id.upper()}), or correct conn_id."
            ) from None

    @property
    def profile(self) -> dict[str, Any]:
        """The dbt output: secrets as ``env_var`` calls, everything else in clear, nothing that is None."""
        fields = self._identity | dict(self.default_values)
        fields |= {name: self.get_dbt_value(name) for name in self.airflow_param_mapping if self.get_dbt_value(name)}
        fields |= self.profile_args
        fields |= {name: self.get_env_var_format(name) for name in self.secret_fields}
        return self.filter_null(fields)

    @property
    def mock_profile(self) -> dict[str, Any]:
        """What is enough for parsing: invented values, no Connection looked up, no secret even if one was given."""
        given = {name: self.profile_args.get(name) for name in self.required_fields if name not in self.secret_fields}
        mocked = {name: given.get(name) or MOCK_VALUE for name in self.required_fields}
        extra = {name: value for name in self.kept_in_mock if (value := self.profile_args.get(name))}
        return self._identity | dict(self.default_values) | mocked | extra

    @property
    def env_vars(self) -> dict[str, str]:
        """The environment that the profile's ``env_var`` calls read.

        :raises CosmosValueError: when neither the arguments nor the Connection hold a secret field.
        """
        found = {self.get_env_var_name(name): self._secret(name) for name in self.secret_fields}
        return found | (_NO_TRACKING if self.disable_event_tracking else {})

    def _secret(self, name: str) -> str:
        value = self.get_dbt_value(name)
        if value is None:
            raise CosmosValueError(
                f"{type(self).__name__}: neither the connection {self.conn_id!r} nor profile_args has a value for "
                f"{name!r}. Set the connection's {self._airflow_fields(name)[0]}."
            )
        return str(value)

    def validate(self) -> None:
        """See that dbt gets what it needs to log in, before it is started.

        :raises CosmosValueError: names the required fields for which there is no value. dbt itself would take some
            other database instead, such as DuckDB's in memory, and succeed.
        """
        profile = self.profile
        missing = [name for name in self.required_fields if name not in self.secret_fields and not profile.get(name)]
        if missing:
            wanted = ", ".join(f"{name} (the connection's {self._airflow_fields(name)[0]})" for name in missing)
            raise CosmosValueError(
                f"{type(self).__name__}: the connection {self.conn_id!r}, of type {self.conn.conn_type!r}, has no "
                f"value for {wanted}, and profile_args has none either. Set it in one of the two."
            )
        _ = self.env_vars

    def can_claim_connection(self) -> bool:
        """Whether the Connection is of this class's type and, with the arguments, holds every required field."""
        if self.conn.conn_type != self.airflow_connection_type:
            return False
        profile = self.profile
        return all(
            self.get_dbt_value(name) if name in self.secret_fields else profile.get(name)
            for name in self.required_fields
        )

    def get_profile_file_contents(
        self, profile_name: str, target_name: str = "cosmos_target", use_mock_values: bool = False
    ) -> str:
        """The text of a profiles.yml with this one profile. Holds no secret."""
        output = self.mock_profile if use_mock_values else self.profile
        profile: dict[str, Any] = {"target": target_name, "outputs": {target_name: output}}
        if self.dbt_config_vars is not None and (config := self.dbt_config_vars.as_dict()):
            profile["config"] = config
        return yaml.safe_dump({profile_name: profile}, indent=4)

    def get_dbt_value(self, name: str) -> Any:
        """The value of a dbt field: from the arguments, else from the first Airflow field that has one, else None."""
        if argument := self.profile_args.get(name):
            return argument
        for airflow_field in self._airflow_fields(name):
            if value := self._airflow_value(airflow_field):
                return value
        return None

    def _airflow_fields(self, name: str) -> tuple[str, ...]:
        fields = self.airflow_param_mapping.get(name, ())
        return (fields,) if isinstance(fields, str) else fields

    def _airflow_value(self, airflow_field: str) -> Any:
        if airflow_field.startswith(("extra.", "extra__")):
            return self.conn.extra_dejson.get(airflow_field.removeprefix("extra."))
        return getattr(self.conn, airflow_field, None)

    @property
    def _identity(self) -> dict[str, Any]:
        method = {} if self.dbt_profile_method is None else {"method": self.dbt_profile_method}
        return {"type": self.dbt_profile_type, **method}

    @classmethod
    def filter_null(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Without the fields that are None."""
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def get_env_var_name(cls, name: str) -> str:
        """Under which name the secret field reaches dbt."""
        return f"COSMOS_CONN_{cls.airflow_connection_type}_{name}".upper()

    @classmethod
    def get_env_var_format(cls, name: str) -> str:
        """How the profile asks dbt to read it."""
        return f"{{{{ env_var('{cls.get_env_var_name(name)}') }}}}"
