"""The sentences of Cosmos's page "Managing seeds", played on whichever implementation is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import pytest

from pytest_cosmos_venv import SEED_SCENARIOS, Implementation, SeedScenarios, SeedStory

PARSED = "it computes the checksum while the DAG is parsed, and remembers that one"
MD5 = "the checksum is MD5"
JOINED = "the ids of DAG and groups are joined by two underscores, so that two places share one Variable"
DENIED = "it does not catch what Airflow 3.2 and later raise when reading a Variable is denied"
UNCAUGHT = "on Airflow 3 it does not catch what Airflow raises when a Variable cannot be written"

FINDINGS: Mapping[str, Mapping[str, str]] = {
    "cosmos": {
        "changed-after-parsing-is-loaded": PARSED,
        "what-was-loaded-is-what-is-remembered": PARSED,
        "the-checksum-is-sha256": MD5,
        "the-remembered-sha256-is-recognised": MD5,
        "ids-that-join-to-the-same-text-remember-apart": JOINED,
        "a-dag-whose-id-looks-like-a-group-remembers-apart": JOINED,
        # The same with a real dbt: a model's task updates its asset, a seed's none.
        "a-load-updates-the-asset": "the task of a seed updates no asset",
    },
}
"""What astronomer-cosmos 1.15.1 was seen to do otherwise: import root -> scenario -> what it does."""
FINDINGS_ON_AIRFLOW_3: Mapping[str, Mapping[str, str]] = {
    "cosmos": {
        "a-variable-that-cannot-be-read-runs-dbt": DENIED,
        "a-variable-that-cannot-be-written-fails-nothing": UNCAUGHT,
        "variables-that-are-down-run-dbt": UNCAUGHT,
    },
}

EACH_SCENARIO = {scenario.id: [scenario] for scenario in SEED_SCENARIOS}


def in_turns(cases: Mapping[str, Sequence[object]], *, turn: int) -> list[Any]:
    """The cases for one of two kinds of dbt; every second one, from ``turn`` on, is for the short tests.

    So each case is played there with one of the two, and each kind plays half of them; the other halves are exhaustive.
    """
    return [
        pytest.param(*values, id=name, marks=() if number % 2 == turn else [pytest.mark.long, pytest.mark.exhaustive])
        for number, (name, values) in enumerate(cases.items())
    ]


@pytest.fixture(autouse=True)
def expected_to_fail(
    cosmos_implementation: Implementation, scenario: SeedStory, request: pytest.FixtureRequest
) -> None:
    """What the implementation is known to do otherwise fails, and nothing else."""
    finding = known_finding(cosmos_implementation.import_root, scenario)
    if finding is not None:
        errors = (AssertionError, cosmos_implementation.module("exceptions").CosmosValueError)
        request.applymarker(pytest.mark.xfail(reason=finding, strict=True, raises=errors))


@pytest.mark.parametrize("scenario", in_turns(EACH_SCENARIO, turn=0))
def test_seeds_do_as_the_page_says(cosmos_seed_scenario: SeedScenarios, scenario: SeedStory) -> None:
    cosmos_seed_scenario.play(scenario)


@pytest.mark.parametrize("scenario", in_turns(EACH_SCENARIO, turn=1))
def test_seeds_do_as_the_page_says_with_a_dbt_that_is_a_program(
    cosmos_seed_scenario: SeedScenarios, scenario: SeedStory
) -> None:
    cosmos_seed_scenario.play(scenario, dbt_version="2.0.0a4")


def known_finding(import_root: str, scenario: SeedStory) -> str | None:
    if import_root == "cosmos_venv":
        return None
    findings = dict(FINDINGS.get(import_root, {}))
    if not metadata.version("apache-airflow").startswith("2."):
        findings |= FINDINGS_ON_AIRFLOW_3.get(import_root, {})
    return findings.get(scenario.id)
