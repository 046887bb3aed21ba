"""Secrets reach dbt by its environment variables, and stand nowhere else."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import yaml
from airflow.sdk.log import mask_logs

from cosmos_venv import profiles
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles import GoogleCloudServiceAccountDictProfileMapping, PostgresUserPasswordProfileMapping
from tests.profiles.samples import connect

SECRET = "s3cret-word"
KEY = {"type": "service_account", "private_key_id": "s3cret-id", "private_key": SECRET, "client_email": "a@b.invalid"}


def test_the_keys_of_two_google_connections_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"project": "p", "dataset": "d"}
    for conn_id, key in (("first", "key-1"), ("second", "key-2")):
        keyfile = {**KEY, "private_key": key}
        connect(monkeypatch, conn_id, conn_type="google_cloud_platform", extra={**place, "keyfile_dict": keyfile})
    first, second = (GoogleCloudServiceAccountDictProfileMapping(each) for each in ("first", "second"))

    # Asked before and after the profile of either: on demand, of this connection.
    before = [mapping.env_vars["COSMOS_CONN_GOOGLE_CLOUD_PLATFORM_PRIVATE_KEY"] for mapping in (first, second)]
    assert first.profile == second.profile
    after = [mapping.env_vars["COSMOS_CONN_GOOGLE_CLOUD_PLATFORM_PRIVATE_KEY"] for mapping in (first, second)]

    assert before == after == ["key-1", "key-2"]


@pytest.mark.parametrize("key", [KEY, json.dumps(KEY)], ids=["object", "text"])
def test_a_key_that_is_given_as_argument_is_not_written_in_clear(
    key: dict[str, str] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, conn_type="google_cloud_platform")
    mapping = GoogleCloudServiceAccountDictProfileMapping(
        "sample", {"project": "p", "dataset": "d", "keyfile_json": key}
    )

    written = mapping.get_profile_file_contents("p") + mapping.get_profile_file_contents("p", use_mock_values=True)

    assert "s3cret" not in written
    assert "a@b.invalid" in written
    assert set(mapping.env_vars.values()) == {"s3cret-id", SECRET}
    assert mapping.can_claim_connection()


def test_a_broken_key_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="google_cloud_platform")
    mapping = GoogleCloudServiceAccountDictProfileMapping("sample", {"keyfile_json": f"{{{SECRET}"})

    with pytest.raises(CosmosValueError, match=r"the key in profile_args\['keyfile_json'\].* no JSON object") as raised:
        _ = mapping.env_vars

    assert SECRET not in str(raised.value)


def test_a_secret_that_no_class_declares_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="duckdb", host=f"md:harbor?motherduck_token={SECRET}-1")
    mapping = profiles.DuckDBUserPasswordProfileMapping(
        "sample",
        {
            "secrets": [{"type": "s3", "key_id": "known", "secret": f"{SECRET}-2"}],
            "settings": {"s3_secret_access_key": f"{SECRET}-3", "s3_region": "eu"},
            "motherduck_token": "{{ env_var('MY_TOKEN') }}",
        },
    )

    output = yaml.safe_load(mapping.get_profile_file_contents("p", "t"))["p"]["outputs"]["t"]

    assert SECRET not in str(output)
    assert output["secrets"][0]["key_id"] == "known"
    assert output["settings"]["s3_region"] == "eu"
    assert output["motherduck_token"] == "{{ env_var('MY_TOKEN') }}"
    assert mapping.env_vars == {
        "COSMOS_CONN_DUCKDB_PATH": f"md:harbor?motherduck_token={SECRET}-1",
        "COSMOS_CONN_DUCKDB_SECRETS_0_SECRET": f"{SECRET}-2",
        "COSMOS_CONN_DUCKDB_SETTINGS_S3_SECRET_ACCESS_KEY": f"{SECRET}-3",
    }


def test_neither_text_nor_pickle_nor_copy_of_a_mapping_holds_the_connections_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", f"postgres://u:{SECRET}@h/d")
    mapping = PostgresUserPasswordProfileMapping("sample", {"sslpassword": "s3cret-argument"})
    _ = mapping.env_vars

    assert repr(mapping) == "PostgresUserPasswordProfileMapping(conn_id='sample', profile_args=['sslpassword'])"
    assert SECRET.encode() not in pickle.dumps(mapping)
    assert "conn" not in vars(copy.deepcopy(mapping))


def test_a_copy_for_another_connection_reads_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node's own ``meta.cosmos.profile_config`` is put on a copy."""
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", "postgres://u:p@first/d")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "postgres://u:p@second/d")
    mapping = PostgresUserPasswordProfileMapping("sample")
    assert mapping.profile["host"] == "first"

    other = copy.copy(mapping)
    other.conn_id = "other"

    assert (mapping.profile["host"], other.profile["host"]) == ("first", "second")


def test_a_database_without_a_password_is_asked_for_by_saying_so(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="generic", host="h", login="default", schema="s", extra={"clickhouse": "yes"})

    with pytest.raises(CosmosValueError, match=r"Where the database wants none, say profile_args=\{'password': ''\}"):
        profiles.ClickhouseUserPasswordProfileMapping("sample").validate()
    silent = profiles.ClickhouseUserPasswordProfileMapping("sample", {"password": ""})
    silent.validate()
    assert silent.env_vars == {"COSMOS_CONN_GENERIC_PASSWORD": ""}


def test_airflow_masks_a_secret_that_was_given_as_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", "postgres://u@h/d")
    mapping = PostgresUserPasswordProfileMapping("sample", {"password": "given-as-an-argument", "sslpassword": "abc"})

    variables = mapping.env_vars

    line = {"event": f"dbt said {' '.join(variables.values())}"}
    assert mask_logs(None, "info", line)["event"] == "dbt said *** abc"


@pytest.mark.parametrize(
    "argument",
    [
        {"secrets": [{"type": "azure", "connection_string": "AccountName=a;AccountKey=s3cret"}]},
        {"attach": [{"path": "other.db", "options": {"ENCRYPTION_KEY": "s3cret"}}]},
        {"apikey": "s3cret"},
        {"options": {"dsn": "Server=tcp:x;AccountKey=s3cret"}},
        {"anything": "-----BEGIN PRIVATE KEY-----s3cret"},
    ],
)
def test_secrets_of_the_usual_forms_are_known(argument: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="duckdb", host="/data/harbor.db")
    mapping = profiles.DuckDBUserPasswordProfileMapping("sample", argument)

    written = mapping.get_profile_file_contents("p") + mapping.get_profile_file_contents("p", use_mock_values=True)

    assert "s3cret" not in written
    assert "s3cret" in "".join(map(str, mapping.env_vars.values()))


def test_what_only_sounds_like_a_secret_stays_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="duckdb", host="/data/harbor.db")
    plain = {"auth": "jwt", "private_key_path": "/keys/a.p8", "keepalives_idle": 5, "sslkey": "/keys/b.pem"}
    mapping = profiles.DuckDBUserPasswordProfileMapping("sample", plain)

    assert mapping.env_vars == {}
