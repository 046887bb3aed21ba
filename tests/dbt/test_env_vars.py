"""Which variables does a text ask for?"""

from __future__ import annotations

import pytest

from cosmos_venv.dbt.env_vars import env_vars_named_in


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("select 1", set(), id="none"),
        pytest.param("{{ env_var('A') }} {{ env_var( \"B\", 'x') }}", {"A", "B"}, id="two"),
        pytest.param("{{ env_var ('A') }}", {"A"}, id="a-blank-before-the-bracket"),
        pytest.param("{{ env_var('A' ~ suffix) }}", None, id="made-up"),
        pytest.param("{{ env_var(name) }} {{ env_var('A') }}", None, id="one-of-two-made-up"),
        pytest.param("{% set ask = env_var %}", None, id="handed-on"),
        pytest.param("my_env_vars", set(), id="another-word"),
    ],
)
def test_names_are_told_or_said_to_be_unknown(text: str, names: set[str] | None) -> None:
    assert env_vars_named_in(text.encode()) == names
