"""Every ready-made scenario can be fulfilled, and every one can fail. Played on a stand-in, right and with faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pytest_cosmos_venv import SEED_SCENARIOS, SeedScenarios, SeedStory
from tests.pytest_cosmos_venv.any_implementation.test_any_seed_scenarios import (
    FINDINGS,
    FINDINGS_ON_AIRFLOW_3,
    in_turns,
)
from tests.pytest_cosmos_venv.seeds.standin.faults import fault

STORIES = {story.id: story for story in SEED_SCENARIOS}
OTHER_MODES = (
    "watcher",
    "watcher_kubernetes",
    "watcher_gcp_gke",
    "docker",
    "kubernetes",
    "aws_eks",
    "aws_ecs",
    "azure_container_instance",
    "gcp_cloud_run_job",
    "gcp_gke",
)
FOUND_BY = {
    # How seeds are rendered.
    "default is when_seed_changes": (
        "the-default-runs-each-time",
        "always-runs-each-time",
        "always-runs-each-time-in-a-group",
    ),
    "seeds are never rendered": ("the-first-run-loads", "watcher-renders-always"),
    "build runs dbt seed": ("always-runs-each-time-under-build",),
    "render_only runs": (
        "render-only-leaves-an-empty-operator-in-a-group",
        "watcher-renders-render-only",
    ),
    "render_only has no edges": ("render-only-leaves-an-empty-operator",),
    "none is rendered": ("none-leaves-no-task-in-a-group", "watcher-renders-none"),
    "none leaves the test": ("none-leaves-no-task",),
    "build is not refused": (
        "refused-with-test-behavior-build",
        "refused-with-test-behavior-build-in-a-group",
    ),
    "no mode is refused": ("refused-in-a-group", *(f"refused-in-{mode}" for mode in OTHER_MODES if mode != "docker")),
    "refusals name no mode": ("refused-in-docker",),
    "every mode is refused": ("accepted-in-local", "accepted-in-virtualenv", "accepted-in-airflow_async"),
    # What is a change.
    "seeds always run": (
        "unchanged-is-skipped-in-a-group",
        "unchanged-is-skipped-in-virtualenv-mode",
        "a-file-deleted-and-made-again-is-unchanged",
        "a-seed-that-failed-does-not-make-others-run",
    ),
    "a skip is Airflow's skip": ("unchanged-is-skipped",),
    "tests after a skip are left out": ("the-test-of-a-skipped-seed-runs",),
    "once loaded is loaded": ("changed-is-loaded", "changed-back-is-loaded"),
    "size and time count": ("a-change-of-equal-size-and-time-is-loaded", "a-touched-file-is-unchanged"),
    "a link is no file": ("a-link-to-the-same-content-is-unchanged",),
    "line endings do not count": ("other-line-endings-are-a-change",),
    "a byte order mark does not count": ("a-byte-order-mark-is-a-change",),
    "an empty file has no checksum": ("an-empty-file-has-a-checksum",),
    "the first MiB counts": ("the-last-byte-of-a-large-file-counts",),
    "it is computed while parsing": ("changed-after-parsing-is-loaded", "what-was-loaded-is-what-is-remembered"),
    "it is computed after dbt": ("changed-while-dbt-runs-is-loaded-again",),
    "all seeds share": ("only-the-changed-seed-is-loaded",),
    "the project's seeds share a checksum": ("only-the-changed-seed-is-loaded",),
    "failures are remembered": (
        "a-first-run-that-failed-is-not-remembered",
        "a-change-that-failed-is-not-remembered",
    ),
    "each load mode has its own": ("a-manifest-and-dbt-ls-agree",),
    "the manifest's checksum counts": (
        "the-checksum-in-the-manifest-does-not-count",
        "a-manifest-without-checksums-is-enough",
    ),
    "full_refresh is asked for changes": ("full-refresh-runs-always",),
    "the flag is lost": ("full-refresh-runs-always",),
    "full_refresh is remembered": ("full-refresh-remembers-nothing",),
    "a skip updates the asset": ("a-skip-updates-no-asset",),
    "a load updates no asset": ("a-load-updates-the-asset",),
    "a file that cannot be read is an error": ("a-missing-file-runs-dbt", "a-directory-in-its-place-runs-dbt"),
    "a file that cannot be read is unchanged": ("a-dangling-link-runs-dbt",),
    # What is remembered.
    "it is kept in the process": ("a-run-sets-a-variable",),
    "it is MD5": ("the-checksum-is-sha256", "the-remembered-sha256-is-recognised"),
    "any checksum will do": ("another-checksum-than-the-remembered-one-is-a-change",),
    "a corrupt value is an error": ("a-corrupt-variable-runs-dbt",),
    "a corrupt value is unchanged": ("json-of-another-shape-runs-dbt",),
    "a read that is denied is an error": ("a-variable-that-cannot-be-read-runs-dbt",),
    "what is missing comes from a cache": ("a-variable-that-cannot-be-read-runs-dbt",),
    "a write that fails is an error": (
        "a-variable-that-cannot-be-written-fails-nothing",
        "variables-that-are-down-run-dbt",
    ),
    "all places share": ("two-dags-remember-apart", "another-dag-starts-afresh"),
    "the groups of a DAG share": ("two-groups-of-a-dag-remember-apart",),
    "equal group ids share": (
        "equal-groups-of-two-dags-remember-apart",
        "a-dag-and-a-group-of-its-name-remember-apart",
    ),
    "the last group id counts": ("a-group-and-one-of-another-dag-within-a-group-remember-apart",),
    "ids are joined": (
        "ids-that-join-to-the-same-text-remember-apart",
        "a-dag-whose-id-looks-like-a-group-remembers-apart",
    ),
}
"""Fault of the stand-in -> the scenarios that find it; of each scenario one fault is enough."""
FULFILLED_HERE_ALONE = sorted(FINDINGS["cosmos"].keys() | FINDINGS_ON_AIRFLOW_3["cosmos"].keys())
"""The others are fulfilled by astronomer-cosmos, on which all are played (test_seeds_of_other_implementations)."""
DBTS = ("1.10.0", "2.0.0a4")
PAIRS = [(name, story) for name, stories in FOUND_BY.items() for story in stories]


def with_each_dbt(cases: Mapping[str, Sequence[object]]) -> list[Any]:
    """Each case with each dbt; the short tests have each with one of the two, in turns."""
    return [
        parameter
        for turn, dbt in enumerate(DBTS)
        for parameter in in_turns({f"{name}-{dbt}": [*values, dbt] for name, values in cases.items()}, turn=turn)
    ]


@pytest.mark.parametrize(
    ("scenario", "dbt_version"), with_each_dbt({name: [STORIES[name]] for name in FULFILLED_HERE_ALONE})
)
def test_a_right_implementation_fulfils_it(
    cosmos_seed_scenario: SeedScenarios, scenario: SeedStory, dbt_version: str
) -> None:
    cosmos_seed_scenario.play(scenario, dbt_version=dbt_version)


@pytest.mark.parametrize(
    ("name", "story", "dbt_version"), with_each_dbt({f"{name}-{story}": (name, story) for name, story in PAIRS})
)
def test_a_fault_is_found_by(cosmos_seed_scenario: SeedScenarios, name: str, story: str, dbt_version: str) -> None:
    with fault(name), pytest.raises(AssertionError, match="standin 1 does not do what is required"):
        cosmos_seed_scenario.play(STORIES[story], dbt_version=dbt_version)


def test_every_scenario_finds_a_fault() -> None:
    assert {story for _, story in PAIRS} == set(STORIES)
