"""What is a full refresh to dbt."""

from __future__ import annotations

import pytest

from cosmos_venv.operators.seeds.seed_load import wants_full_refresh


@pytest.mark.parametrize(
    ("words", "env", "expected"),
    [
        pytest.param(["seed"], {}, False, id="plain"),
        pytest.param(["seed", "--full-refresh"], {}, True, id="long"),
        pytest.param(["seed", "-f"], {}, True, id="short"),
        pytest.param(["seed", "--select", "off", "--fail-fast", "-x"], {}, False, id="others"),
        pytest.param(["seed"], {"DBT_FULL_REFRESH": "true"}, True, id="variable"),
        pytest.param(["seed"], {"DBT_FULL_REFRESH": "0"}, False, id="variable-says-no"),
        pytest.param(["seed"], {"DBT_ENGINE_FULL_REFRESH": "0", "DBT_FULL_REFRESH": "1"}, False, id="new-name-wins"),
    ],
)
def test_a_full_refresh_is_what_dbt_takes_for_one(words: list[str], env: dict[str, str], expected: bool) -> None:
    assert wants_full_refresh(["dbt", *words], env) is expected
