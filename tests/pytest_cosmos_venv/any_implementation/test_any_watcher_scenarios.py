"""The ready-made scenarios of ExecutionMode.WATCHER, on whichever implementation is chosen."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pytest_cosmos_venv import WATCHER_SCENARIOS, Implementation, WatcherScenario, WatcherScenarios
from pytest_cosmos_venv.watcher.outcome import WatcherRequirementNotMet

FINDINGS: Mapping[str, Mapping[str, str]] = {
    "cosmos": {
        "a-node-without-status-is-not-green": "the tasks succeed where dbt has said nothing and ended without an error",
        "a-retry-while-the-producer-waits-for-its-own": "the retry ends by the failure of the try before",
    },
}
"""What astronomer-cosmos 1.15.1 was seen to do otherwise, on Airflow 3.3.2 and 2.11.2."""


@pytest.fixture(autouse=True)
def expected_to_fail(
    cosmos_implementation: Implementation, scenario: WatcherScenario, request: pytest.FixtureRequest
) -> None:
    """What the implementation is known to do otherwise fails, and nothing else."""
    finding = FINDINGS.get(cosmos_implementation.import_root, {}).get(scenario.id)
    if finding is not None:
        request.applymarker(pytest.mark.xfail(reason=finding, strict=True, raises=WatcherRequirementNotMet))


@pytest.mark.long
@pytest.mark.parametrize("scenario", WATCHER_SCENARIOS, ids=str)
def test_a_run_ends_as_dbt_has(cosmos_watcher_scenario: WatcherScenarios, scenario: WatcherScenario) -> None:
    cosmos_watcher_scenario(scenario).check()
