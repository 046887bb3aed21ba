"""The mapping classes against recorded samples of the established implementation (``tests/data/profiles.json``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import Connection

from cosmos_venv import profiles
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles import BaseProfileMapping, DbtProfileConfigVars, PostgresUserPasswordProfileMapping

Sample = dict[str, Any]

DATA = json.loads((Path(__file__).parents[1] / "data" / "profiles.json").read_text(encoding="utf-8"))
SAMPLES = [
    pytest.param(getattr(profiles, case["class_name"]), sample, id=sample["id"])
    for case in DATA["classes"]
    for sample in case["samples"]
    if "constructor" not in sample["expected"]
]
REFUSED = [
    pytest.param(getattr(profiles, case["class_name"]), sample, id=sample["id"])
    for case in DATA["classes"]
    for sample in case["samples"]
    if "constructor" in sample["expected"]
]
pytestmark = pytest.mark.filterwarnings("ignore:disable_event_tracking:DeprecationWarning")


def better_profile(cls: type[BaseProfileMapping], recorded: dict[str, Any]) -> dict[str, Any]:
    """Cosmos's mappings have a default port that never reaches the profile; here it does."""
    return {**cls.default_values, **recorded}


def better_mock(cls: type[BaseProfileMapping], recorded: dict[str, Any]) -> dict[str, Any]:
    """A password given as an argument stood in clear in the file that is written for parsing (weak point 4)."""
    return {**recorded, **dict.fromkeys(cls.secret_fields, "mock_value")}


def file_of(output: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    return {"prof": {"target": "tgt", "outputs": {"tgt": output}} | ({"config": config} if config else {})}


def make(cls: type[BaseProfileMapping], sample: Sample, conn_id: str = "sample") -> BaseProfileMapping:
    options = dict(sample.get("options") or {})
    if "dbt_config_vars" in options:
        options["dbt_config_vars"] = DbtProfileConfigVars(**options["dbt_config_vars"])
    return cls(conn_id=conn_id, profile_args=sample["profile_args"], **options)


@pytest.fixture
def connected(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample's connection, as Airflow finds it."""
    given = {**sample["connection"], "extra": json.dumps(sample["connection"].get("extra") or {})}
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", json.dumps(given))


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(("cls", "sample"), SAMPLES)
def test_a_connection_becomes_the_recorded_profile(cls: type[BaseProfileMapping], sample: Sample) -> None:
    mapping = make(cls, sample)

    assert mapping.profile == better_profile(cls, sample["expected"]["profile"])
    assert mapping.can_claim_connection() is sample["expected"]["can_claim"]


@pytest.mark.parametrize(("cls", "sample"), SAMPLES)
def test_parsing_needs_no_connection(cls: type[BaseProfileMapping], sample: Sample) -> None:
    mapping = make(cls, sample, conn_id="there_is_none")

    assert mapping.mock_profile == better_mock(cls, sample["expected"]["mock_profile"])


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(("cls", "sample"), SAMPLES)
def test_secrets_reach_dbt_as_environment_variables(cls: type[BaseProfileMapping], sample: Sample) -> None:
    mapping = make(cls, sample)

    if "error" in sample["expected"]["env_vars"]:
        with pytest.raises(CosmosValueError, match="has a value for 'password'"):
            _ = mapping.env_vars
    else:
        assert mapping.env_vars == sample["expected"]["env_vars"]


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(("cls", "sample"), SAMPLES)
def test_the_profiles_file_is_the_recorded_one(cls: type[BaseProfileMapping], sample: Sample) -> None:
    mapping, expected = make(cls, sample), sample["expected"]
    written = mapping.get_profile_file_contents("prof", "tgt")
    mocked = mapping.get_profile_file_contents("prof", "tgt", use_mock_values=True)

    profile, mock = (better_profile(cls, expected["profile"]), better_mock(cls, expected["mock_profile"]))
    config = mapping.dbt_config_vars.as_dict() if mapping.dbt_config_vars else {}
    assert yaml.safe_load(written) == file_of(profile, config)
    assert yaml.safe_load(mocked) == file_of(mock, config)
    if "file" in expected:
        # Recorded where there is no setting at all: null.
        assert config == (expected["file"]["prof"].get("config") or {})


@pytest.mark.parametrize(("cls", "sample"), REFUSED)
def test_what_contradicts_itself_is_refused_when_the_mapping_is_made(
    cls: type[BaseProfileMapping], sample: Sample
) -> None:
    with pytest.raises(CosmosValueError, match=r"profile_args|disable_event_tracking"):
        make(cls, sample)


def test_the_profiles_file_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", "postgres://user:s3cret-word@host/db")
    mapping = PostgresUserPasswordProfileMapping("sample", {"schema": "s", "password": "s3cret-argument"})

    written = mapping.get_profile_file_contents("p") + mapping.get_profile_file_contents("p", use_mock_values=True)

    assert "s3cret" not in written
    assert mapping.env_vars == {"COSMOS_CONN_POSTGRES_PASSWORD": "s3cret-argument"}


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


def test_the_old_tracking_flag_warns_and_works() -> None:
    with pytest.warns(DeprecationWarning, match="dbt_config_vars"):
        mapping = profiles.DuckDBUserPasswordProfileMapping("c", {"path": "x.duckdb"}, disable_event_tracking=True)

    assert mapping.env_vars == {"DBT_SEND_ANONYMOUS_USAGE_STATS": "False", "DO_NOT_TRACK": "1"}


def test_a_connection_of_another_type_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", Connection(conn_id="sample", conn_type="mysql", host="h").get_uri())

    assert not PostgresUserPasswordProfileMapping("sample").can_claim_connection()


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        pytest.param("duckdb:////data/harbor.duckdb", r"has no value for path \(the connection's host\)", id="uri"),
        pytest.param({"conn_type": "duckdb"}, "has no value for path", id="no-host"),
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
    ["/data/harbor.duckdb", ":memory:", "md:harbor", "gs://b/x", "file:///x.duckdb", "{{ env_var('DUCKDB_PATH') }}"],
)
def test_a_duckdb_that_is_somewhere_is_taken(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", json.dumps({"conn_type": "duckdb", "host": path}))

    profiles.DuckDBUserPasswordProfileMapping("sample").validate()


def test_a_missing_field_of_any_warehouse_is_named_and_a_given_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE", json.dumps({"conn_type": "postgres", "login": "u", "password": "p"}))

    with pytest.raises(CosmosValueError, match=r"no value for host .*, dbname \(the connection's schema\)"):
        PostgresUserPasswordProfileMapping("sample").validate()
    PostgresUserPasswordProfileMapping("sample", {"host": "h", "dbname": "d"}).validate()
