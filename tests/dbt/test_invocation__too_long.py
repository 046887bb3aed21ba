"""Words and variables that no process can be started with: the error names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.dbt.invocation import run_dbt
from cosmos_venv.exceptions import CosmosValueError


@pytest.mark.parametrize(
    ("command", "env", "message"),
    [
        pytest.param(["/bin/true"], {"TOKEN": "s" * 200_000}, r"the longest, TOKEN, of 200,006", id="variable"),
        pytest.param(["/bin/true", "run", "--vars", "é" * 70_000], {}, r"the longest of 140,000", id="word"),
        pytest.param(
            ["/bin/true", "test", "--select", *["m" * 90] * 200_000],
            {"A": "b"},
            r"^dbt cannot be started: .* 200,003 words of 18,000,021 bytes, .*; and 1 environment variables of 3 bytes",
            id="all-words",
        ),
    ],
)
def test_what_is_too_long_is_named(command: list[str], env: dict[str, str], message: str) -> None:
    with pytest.raises(CosmosValueError, match=message) as refused:
        run_dbt(command, env=env, cwd=Path("/"))

    assert "ssss" not in str(refused.value)
