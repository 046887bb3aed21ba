"""No form of a secret, and no path of the machine, passes the redaction."""

from __future__ import annotations

import base64
import html
import json
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from pytest_cosmos_venv.recordings.redaction import STARS, Redaction

# Each letter that some encoding changes.
SECRET = "p@ss/w\"o'r\\d <&> ü% +x"
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": json.dumps,
    "json-of-utf-8": lambda text: json.dumps(text, ensure_ascii=False),
    "json-in-json": lambda text: json.dumps(json.dumps({"a": text})),
    "repr": repr,
    "repr-in-json": lambda text: json.dumps(str({"a": text})),
    "url": lambda text: f"postgresql://crane:{quote(text, safe='')}@db/port",
    "path-of-url": quote,
    "form": quote_plus,
    "url-in-small-letters": lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%3C", "%3c"),
    "html": html.escape,
    "sql": lambda text: "'" + text.replace("'", "''") + "'",
    "shell": shlex.quote,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "basic-auth-1": lambda text: base64.b64encode(f"u:{text}".encode()).decode(),
    "basic-auth-2": lambda text: base64.b64encode(f"us:{text}x".encode()).decode(),
    "base64-of-urls": lambda text: base64.urlsafe_b64encode(f"use:{text}".encode()).decode(),
    "javascript": lambda text: quote(text, safe="!'()*"),
    "sql-in-json-in-html": lambda text: html.escape(json.dumps(text.replace("'", "''"))),
    "hex": lambda text: text.encode().hex(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_secret_is_replaced(form: str) -> None:
    encoded = FORMS[form](SECRET)
    text = f"before {encoded} behind"

    redacted = Redaction([SECRET]).text(text)

    assert STARS in redacted
    assert redacted.startswith("before ")
    assert redacted.endswith(" behind")
    assert len(redacted) < len(text)
    middle = len(encoded) // 2
    assert encoded[middle - 4 : middle + 4] not in redacted


def test_json_stays_json_and_loses_the_secret_at_every_depth() -> None:
    value = {SECRET: [{"sql": f"select '{SECRET}'"}], "inner": json.dumps({"deep": SECRET}), "count": 1}

    redacted = Redaction([SECRET]).document(json.dumps(value))

    assert json.loads(redacted) == {
        STARS: [{"sql": f"select '{STARS}'"}],
        "inner": json.dumps({"deep": STARS}),
        "count": 1,
    }


def test_a_number_that_is_a_secret_is_replaced_too() -> None:
    assert json.loads(Redaction(["4711"]).document('{"pin": 4711, "rows": 47}')) == {"pin": STARS, "rows": 47}


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


def test_a_log_of_events_is_redacted_line_by_line() -> None:
    text = f"{json.dumps({'info': {'msg': SECRET}})}\nplain {SECRET}\n"

    first, second, end = Redaction([SECRET]).lines(text).split("\n")

    assert json.loads(first) == {"info": {"msg": STARS}}
    assert (second, end) == (f"plain {STARS}", "")


def test_the_longest_path_counts_and_a_longer_name_is_another_path() -> None:
    redaction = Redaction([], {"/home/me": "<home>", "/home/me/shop": "<project>"})

    text = redaction.text("/home/me/shop/models /home/me/shop-2 /home/me/x /home/meg /home/me/shop.")

    assert text == "<project>/models <home>/shop-2 <home>/x /home/meg <project>."
