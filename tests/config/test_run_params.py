"""The names of the params by which a run chooses."""

from __future__ import annotations

import pytest

from cosmos_venv.config.run_params import RunParams
from cosmos_venv.exceptions import CosmosValueError

ALL = {each: each for each in ("select", "exclude", "full_refresh", "vars")}


def test_params_have_the_names_that_are_given_or_their_own() -> None:
    assert RunParams.of(False) is RunParams.of(None) is RunParams.of(dict.fromkeys(ALL)) is None
    for given, expected in (
        (True, ALL),
        ({}, ALL),
        ({"select": "nodes"}, {**ALL, "select": "nodes"}),
        ({"vars": None, "exclude": None}, {"select": "select", "full_refresh": "full_refresh"}),
    ):
        found = RunParams.of(given)
        assert found is not None
        assert found.names() == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("select", "Give True, or a dict of select, exclude, full_refresh, vars, each with the name of its param"),
        ({"models": "nodes"}, r"unknown field `models`\. Give True, or a dict of select, exclude, full_refresh, vars"),
        ({"select": 1}, r"got `int` - at `\$\.select`\. Give True"),
        ({"select": " "}, r"at `\$\.select`\. Give True"),
        ({"select": "vars"}, "gives one name to two params"),
    ],
)
def test_what_cannot_name_params_is_refused(given: object, words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        RunParams.of(given)
