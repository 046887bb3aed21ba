"""The base class that makes a dbt profile of an Airflow Connection; secrets stand only in environment variables.

A mapping class is a table: which Airflow field feeds which dbt field, which are required, which are secret. This engine
reads the table; a warehouse that needs more overrides a method. This file also has dbt's own settings for a
profiles.yml, the names of a Connection's fields, and the other names that dbt's adapters take for a field.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv.exceptions import CosmosValueError, deprecated
from cosmos_venv.profiles.env_var_secrets import env_var_call, seal, without_secrets

if TYPE_CHECKING:
    from airflow.sdk import Connection


_LOG_FORMATS = ("text", "json", "default")


@dataclass
class DbtProfileConfigVars:
    """dbt's global settings for the commands that use a profile. None leaves a setting to dbt.

    They are written into the profile's ``config:`` block, as in Cosmos, and into environment variables: dbt does not
    read a block in a profile. It reads a block beside the profiles, but refuses it where dbt_project.yml has ``flags``.

    :param send_anonymous_usage_stats: whether dbt reports its use to its makers.
    :param partial_parse: whether dbt reads a parse file.
    :param use_experimental_parser, static_parser: which parsers dbt tries before Jinja.
    :param printer_width: characters of a line of output.
    :param write_json: whether dbt writes its artifacts.
    :param warn_error: whether each warning is an error.
    :param warn_error_options: which warnings are errors, as dbt's mapping of ``error``, ``warn`` and ``silence``.
    :param log_format: ``text``, ``json`` or ``default``.
    :param debug: whether dbt logs at level DEBUG.
    :param version_check: whether dbt refuses a project that requires another version.
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
        if self.log_format is not None and self.log_format not in _LOG_FORMATS:
            raise CosmosValueError(
                f"dbt_config_vars: log_format={self.log_format!r} must be one of {', '.join(_LOG_FORMATS)}."
            )
        if self.warn_error and self.warn_error_options is not None:
            raise CosmosValueError(
                f"dbt_config_vars: warn_error=True and warn_error_options={self.warn_error_options!r} exclude each "
                "other in dbt. Drop one of them."
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings that were given: dbt's name -> value."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def as_env(self) -> dict[str, str]:
        """Return the settings that were given, as environment variables for dbt."""
        given = self.as_dict()
        if "warn_error_options" in given:
            given.pop("warn_error", None)  # dbt refuses both together, even where one is False
        return {f"DBT_{name}".upper(): _text(value) for name, value in given.items()}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def find_connection(conn_id: str, *, asker: str, conn_type: str) -> Connection:
    """Return an Airflow Connection.

    :param conn_id: its id.
    :param asker: the parameter that names it, for the error.
    :param conn_type: the type that it should have, for the error.
    :raises CosmosValueError: when Airflow has none of that id.
    """
    from cosmos_venv.compat import AirflowNotFoundException, get_connection

    try:
        return get_connection(conn_id)
    except AirflowNotFoundException:
        raise CosmosValueError(
            f"{asker}: conn_id={conn_id!r}: Airflow has no connection of that id. Create it "
            f"(`airflow connections add {conn_id} --conn-type {conn_type} ...`, or the "
            f"environment variable AIRFLOW_CONN_{conn_id.upper()}), or correct conn_id."
        ) from None


def extras(names: str) -> dict[str, str]:
    """Return the Airflow fields of the dbt fields that a Connection has under the same name in its extra.

    :param names: of the dbt fields, separated by blanks.
    """
    return {name: f"extra.{name}" for name in names.split()}


def login(user: str = "user", host: str = "host") -> dict[str, str]:
    """Return the Airflow fields of a server to which a user logs in by a password.

    :param user: the adapter's name for the user.
    :param host: the adapter's name for the server.
    """
    return {host: "host", user: "login", "password": "password", "port": "port"}


_SAME = (
    frozenset({"database", "dbname", "catalog", "project", "target_catalog"}),
    frozenset({"schema", "dataset", "target_schema"}),
    frozenset({"user", "username", "UID"}),
    frozenset({"host", "server"}),
)


def names_of(field: str) -> frozenset[str]:
    """Return a field's name, and the other names that dbt's adapters take for it.

    :param field: a field of a dbt profile.
    """
    return next((names for names in _SAME if field in names), frozenset({field}))


__all__ = ["MOCK_VALUE", "BaseProfileMapping", "DbtProfileConfigVars"]

MOCK_VALUE = "mock_value"
_NO_TRACKING = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "False", "DO_NOT_TRACK": "1"}


class BaseProfileMapping:
    """A way to log in to a warehouse, with the fields as dbt's adapter names them.

    :param conn_id: of the Airflow Connection; it is looked up when the profile is needed, never at parse time.
    :param profile_args: dbt fields that win over the Connection's, and further ones such as ``schema``, ``threads``.
    :param disable_event_tracking: deprecated, use ``dbt_config_vars``.
    :param dbt_config_vars: dbt's own settings.
    :raises CosmosValueError: when ``profile_args`` names another ``type`` or ``method`` than this class is for, or two
        parameters say whether dbt reports its usage.
    """

    airflow_connection_type: ClassVar[str]
    dbt_profile_type: ClassVar[str]
    dbt_profile_method: ClassVar[str | None] = None
    required_fields: ClassVar[Sequence[str]] = ()
    secret_fields: ClassVar[Sequence[str]] = ()
    #: dbt field -> Airflow fields, tried in order: an attribute of the Connection, or ``extra.KEY`` of its JSON.
    airflow_param_mapping: ClassVar[Mapping[str, str | Sequence[str]]] = {}
    #: dbt field -> its value when neither the arguments nor the Connection have one.
    default_values: ClassVar[Mapping[str, Any]] = {}
    #: dbt field -> its value, whatever the arguments and the Connection say.
    fixed_values: ClassVar[Mapping[str, Any]] = {}
    #: dbt field -> its value in the profile for parsing; None: the defaults.
    mock_values: ClassVar[Mapping[str, Any] | None] = None
    #: arguments that parsing needs too: dbt works out where a model will stand.
    kept_in_mock: ClassVar[Sequence[str]] = ()
    #: fields without which dbt refuses the profile, although no Connection has them and Cosmos requires none.
    needed_by_dbt: ClassVar[Sequence[str]] = ()
    #: required fields that dbt does without: they tell one class from another, or the adapter has a default.
    optional_in_dbt: ClassVar[Sequence[str]] = ()
    #: Airflow fields that mean another class: with a value in one of them the Connection is not claimed.
    claims_without: ClassVar[Sequence[str]] = ()

    def __init__(
        self,
        conn_id: str,
        profile_args: Mapping[str, Any] | None = None,
        disable_event_tracking: bool | None = None,
        dbt_config_vars: DbtProfileConfigVars | None = None,
    ) -> None:
        self.conn_id = conn_id
        self.profile_args = self._checked(profile_args)
        self.disable_event_tracking = disable_event_tracking
        self.dbt_config_vars = dbt_config_vars
        if dbt_config_vars is not None and not isinstance(dbt_config_vars, DbtProfileConfigVars):
            raise CosmosValueError(
                f"{type(self).__name__}: dbt_config_vars={dbt_config_vars!r} must be a DbtProfileConfigVars(...)."
            )
        if disable_event_tracking and dbt_config_vars and dbt_config_vars.send_anonymous_usage_stats is not None:
            raise CosmosValueError(
                "disable_event_tracking and dbt_config_vars.send_anonymous_usage_stats both say whether dbt reports "
                "its usage. Drop disable_event_tracking, which is deprecated."
            )
        if disable_event_tracking:
            deprecated("disable_event_tracking", "dbt_config_vars=DbtProfileConfigVars(...)")

    @classmethod
    def _checked(cls, profile_args: Mapping[str, Any] | None) -> dict[str, Any]:
        if profile_args is not None and not isinstance(profile_args, Mapping):
            # The error does not show the value, which may be a secret.
            raise CosmosValueError(f"{cls.__name__}: profile_args must be a dict, not {type(profile_args).__name__}.")
        given = dict(profile_args or {})
        for key in cls.contradicted_by(given):
            own = getattr(cls, f"dbt_profile_{key}")
            raise CosmosValueError(
                f"profile_args[{key!r}] is {given[key]!r}, but {cls.__name__} is for {own!r}. "
                f"Drop the key, or take the mapping class of {given[key]!r}."
            )
        return given

    @classmethod
    def contradicted_by(cls, profile_args: Mapping[str, Any]) -> list[str]:
        """Return the names among ``type`` and ``method`` to which the arguments give another value than this class is
        for.

        :param profile_args: dbt fields that a user gave.
        """
        own = {"type": cls.dbt_profile_type, "method": cls.dbt_profile_method}
        return [key for key in own if profile_args.get(key) not in (None, own[key])]

    def __repr__(self) -> str:
        """Values are left out: one of them may be a password."""
        return f"{type(self).__name__}(conn_id={self.conn_id!r}, profile_args={sorted(map(str, self.profile_args))})"

    def __getstate__(self) -> dict[str, Any]:
        """Without the Connection: its password travels in no pickle, and a copy may get another ``conn_id``."""
        return {name: value for name, value in vars(self).items() if name not in ("conn", "credentials")}

    @cached_property
    def conn(self) -> Connection:
        """The Airflow Connection, looked up once.

        :raises CosmosValueError: when Airflow has none of that id.
        """
        return find_connection(self.conn_id, asker=type(self).__name__, conn_type=self.airflow_connection_type)

    @property
    def profile(self) -> dict[str, Any]:
        """The dbt output: secrets as ``env_var`` calls, everything else in clear, nothing that is None."""
        return self.filter_null(self._sealed()[0])

    @property
    def mock_profile(self) -> dict[str, Any]:
        """An output that is enough for parsing: invented values, no Connection looked up, no secret even if one was
        given.
        """
        names = (*self.required_fields, *self.kept_in_mock)
        given = {name: value for name in names if (value := self.profile_args.get(name))}
        mocked = dict.fromkeys(self.required_fields, MOCK_VALUE)
        invented = self.default_values if self.mock_values is None else self.mock_values
        return self.filter_null(
            {
                **(self._identity | mocked | without_secrets(given, self.secret_fields)),
                **invented,
                **self.fixed_values,
            }
        )

    @property
    def env_vars(self) -> dict[str, str]:
        """The environment variables that the profile's ``env_var`` calls read, and dbt's own settings.

        Airflow is told to mask the secrets in the task's log, where dbt might name them.

        :raises CosmosValueError: when neither the arguments nor the Connection hold a secret field.
        """
        for name, value in self.secrets().items():
            if value is None:
                way_out = (
                    " Where the database wants none, say profile_args={'password': ''}." if name == "password" else ""
                )
                raise CosmosValueError(self._missing(name) + way_out)
        variables = {name: str(value) for name, value in self._sealed()[1].items()}
        for secret in variables.values():
            # Airflow masks the Connection's password itself, but neither an argument nor a token in a path.
            from cosmos_venv.compat import mask_in_logs  # imports Airflow; a profile without secrets needs no Airflow

            mask_in_logs(secret)
        settings = self.dbt_config_vars.as_env() if self.dbt_config_vars else {}
        return variables | settings | (_NO_TRACKING if self.disable_event_tracking else {})

    @property
    def mapped_params(self) -> dict[str, Any]:
        """``type``, ``method`` and every mapped field, None included; secrets in clear, as the fields hold them."""
        return self._identity | {name: self.get_dbt_value(name) for name in self.airflow_param_mapping}

    def clear_profile(self) -> dict[str, Any]:
        """The fields with their real values: never to be shown or written, only to be sealed."""
        fields = {**self.mapped_params, **self.profile_args, **self.secrets(), **self.fixed_values}
        defaults = {name: value for name, value in self.default_values.items() if fields.get(name) in (None, "")}
        return fields | defaults

    def secrets(self) -> dict[str, Any]:
        """The values of the secret fields, None for a field without a value.

        An empty text in the arguments counts only here, and only when the Connection has no value: it says that the
        database wants no password.
        """
        found = {name: self.get_dbt_value(name) for name in self.secret_fields}
        return {name: self.profile_args.get(name) if value is None else value for name, value in found.items()}

    def _sealed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return seal(self.clear_profile(), self.secret_fields, self.get_env_var_name)

    def validate(self) -> None:
        """Refuse a profile with which dbt could not log in, before dbt is started.

        :raises CosmosValueError: names the required fields for which there is no value. dbt itself would take some
            other database instead, such as DuckDB's in memory, and succeed.
        """
        needed = [name for name in (*self.required_fields, *self.needed_by_dbt) if name not in self.optional_in_dbt]
        given = {name for name, value in self.profile.items() if value}
        # Secrets are checked where they are sealed.
        missing = [name for name in needed if name not in self.secret_fields and not given & names_of(name)]
        if missing:
            raise CosmosValueError(self._missing(*missing))
        _ = self.env_vars

    def _missing(self, *names: str) -> str:
        wanted = ", ".join(f"{name} ({self._place(name)})" for name in names)
        return (
            f"{type(self).__name__}: the connection {self.conn_id!r}, of type {self.conn.conn_type!r}, has no "
            f"value for {wanted}, and profile_args has none either. Set it in one of the two."
        )

    def _place(self, name: str) -> str:
        fields = self._airflow_fields(name)
        return f"the connection's {fields[0]}" if fields else f"only profile_args={{{name!r}: ...}} can have it"

    def can_claim_connection(self) -> bool:
        """Return whether the Connection is of this class's type and, with the arguments, holds every required field."""
        return self.conn.conn_type == self.airflow_connection_type and not self.why_not_claimed()

    def why_not_claimed(self) -> str:
        """Return why this class does not take a Connection of its type; empty when it does."""
        for airflow_field in self.claims_without:
            if self._airflow_value(airflow_field):
                return f"the connection has {airflow_field}, which is for another class"
        values = self.profile | self.secrets()
        missing = [name for name in self.required_fields if not values.get(name)]
        return f"no value for {', '.join(f'{name} ({self._place(name)})' for name in missing)}" if missing else ""

    def version(self, profile_name: str, target_name: str, mock_profile: bool = False) -> str:
        """Return a digest of all that the profiles.yml says, for caches: equal for equal files. No secret goes into it.

        :param profile_name: name of the profile in the file.
        :param target_name: name of its target.
        :param mock_profile: whether the file is the one with invented values.
        """
        identity = (self.mock_profile if mock_profile else self.profile) | {
            "profile_name": profile_name,
            "target_name": target_name,
        }
        if config := self._config():
            identity["config"] = config
        if self.disable_event_tracking:
            identity["disable_event_tracking"] = True
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()

    def get_profile_file_contents(
        self, profile_name: str, target_name: str = "cosmos_target", use_mock_values: bool = False
    ) -> str:
        """Return the text of a profiles.yml with this one profile. It holds no secret.

        :param profile_name: name of the profile in the file.
        :param target_name: name of its target.
        :param use_mock_values: whether the values are invented ones, for parsing.
        """
        import yaml

        output = self.filter_null(self.mock_profile if use_mock_values else self.profile)
        profile: dict[str, Any] = {"target": target_name, "outputs": {target_name: output}}
        if config := self._config():
            profile["config"] = config
        return yaml.safe_dump({profile_name: profile}, indent=4)

    def _config(self) -> dict[str, Any]:
        return {} if self.dbt_config_vars is None else self.dbt_config_vars.as_dict()

    def get_dbt_value(self, name: str) -> Any:
        """Return the value of a dbt field: from the arguments, else from the first Airflow field that has one, else
        None.

        A method ``transform_<field>`` of the class makes dbt's value of Airflow's; arguments stay as they are.

        :param name: of the dbt field.
        """
        if argument := self.profile_args.get(name):
            return argument
        for airflow_field in self._airflow_fields(name):
            if (value := self._airflow_value(airflow_field)) is not None:
                transform = getattr(self, f"transform_{name}", None)
                return transform(value) if transform else value
        return None

    def _airflow_fields(self, name: str) -> Sequence[str]:
        fields = self.airflow_param_mapping.get(name, ())
        return (fields,) if isinstance(fields, str) else fields

    def _airflow_value(self, airflow_field: str) -> Any:
        """The value of one field of the Connection; None when it has none.

        A field ``extra.KEY`` is read from the Connection's JSON, with ``KEY`` as the key; a field ``extra__KEY`` too,
        with its whole name as the key. False and 0 are values there. Any other field is an attribute of the Connection:
        0 and the empty text are no values there.
        """
        if not airflow_field.startswith(("extra.", "extra__")):
            return getattr(self.conn, airflow_field, None) or None
        value = self.conn.extra_dejson.get(airflow_field.removeprefix("extra."))
        return None if value == "" else value

    @property
    def _identity(self) -> dict[str, Any]:
        method = {} if self.dbt_profile_method is None else {"method": self.dbt_profile_method}
        return {"type": self.dbt_profile_type, **method}

    @classmethod
    def filter_null(cls, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that are not None.

        :param args: dbt field -> value.
        """
        return {name: value for name, value in args.items() if value is not None}

    @classmethod
    def get_env_var_name(cls, name: str) -> str:
        """Return the environment variable by which a secret field reaches dbt.

        :param name: of the dbt field.
        """
        return f"COSMOS_CONN_{cls.airflow_connection_type}_{name}".upper()

    @classmethod
    def get_env_var_format(cls, name: str) -> str:
        """Return the text with which the profile asks dbt to read that variable.

        :param name: of the dbt field.
        """
        return env_var_call(cls.get_env_var_name(name))
