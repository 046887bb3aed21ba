"""The decision whether a seed has to be loaded."""

from __future__ import annotations

import pytest

from cosmos_venv.operators.seeds.seed_checksum import Decision, decide, wants_full_refresh


@pytest.mark.parametrize(
    ("seen", "now", "full_refresh", "expected"),
    [
        pytest.param("a", "a", False, Decision.UNCHANGED, id="unchanged"),
        pytest.param("a", "b", False, Decision.CHANGED, id="changed"),
        pytest.param(None, "a", False, Decision.FIRST, id="first-run"),
        pytest.param("a", None, False, Decision.UNKNOWN, id="unreadable"),
        pytest.param(None, None, False, Decision.UNKNOWN, id="nothing-known"),
        pytest.param("a", "a", True, Decision.FULL_REFRESH, id="full-refresh-wins"),
        pytest.param("a", None, True, Decision.FULL_REFRESH, id="full-refresh-of-the-unreadable"),
    ],
)
def test_a_seed_is_loaded_unless_its_content_is_known_to_be_unchanged(
    seen: str | None, now: str | None, full_refresh: bool, expected: Decision
) -> None:
    decision = decide(seen=seen, now=now, full_refresh=full_refresh)

    assert decision is expected
    assert decision.runs is (expected is not Decision.UNCHANGED)
    assert decision.is_remembered is (expected in (Decision.FIRST, Decision.CHANGED))


@pytest.mark.parametrize(
    ("seen", "now", "full_refresh", "expected"),
    [
        pytest.param("a", "a", False, Decision.BROKEN_OFF, id="unchanged"),
        pytest.param("a", "b", False, Decision.CHANGED, id="changed"),
        pytest.param(None, "a", False, Decision.FIRST, id="first-run"),
        pytest.param("a", None, False, Decision.UNKNOWN, id="unreadable"),
        pytest.param("a", "a", True, Decision.FULL_REFRESH, id="full-refresh-wins"),
    ],
)
def test_after_a_load_that_broke_off_a_seed_is_loaded_in_any_case(
    seen: str | None, now: str | None, full_refresh: bool, expected: Decision
) -> None:
    decision = decide(seen=seen, now=now, full_refresh=full_refresh, broken_off=True)

    assert decision is expected
    assert decision.runs


@pytest.mark.parametrize(
    ("words", "env", "expected"),
    [
        pytest.param(["seed"], {}, False, id="plain"),
        pytest.param(["seed", "--full-refresh"], {}, True, id="long"),
        pytest.param(["seed", "-f"], {}, True, id="short"),
        pytest.param(["seed", "-xf"], {}, True, id="short-ones-together"),
        pytest.param(["seed", "--select", "off", "--fail-fast", "-x"], {}, False, id="others"),
        pytest.param(["seed"], {"DBT_FULL_REFRESH": "true"}, True, id="variable"),
        pytest.param(["seed"], {"DBT_FULL_REFRESH": "0"}, False, id="variable-says-no"),
        pytest.param(["seed"], {"DBT_ENGINE_FULL_REFRESH": "0", "DBT_FULL_REFRESH": "1"}, False, id="new-name-wins"),
    ],
)
def test_a_full_refresh_is_what_dbt_takes_for_one(words: list[str], env: dict[str, str], expected: bool) -> None:
    assert wants_full_refresh(["dbt", *words], env) is expected
