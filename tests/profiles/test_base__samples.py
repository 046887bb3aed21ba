"""All 26 mapping classes against the record of the established implementation, sample by sample."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from cosmos_venv import profiles
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles import BaseProfileMapping
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


def file_of(output: dict[str, Any], mapping: BaseProfileMapping) -> dict[str, Any]:
    config = mapping.dbt_config_vars.as_dict() if mapping.dbt_config_vars else {}
    return {"prof": {"target": "tgt", "outputs": {"tgt": output}} | ({"config": config} if config else {})}


def version_of(output: dict[str, Any]) -> str:
    names = {"profile_name": "prof", "target_name": "tgt"}
    return hashlib.sha256(json.dumps({**output, **names}, sort_keys=True).encode()).hexdigest()


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


@pytest.mark.parametrize("sample_id", [each for each in SAMPLES if "profile" in SAMPLES[each]["expected"]])
def test_the_profiles_file_says_the_same(sample_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = SAMPLES[sample_id]
    connect(monkeypatch, **sample["connection"])
    mapping, output, mocked = make(sample), wanted(sample, "profile"), wanted(sample, "mock_profile")
    if "error" in output:
        assert outcome(lambda: mapping.get_profile_file_contents("prof", "tgt")) == output
        return

    written = yaml.safe_load(mapping.get_profile_file_contents("prof", "tgt"))
    mock = yaml.safe_load(mapping.get_profile_file_contents("prof", "tgt", use_mock_values=True))

    assert written == file_of(output, mapping)
    assert mock == file_of(mocked, mapping)
    if "file" in sample["expected"] and output == recorded(sample, "profile"):
        # Recorded where there is no setting at all: null.
        assert written == without_empty_config(sample["expected"]["file"])
    if "mock_file" in sample["expected"] and mocked == recorded(sample, "mock_profile"):
        assert mock == without_empty_config(sample["expected"]["mock_file"])


def without_empty_config(file: dict[str, Any]) -> dict[str, Any]:
    return {"prof": {key: value for key, value in file["prof"].items() if value is not None}}


@pytest.mark.parametrize("sample_id", [each for each in SAMPLES if "version" in SAMPLES[each]["expected"]])
def test_the_version_is_the_recorded_one_where_the_profile_is(sample_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cosmos's says nothing of the config vars and the tracking flag: two mappings then shared one kept file."""
    sample = SAMPLES[sample_id]
    connect(monkeypatch, **sample["connection"])
    mapping, output = make(sample), wanted(sample, "profile")
    says_more = bool(file_of(output, mapping)["prof"].get("config")) or bool(mapping.disable_event_tracking)

    if "error" in output:
        assert outcome(lambda: mapping.version("prof", "tgt")) == output
        return
    assert (mapping.version("prof", "tgt") == version_of(output)) is not says_more
    if output == sample["expected"]["profile"] and not says_more:
        assert mapping.version("prof", "tgt") == sample["expected"]["version"]
    mocked = wanted(sample, "mock_profile")
    if mocked == sample["expected"]["mock_profile"] and not says_more:
        assert mapping.version("prof", "tgt", mock_profile=True) == sample["expected"]["mock_version"]


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
    keys = ("airflow_connection_type", "dbt_profile_type", "dbt_profile_method", "is_community", "required_fields")
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
