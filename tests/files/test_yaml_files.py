"""Tests of YAML texts that are read, and of those that are refused before they cost anything."""

from __future__ import annotations

import pytest
import yaml

from cosmos_venv.files.yaml_files import load_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: v}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(LAUGHS, "its aliases stand for more than 8,000,000 characters, in line 7", id="aliases"),
        pytest.param(MERGES, "its aliases stand for more than 8,000,000 characters, in line 7", id="merges"),
        pytest.param(
            f"a: &a {'x' * 10_000}\nb: [{', '.join(['*a'] * 1_000)}]",
            "its aliases stand for more than 8,000,000 characters, in line 2",
            id="long-text",
        ),
        pytest.param("[" * 30_000 + "]" * 30_000, "it is nested in more than 100 levels, in line 1", id="flow"),
        pytest.param("b: 1\na: &a {b: {c: *a}}", r"\*a stands within itself, in line 2", id="itself"),
        pytest.param("a: 2026-02-30", "it has a value that cannot be: day is out of range", id="date"),
        pytest.param(f"a: {'9' * 5_000}", "it has a number of 5,000 characters, in line 1", id="digits"),
        pytest.param(f"a: !!int '_1{':1' * 50_000}'", "it has a number of 100,002 characters", id="quoted-base-60"),
        pytest.param(f"a: 1{':1' * 300}.5", "it has a value that cannot be: int too large", id="float-base-60"),
        pytest.param(
            "a: !!bool maybe", "it has a value that is not what its tag says, such as !!bool maybe", id="bool"
        ),
        pytest.param("a: [", "did not find expected node content|expected the node content", id="no-yaml"),
    ],
)
def test_what_takes_more_than_it_looks_like_is_refused(text: str, words: str) -> None:
    with pytest.raises(yaml.YAMLError, match=words):
        load_yaml(text)


def test_aliases_stand_for_what_they_name() -> None:
    text = "a: &a {k: [1, 2026-01-31]}\nb: *a\nc: {<<: *a, d: '[['}\n"

    assert load_yaml(text) == yaml.safe_load(text)


def test_a_long_text_of_digits_in_quotes_is_no_number() -> None:
    assert load_yaml(f"a: '{'9' * 5_000}'") == {"a": "9" * 5_000}
