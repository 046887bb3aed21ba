"""All 26 mapping classes against the record of the established implementation, sample by sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cosmos_venv import profiles
from cosmos_venv.exceptions import CosmosValueError
from tests.profiles.samples import (
    CLASSES,
    DATA,
    DIFFERENT,
    PORTS,
    SAMPLES,
    Sample,
    connect,
    make,
    recorded,
    wanted,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:disable_event_tracking:DeprecationWarning"),
    pytest.mark.usefixtures("aws_hook"),
]


def outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except ValueError as error:
        return {"error": type(error).__name__}


def chosen(sample: Sample) -> str:
    return type(profiles.get_automatic_profile_mapping("sample", sample["profile_args"])).__name__


@pytest.mark.parametrize("sample_id", SAMPLES)
def test_a_connection_becomes_what_was_recorded(sample_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = SAMPLES[sample_id]
    connect(monkeypatch, **sample["connection"])
    if "constructor" in sample["expected"]:
        with pytest.raises(CosmosValueError, match=r"profile_args|disable_event_tracking"):
            make(sample)
        return

    mapping = make(sample)

    assert outcome(mapping.can_claim_connection) == wanted(sample, "can_claim")
    assert outcome(lambda: mapping.profile) == wanted(sample, "profile")
    assert outcome(lambda: mapping.env_vars) == wanted(sample, "env_vars")
    assert make(sample, conn_id="there_is_none").mock_profile == wanted(sample, "mock_profile")
    assert outcome(lambda: chosen(sample)) == wanted(sample, "automatic")


def test_every_difference_from_the_record_is_listed_and_is_one() -> None:
    parts = ("can_claim", "profile", "env_vars", "mock_profile", "automatic")
    samples = [sample for sample in SAMPLES.values() if "constructor" not in sample["expected"]]

    differing = {each["id"]: [part for part in parts if wanted(each, part) != recorded(each, part)] for each in samples}

    assert len(SAMPLES) == 138
    assert {sample_id: set(changes) for sample_id, (_, changes) in DIFFERENT.items()} == {
        sample_id: {part for part in found if part in DIFFERENT[sample_id][1]}
        for sample_id, found in differing.items()
        if sample_id in DIFFERENT
    }
    only_port = {sample_id for sample_id, found in differing.items() if found} - set(DIFFERENT)
    assert {SAMPLES[sample_id]["class_name"] for sample_id in only_port} == set(PORTS)


@pytest.mark.parametrize("name", CLASSES)
def test_the_table_of_a_class_is_the_recorded_one(name: str) -> None:
    keys = ("airflow_connection_type", "dbt_profile_type", "dbt_profile_method", "required_fields")
    cls, case = getattr(profiles, name), CLASSES[name]

    table = json.loads(json.dumps({key: getattr(cls, key) for key in (*keys, "airflow_param_mapping")}))

    assert table == {key: case[key] for key in table}
    if name == "AthenaAccessKeyProfileMapping":  # recorded: none, and own code for these two
        assert cls.secret_fields == ("aws_secret_access_key", "aws_session_token")
    else:
        assert list(cls.secret_fields) == case["secret_fields"]
        assert {field: cls.get_env_var_name(field) for field in cls.secret_fields} == case["env_var_names"]


def test_the_classes_are_tried_in_the_recorded_order() -> None:
    assert [cls.__name__ for cls in profiles.profile_mappings] == DATA["automatic_order"]
    assert len(DATA["automatic_order"]) == 26
