"""The automatic choice beside the record: what the arguments change, and what is said where nothing fits."""

from __future__ import annotations

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles import get_automatic_profile_mapping
from tests.profiles import counting_backend
from tests.profiles.samples import connect


def test_a_type_in_the_arguments_chooses_between_two_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="mysql", host="h", login="u", password="p", schema="s", port=9030)

    plain = get_automatic_profile_mapping("sample")
    told = get_automatic_profile_mapping("sample", {"type": "starrocks"})

    assert (plain.dbt_profile_type, told.dbt_profile_type) == ("mysql", "starrocks")


def test_airflow_is_asked_once_however_many_classes_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """At parse time each question goes to Airflow's database."""
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "tests.profiles.counting_backend.CountingBackend")
    monkeypatch.setattr(counting_backend, "asked", [])
    connect(
        monkeypatch,
        conn_type="snowflake",
        login="u",
        schema="s",
        extra={"account": "a", "database": "d", "warehouse": "w", "private_key_file": "/k.p8"},
    )

    mapping = get_automatic_profile_mapping("sample")

    assert type(mapping).__name__ == "SnowflakePrivateKeyFilePemProfileMapping"
    assert mapping.profile["private_key_path"] == "/k.p8"
    assert counting_backend.asked == ["sample"]


def test_where_none_fits_each_class_of_the_type_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="generic", host="h", login="u")

    with pytest.raises(CosmosValueError) as raised:
        get_automatic_profile_mapping("sample", {"type": "sqlserver"})

    assert str(raised.value) == (
        "get_automatic_profile_mapping: no mapping claims the connection 'sample' of type 'generic'. "
        "ClickhouseUserPasswordProfileMapping: profile_args names another type; "
        "StandardSQLServerAuth: no value for schema (the connection's schema), database (the connection's "
        "extra.database), driver (the connection's extra.driver), password (the connection's password)."
    )


def test_a_type_of_which_there_is_no_class_and_a_missing_connection_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(monkeypatch, conn_type="ftp", host="h")

    with pytest.raises(CosmosValueError, match=r"of type 'ftp'\. There are mappings for aws, .*own subclass"):
        get_automatic_profile_mapping("sample")
    with pytest.raises(CosmosValueError, match=r"conn_id='no_such': Airflow has no connection"):
        get_automatic_profile_mapping("no_such")
