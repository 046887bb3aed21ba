"""Where the recorder looks for secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_cosmos_venv.fake_dbt.secret_names import is_secret_name
from pytest_cosmos_venv.recordings.redaction import secrets_of

CANARY = "c4n4ry-Value"


SECRET_WORDS = "SECRET PASS PASSWORD PWD TOKEN CREDENTIAL PRIVATE COOKIE DSN KEY AUTH PAT CONN".split()


@pytest.mark.parametrize("word", SECRET_WORDS)
def test_a_variable_with_such_a_name_is_a_secret(word: str) -> None:
    for name in (f"HARBOR_{word}", f"{word}_OF_HARBOR"):
        assert CANARY in secrets_of({name: CANARY}), name


@pytest.mark.parametrize(
    "name", ["HOME", "PATH", "PWD", "DBT_TARGET", "AIRFLOW_HOME", "SSH_AUTH_SOCK", "MAX_CONNECTIONS", "KEYBOARD"]
)
def test_a_variable_with_another_name_is_none(name: str) -> None:
    assert secrets_of({name: CANARY}) == frozenset()


@pytest.mark.parametrize("value", ["", " ", "true", "0", "none", "17", "100"])
def test_values_that_every_text_has_are_none(value: str) -> None:
    assert secrets_of({"SOME_TOKEN": value}) == frozenset()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"postgresql://crane:{CANARY}@db.example/port", id="address"),
        pytest.param(f"https://api.example/?user=x&token={CANARY}", id="query"),
        pytest.param(json.dumps({"login": "crane", "password": CANARY}), id="connection-as-json"),
        pytest.param(json.dumps({"extra": {"private_key_content": CANARY}}), id="extra"),
    ],
)
def test_a_password_inside_any_variable_is_found(value: str) -> None:
    assert CANARY in secrets_of({"ANY_NAME": value})


CONNECTION = {"conn_type": "postgres", "host": "db.example", "login": "crane", "schema": "shop", "port": 5432}


@pytest.mark.parametrize("name", ["AIRFLOW_CONN_WAREHOUSE", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        pytest.param(f"postgres://crane:{CANARY}@db.example/shop", {CANARY}, id="address"),
        pytest.param("postgres://crane@db.example/shop", set(), id="no-password"),
        pytest.param(json.dumps({**CONNECTION, "password": CANARY}), {CANARY}, id="json"),
        pytest.param(json.dumps({**CONNECTION, "extra": {"role": "dev", "token": CANARY}}), {CANARY}, id="extra"),
        pytest.param(
            json.dumps({**CONNECTION, "extra": json.dumps({"token": CANARY})}),
            {CANARY, json.dumps({"token": CANARY})},
            id="extra-as-json",
        ),
        pytest.param(f"aws://?__extra__=%7B%22token%22%3A+%22{CANARY}%22%7D", {CANARY}, id="extra-in-address"),
    ],
)
def test_of_a_connection_what_is_secret_is_found_and_nothing_else(name: str, value: str, secrets: set[str]) -> None:
    found = secrets_of({name: value})

    assert secrets <= found
    assert all(CANARY in each for each in found)
    assert not found & {"dev", "crane", "shop", "5432", "db.example"}


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"password: {CANARY}", id="plain"),
        pytest.param(f"token: {CANARY}\n      password: ~nobody", id="no-home"),
        pytest.param("token: \"{{ env_var('CRANE') }}\"", id="variable"),
        pytest.param(f"token: \"{{{{ env_var('NOT_SET', '{CANARY}') }}}}\"", id="default"),
        pytest.param(f"keyfile_json: {{type: service_account, x: [{CANARY}]}}", id="below"),
        pytest.param(f"path: 'md:port?motherduck_token={CANARY}'", id="motherduck"),
    ],
)
def test_secrets_of_a_profile_are_found(line: str, tmp_path: Path) -> None:
    file = tmp_path / "profiles.yml"
    file.write_text(f"shop:\n  outputs:\n    dev:\n      type: postgres\n      {line}\n", encoding="utf-8")

    assert CANARY in secrets_of({"CRANE": CANARY}, (), [file])


def test_a_key_is_found_line_by_line_and_in_the_file_that_a_profile_names(tmp_path: Path) -> None:
    key = tmp_path / "rsa.p8"
    key.write_text("-----BEGIN PRIVATE KEY-----\nMIIEvgIBADANBg\nkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\n")
    account = tmp_path / "account.json"
    account.write_text(json.dumps({"private_key": CANARY, "client_email": "a@b"}), encoding="utf-8")
    file = tmp_path / "profiles.yml"
    file.write_text(f"shop: {{a: {{private_key_path: {key}}}, b: {{keyfile: {account}}}}}", encoding="utf-8")

    found = secrets_of({}, (), [file])

    assert {"MIIEvgIBADANBg", "kqhkiG9w0BAQEF", CANARY} <= found
    assert "a@b" not in found


def test_secrets_among_the_words_of_the_command_are_found() -> None:
    words = ("run", "--vars", json.dumps({"api_token": CANARY, "day": "Monday"}))

    assert secrets_of({}, words) == {CANARY}


def test_a_long_user_of_a_web_address_is_a_token_and_a_short_one_a_name() -> None:
    token = "ghp_" + "x" * 36

    assert secrets_of({"REPOSITORY": f"git+https://{token}@github.com/o/r.git"}) == {token}
    assert secrets_of({"REPOSITORY": f"https://{token}:x@github.com/o/r.git"}) == {token, "x"}
    assert secrets_of({"REPOSITORY": "https://git@github.com/o/r.git"}) == frozenset()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(f'--vars={{"api_token": "{CANARY}"}}', id="json"),
        pytest.param(f"--vars={{day: Monday, api_token: {CANARY}}}", id="yaml"),
        pytest.param(f"--vars=password: {CANARY}", id="yaml-without-braces"),
    ],
)
def test_secrets_in_an_option_of_one_word_are_found(words: str) -> None:
    assert secrets_of({}, ("build", words)) == {CANARY}


@pytest.mark.parametrize(
    "name", ["unique_key", "primary_key", "surrogate_key", "token_url", "keywords", "tokenizer_path"]
)
def test_names_that_only_look_alike_are_no_secret_names(name: str) -> None:
    assert is_secret_name(name) is (name == "tokenizer_path")
