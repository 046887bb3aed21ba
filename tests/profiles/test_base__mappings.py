"""Promises of a mapping beside the record: clear errors, settings of dbt's own, the user's own subclasses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos_venv import profiles
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles import BaseProfileMapping, DbtProfileConfigVars, PostgresUserPasswordProfileMapping
from tests.profiles.samples import connect

SECRET = "s3cret-word"


def test_a_connection_that_does_not_exist_is_named_with_the_way_out() -> None:
    mapping = PostgresUserPasswordProfileMapping("no_such_conn")

    with pytest.raises(CosmosValueError, match=r"conn_id='no_such_conn'.*AIRFLOW_CONN_NO_SUCH_CONN"):
        _ = mapping.profile


def test_another_type_in_the_arguments_is_refused_when_the_mapping_is_made() -> None:
    with pytest.raises(CosmosValueError, match=r"profile_args\['type'\] is 'redshift'"):
        PostgresUserPasswordProfileMapping("c", {"type": "redshift"})


def test_config_vars_stand_beside_the_profile_and_two_mappings_do_not_share_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = PostgresUserPasswordProfileMapping("c")
    quiet = PostgresUserPasswordProfileMapping("c", dbt_config_vars=DbtProfileConfigVars(log_format="json"))

    assert "config" not in yaml.safe_load(plain.get_profile_file_contents("p", use_mock_values=True))["p"]
    assert yaml.safe_load(quiet.get_profile_file_contents("p", use_mock_values=True))["p"]["config"] == {
        "send_anonymous_usage_stats": False,
        "log_format": "json",
    }


def test_a_log_format_that_dbt_does_not_know_is_refused() -> None:
    with pytest.raises(CosmosValueError, match="log_format='xml'"):
        DbtProfileConfigVars(log_format="xml")


def test_two_settings_that_dbt_does_not_take_together_are_refused_or_told_apart() -> None:
    with pytest.raises(CosmosValueError, match=r"warn_error=True and warn_error_options=.* exclude each other"):
        DbtProfileConfigVars(warn_error=True, warn_error_options={"include": "all"})

    settings = DbtProfileConfigVars(False, warn_error=False, warn_error_options={"include": "all"})

    assert settings.as_env() == {
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
        "DBT_WARN_ERROR_OPTIONS": '{"include": "all"}',
    }


def test_the_old_tracking_flag_warns_and_works() -> None:
    with pytest.warns(DeprecationWarning, match="dbt_config_vars"):
        mapping = profiles.DuckDBUserPasswordProfileMapping("c", {"path": "x.duckdb"}, disable_event_tracking=True)

    assert mapping.env_vars == {"DBT_SEND_ANONYMOUS_USAGE_STATS": "False", "DO_NOT_TRACK": "1"}


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        pytest.param("duckdb:////data/harbor.duckdb", r"has no value for path \(the connection's host\)", id="uri"),
        pytest.param({"conn_type": "duckdb", "host": "harbor.duckdb"}, "relative.*absolute path", id="relative"),
    ],
)
def test_a_duckdb_file_that_dbt_would_not_find_is_refused(
    connection: str | dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dbt would write to memory, or into the folder of the run, and succeed: green tasks, nothing kept."""
    given = connection if isinstance(connection, str) else json.dumps(connection)
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", given)
    mapping = profiles.DuckDBUserPasswordProfileMapping("sample")

    with pytest.raises(CosmosValueError, match=words):
        mapping.validate()


@pytest.mark.parametrize(
    "path",
    [":memory:", "md:harbor", "{{ env_var('DUCKDB_PATH') }}"],
)
def test_a_duckdb_that_is_somewhere_is_taken(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", json.dumps({"conn_type": "duckdb", "host": path}))

    profiles.DuckDBUserPasswordProfileMapping("sample").validate()


def test_a_default_applies_wherever_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="generic", port=8443, extra={"clickhouse": "yes"})
    mapping = profiles.ClickhouseUserPasswordProfileMapping("sample", {"port": "", "secure": True})

    assert (mapping.profile["port"], mapping.profile["secure"]) == (9000, True)


def test_a_path_object_is_written_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="duckdb")
    mapping = profiles.DuckDBUserPasswordProfileMapping("sample", {"path": Path("/data/x.duckdb")})

    written = mapping.get_profile_file_contents("p") + mapping.get_profile_file_contents("p", use_mock_values=True)

    assert written.count("path: /data/x.duckdb\n") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"profile_args": [SECRET]}, "Postgres.*: profile_args must be a dict, not list", id="args"),
        pytest.param({"dbt_config_vars": {"debug": True}}, "must be a DbtProfileConfigVars", id="config-vars"),
    ],
)
def test_arguments_of_another_kind_are_refused_without_showing_secrets(arguments: Any, words: str) -> None:
    with pytest.raises(CosmosValueError, match=words) as raised:
        PostgresUserPasswordProfileMapping("c", **arguments)

    assert SECRET not in str(raised.value)


def test_the_config_vars_are_part_of_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", "postgres://u:p@h/d")
    settings = [None, DbtProfileConfigVars(), DbtProfileConfigVars(debug=True)]

    versions = {
        PostgresUserPasswordProfileMapping("sample", dbt_config_vars=each).version("p", "t", mock_profile=is_mock)
        for each in settings
        for is_mock in (False, True)
    }

    assert len(versions) == 6


class OwnMapping(BaseProfileMapping):
    """A mapping as users of Cosmos write theirs: lists, a transformation, a profile put together by hand."""

    airflow_connection_type = "own"
    dbt_profile_type = "own_adapter"
    required_fields = ["host", "token"]  # noqa: RUF012 - as users write it
    secret_fields = ["token"]  # noqa: RUF012
    airflow_param_mapping = {"host": "host", "token": ["password", "extra.token"], "port": "port"}  # noqa: RUF012

    def transform_host(self, host: str) -> str:
        return host.upper()

    @property
    def profile(self) -> dict[str, Any]:
        return {**self.mapped_params, **self.profile_args, "token": self.get_env_var_format("token")}

    @property
    def mock_profile(self) -> dict[str, Any]:
        return {"port": 1, **super().mock_profile}


def test_a_users_own_class_works_as_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="own", host="pier", extra={"token": SECRET})
    mapping = OwnMapping("sample", {"threads": 2})

    mapping.validate()

    assert mapping.can_claim_connection()
    assert yaml.safe_load(mapping.get_profile_file_contents("p", "t"))["p"]["outputs"]["t"] == {
        "type": "own_adapter",
        "host": "PIER",
        "threads": 2,
        "token": "{{ env_var('COSMOS_CONN_OWN_TOKEN') }}",
    }
    assert mapping.env_vars == {"COSMOS_CONN_OWN_TOKEN": SECRET}
    assert mapping.mock_profile == {"port": 1, "type": "own_adapter", "host": "mock_value", "token": "mock_value"}


def test_a_missing_provider_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="aws", login="AKIA", password=SECRET)
    monkeypatch.setitem(sys.modules, "airflow.providers.amazon.aws.hooks.base_aws", None)

    with pytest.raises(CosmosValueError, match=r"Athena.*'sample'.*Install apache-airflow-providers-amazon"):
        profiles.AthenaAccessKeyProfileMapping("sample").validate()
