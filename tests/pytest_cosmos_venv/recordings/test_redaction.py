"""No form of a secret, and no path of the machine, passes the redaction."""

from __future__ import annotations

import json

import pytest

from pytest_cosmos_venv.recordings.redaction import STARS, Redaction

# Each letter that some encoding changes.
SECRET = "p@ss/w\"o'r\\d <&> ü% +x"


def test_json_stays_json_and_loses_the_secret_at_every_depth() -> None:
    value = {SECRET: [{"sql": f"select '{SECRET}'"}], "inner": json.dumps({"deep": SECRET}), "count": 1}

    redacted = Redaction([SECRET]).document(json.dumps(value))

    assert json.loads(redacted) == {
        STARS: [{"sql": f"select '{STARS}'"}],
        "inner": json.dumps({"deep": STARS}),
        "count": 1,
    }


def test_a_short_number_under_another_name_stays_and_json_stays_json() -> None:
    redacted = Redaction(["4711", "47", "20241125"]).document('{"rows": 4711, "few": 47, "a": [20241125, "47 4711"]}')

    assert json.loads(redacted) == {"rows": 4711, "few": 47, "a": [STARS, f"{STARS} {STARS}"]}


def test_a_text_under_the_name_of_a_secret_is_replaced_though_nobody_knew_it() -> None:
    redacted = Redaction([]).document('{"password": "unknown", "unique_key": "id", "password_rules": {"a": "b"}}')

    assert json.loads(redacted) == {"password": STARS, "unique_key": "id", "password_rules": {"a": "b"}}


def test_passwords_of_addresses_and_bearers_are_replaced_though_nobody_knew_them() -> None:
    text = "ATTACH 'postgres://crane:sesame@db/port'; Authorization: Bearer abcdefgh.ijkl"

    assert Redaction([]).text(text) == f"ATTACH 'postgres://crane:{STARS}@db/port'; Authorization: Bearer {STARS}"


@pytest.mark.parametrize("user", ["ghp_x", "ghp_x:x-oauth-basic", "crane:sesame", ":sesame", "crane%40a"])
@pytest.mark.parametrize("scheme", ["https", "HTTP", "git+https"])
def test_whoever_stands_in_a_web_address_is_replaced(scheme: str, user: str) -> None:
    text = f"git: {scheme}://{user}@github.com/o/r.git and https://api.example/?mail=a@b and https://x.example:80/@a"

    redacted = Redaction([]).text(text)

    assert redacted == text.replace(user, STARS)


def test_a_short_secret_is_replaced_as_a_word_alone() -> None:
    assert Redaction(["abc"]).text("abc abcd 'abc'") == f"{STARS} abcd '{STARS}'"


def test_the_longest_path_counts_and_a_longer_name_is_another_path() -> None:
    redaction = Redaction([], {"/home/me": "<home>", "/home/me/shop": "<project>"})

    text = redaction.text("/home/me/shop/models /home/me/shop-2 /home/me/x /home/meg /home/me/shop.")

    assert text == "<project>/models <home>/shop-2 <home>/x /home/meg <project>."
