"""YAML texts are plain data, or one kind of error."""

from __future__ import annotations

import pytest
import yaml

from cosmos_venv.files.yaml_files import load_yaml


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            "a: 2026-02-30", "it has a value that cannot be: day (is out of range|30 must be in range)", id="date"
        ),
        pytest.param("a: !!bool maybe", "it has a value that cannot be: 'maybe'", id="bool"),
        pytest.param("a: [", "did not find expected node content|expected the node content", id="no-yaml"),
    ],
)
def test_a_text_that_is_no_yaml_is_one_kind_of_error(text: str, words: str) -> None:
    with pytest.raises(yaml.YAMLError, match=words):
        load_yaml(text)


def test_aliases_stand_for_what_they_name() -> None:
    text = "a: &a {k: [1, 2026-01-31]}\nb: *a\nc: {<<: *a, d: '[['}\n"

    assert load_yaml(text) == yaml.safe_load(text)
