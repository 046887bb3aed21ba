"""The recorded samples (``tests/data/profiles.json``), and where this project means to differ from the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import profiles
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles import BaseProfileMapping, DbtProfileConfigVars

if TYPE_CHECKING:
    import pytest

Sample = dict[str, Any]

DATA = json.loads((Path(__file__).parents[1] / "data" / "profiles.json").read_text(encoding="utf-8"))
CLASSES: dict[str, dict[str, Any]] = {case["class_name"]: case for case in DATA["classes"]}
SAMPLES: dict[str, Sample] = {
    sample["id"]: {**sample, "class_name": case["class_name"]} for case in DATA["classes"] for sample in case["samples"]
}

PORTS = {
    "MysqlUserPasswordProfileMapping": 3306,
    "OracleUserPasswordProfileMapping": 1521,
    "PostgresUserPasswordProfileMapping": 5432,
    "RedshiftUserPasswordProfileMapping": 5439,
    "VerticaUserPasswordProfileMapping": 5433,
}
"""Recorded: the default port is in no real profile of these classes. Here it is, where the connection has no port."""

_TOKEN = "COSMOS_CONN_VERTICA_OAUTH_ACCESS_TOKEN"

DIFFERENT: dict[str, tuple[str, dict[str, Any]]] = {
    "AthenaAccessKeyProfileMapping:no_token": (
        "no token, no variable: recorded is one with the text None",
        {"env_vars": {"COSMOS_CONN_AWS_AWS_SESSION_TOKEN": None}},
    ),
    "AthenaAccessKeyProfileMapping:missing_required": (
        "as no_token",
        {"env_vars": {"COSMOS_CONN_AWS_AWS_SESSION_TOKEN": None}},
    ),
    "DatabricksOauthProfileMapping:login_password": (
        "the host loses https:// as with a token: dbt puts its own before it",
        {"profile": {"host": "dbx.example.invalid"}},
    ),
    "DatabricksTokenProfileMapping:args": (
        "no secret in a file, be it the one for parsing",
        {"mock_profile": {"token": "mock_value"}},
    ),
    "ExasolUserPasswordProfileMapping:false_extra_dropped": (
        "a False of the connection is a value",
        {"profile": {"encryption": False}},
    ),
    "GoogleCloudServiceAccountDictProfileMapping:missing_private_key": (
        "a broken key has no variables, rather than the empty ones that the record has",
        {"env_vars": {"error": "CosmosValueError"}},
    ),
    "GoogleCloudServiceAccountDictProfileMapping:not_an_object": (
        "as missing_private_key",
        {"env_vars": {"error": "CosmosValueError"}},
    ),
    "PostgresUserPasswordProfileMapping:config_vars": (
        "dbt reads no config block inside a profile, so that these settings had no effect",
        {
            "env_vars": {
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
                "DBT_PARTIAL_PARSE": "True",
                "DBT_WARN_ERROR_OPTIONS": '{"include": "all"}',
                "DBT_LOG_FORMAT": "json",
            }
        },
    ),
    "PostgresUserPasswordProfileMapping:tracking_and_other_config_vars": (
        "as config_vars",
        {"env_vars": {"DBT_DEBUG": "True"}},
    ),
    "PostgresUserPasswordProfileMapping:port_arg": (
        "no secret in a file, be it the one for parsing",
        {"mock_profile": {"password": "mock_value"}},
    ),
    "PostgresUserPasswordProfileMapping:type_same": (
        "a type in the arguments narrows the automatic choice; recorded: the first class of another type raises",
        {"automatic": "PostgresUserPasswordProfileMapping"},
    ),
    "SnowflakePrivateKeyFilePemProfileMapping:legacy_extra_not_read": (
        "every class reads the old prefix",
        {
            "can_claim": True,
            "profile": {"account": "la", "warehouse": "lw", "database": "ld", "private_key_path": "keys/l.p8"},
        },
    ),
    "SnowflakeUserPasswordProfileMapping:args": (
        "no secret in a file, be it the one for parsing",
        {"mock_profile": {"password": "mock_value"}},
    ),
    "SnowflakeUserPasswordProfileMapping:legacy_without_account": (
        "the old prefix is read field by field, as Airflow's own hook does it, whether there is an account or not",
        {
            "can_claim": True,
            "profile": {"warehouse": "lw", "database": "ld"},
            "automatic": "SnowflakeUserPasswordProfileMapping",
        },
    ),
    "SparkThriftProfileMapping:no_port": (
        "as type_same, for a method",
        {"automatic": "SparkThriftProfileMapping"},
    ),
    "TrinoJWTProfileMapping:jwt_arg_removed": (
        "dbt knows no field jwt, and what stands there is a token",
        {"profile": {"jwt": None}},
    ),
    "TrinoJWTProfileMapping:token_arg": (
        "no secret in a file, be it the one for parsing",
        {"mock_profile": {"jwt_token": "mock_value"}},
    ),
    "VerticaUserPasswordProfileMapping:full": (
        "a token of the connection is a secret",
        {"profile": {"oauth_access_token": f"{{{{ env_var('{_TOKEN}') }}}}"}, "env_vars": {_TOKEN: "oat"}},
    ),
}
"""Sample -> why ours is another, and what is another in it; None for a field that ours lacks."""


def class_of(sample: Sample) -> type[BaseProfileMapping]:
    cls: type[BaseProfileMapping] = getattr(profiles, sample["class_name"])
    return cls


def make(sample: Sample, conn_id: str = "sample") -> BaseProfileMapping:
    options = dict(sample.get("options") or {})
    if "dbt_config_vars" in options:
        options["dbt_config_vars"] = DbtProfileConfigVars(**options["dbt_config_vars"])
    return class_of(sample)(conn_id=conn_id, profile_args=sample["profile_args"], **options)


def recorded(sample: Sample, part: str) -> Any:
    """The recorded part, as far as it can be told from a file: a field that is None is none."""
    value = sample["expected"].get(part)
    if isinstance(value, dict) and "error" in value:
        # Where no class claims it was a plain ValueError, of which ours is a subclass.
        return {"error": CosmosValueError.__name__}
    return _without_none(value) if part in ("profile", "mock_profile") else value


def wanted(sample: Sample, part: str) -> Any:
    """The record, put right."""
    value = recorded(sample, part)
    if part == "profile" and sample["class_name"] in PORTS and "error" not in value:
        value = {"port": PORTS[sample["class_name"]], **value}
    _, changes = DIFFERENT.get(sample["id"], ("", {}))
    if part not in changes:
        return value
    if not isinstance(value, dict) or not isinstance(changes[part], dict) or "error" in changes[part]:
        return changes[part]
    return _without_none(value | changes[part])


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str = "sample", **fields: Any) -> None:
    """An Airflow Connection for one test, such as ``conn_type="postgres", host="h", extra={"sslmode": "require"}``."""
    extra = json.dumps(fields.pop("extra", None) or {})
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**fields, "extra": extra}))


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
