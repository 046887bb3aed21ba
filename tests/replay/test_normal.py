"""Texts of two runs are equal where only generated names differ."""

from __future__ import annotations

import pytest

from tests.replay.normal import Normal


@pytest.mark.parametrize("number", ["0123456789abcdef", "0123456789abcde0", "bdabeebabdabeeba", "1111111122222222"])
def test_the_folder_of_a_run_is_the_same_whatever_its_number(number: str) -> None:
    """A number without a digit in its first half was taken for a name, and the replay was red by chance."""
    text = Normal({})(f"dbt seed --project-dir <temp>/cosmos-venv-run-{number} --target dev")

    assert text == "dbt seed --project-dir <temp>/cosmos-venv-run-<hash>* --target dev"
