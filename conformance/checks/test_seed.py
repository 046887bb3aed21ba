"""SEED: which seeds are rendered, and which of them dbt loads again: scenarios of the toolkit, played on whole DAGs."""

from __future__ import annotations

import pytest

from pytest_cosmos_venv.seeds.ready_made import OTHER_MODES

from ..adapter import COMMANDS
from ..harness.harness import Harness
from ..harness.runs import require
from ..harness.seed_scenarios import LARGE, VIRTUALENV, why_no_read_fails
from ..options import asked
from ..requirements import case, requirement

BEHAVIORS = ["always", "when_seed_changes", "render_only", "none"]
_REFUSED = [f"refused-with-{mode}" for mode in OTHER_MODES]


@pytest.mark.parametrize(
    "scenarios",
    [
        case("SEED-001", ["the-default-runs-each-time", "always-runs-each-time", "always-runs-each-time-in-a-group"]),
        case("SEED-001", ["always-runs-each-time-under-build"], needs=COMMANDS["build"]),
        case("SEED-002", ["render-only-leaves-an-empty-operator", "render-only-leaves-an-empty-operator-in-a-group"]),
        case("SEED-003", ["none-leaves-no-task", "none-leaves-no-task-in-a-group"]),
        case("SEED-004", ["the-first-run-loads"]),
        case(
            "SEED-005",
            [
                "unchanged-is-skipped",
                "unchanged-is-skipped-in-a-group",
                "the-test-of-a-skipped-seed-runs",
                "a-touched-file-is-unchanged",
                "a-file-deleted-and-made-again-is-unchanged",
                "an-empty-file-has-a-checksum",
            ],
        ),
        case(
            "SEED-006",
            [
                "changed-is-loaded",
                "changed-back-is-loaded",
                "a-change-of-equal-size-and-time-is-loaded",
                "the-last-byte-of-a-large-file-counts",
            ],
        ),
        case("SEED-007", ["a-first-run-that-failed-is-not-remembered", "a-change-that-failed-is-not-remembered"]),
        case("SEED-008", ["the-checksum-is-sha256", "the-remembered-sha256-is-recognised"]),
        case("SEED-009", ["a-run-sets-a-variable", "another-checksum-than-the-remembered-one-is-a-change"]),
        case("SEED-010", ["two-dags-remember-apart", "another-dag-starts-afresh"]),
        case(
            "SEED-011",
            [
                "two-groups-of-a-dag-remember-apart",
                "equal-groups-of-two-dags-remember-apart",
                "a-dag-and-a-group-of-its-name-remember-apart",
                "a-group-and-one-of-another-dag-within-a-group-remember-apart",
            ],
        ),
        case("SEED-012", ["only-the-changed-seed-is-loaded", "a-seed-that-failed-does-not-make-others-run"]),
        case("SEED-013", ["a-missing-file-runs-dbt", "a-dangling-link-runs-dbt", "a-directory-in-its-place-runs-dbt"]),
        case("SEED-015", ["a-variable-that-cannot-be-written-fails-nothing", "variables-that-are-down-run-dbt"]),
        case("SEED-016", ["a-corrupt-variable-runs-dbt", "json-of-another-shape-runs-dbt"]),
        case("SEED-017", ["full-refresh-runs-always"]),
        case("SEED-018", ["full-refresh-remembers-nothing"]),
        case("SEED-019", ["a-skip-updates-no-asset"]),
        case("SEED-020", ["a-load-updates-the-asset"]),
        case("SEED-021", [*_REFUSED, "refused-with-a-mode-in-a-group", "accepted-in-local", "accepted-in-virtualenv"]),
        case("SEED-033", [*(f"refused-in-words-with-{mode}" for mode in OTHER_MODES)]),
        case(
            "SEED-033",
            ["refused-with-test-behavior-build", "refused-with-test-behavior-build-in-a-group"],
            needs=COMMANDS["build"],
        ),
        case("SEED-034", [*(f"refused-without-the-library-of-{mode}" for mode in OTHER_MODES)]),
        case("SEED-031", ["accepted-in-airflow_async"]),
        case("SEED-022", ["refused-with-build", "refused-with-build-in-a-group"]),
        case("SEED-023", ["a-manifest-and-dbt-ls-agree", "the-checksum-in-the-manifest-does-not-count"]),
        case("SEED-024", ["a-manifest-without-checksums-is-enough"]),
        case("SEED-026", ["changed-while-dbt-runs-is-loaded-again"]),
        case("SEED-027", ["watcher-renders-always", "watcher-renders-render-only", "watcher-renders-none"]),
        case(
            "SEED-029",
            ["ids-that-join-to-the-same-text-remember-apart", "a-dag-whose-id-looks-like-a-group-remembers-apart"],
        ),
        case(
            "SEED-030",
            [
                "other-line-endings-are-a-change",
                "a-byte-order-mark-is-a-change",
                "a-link-to-the-same-content-is-unchanged",
            ],
        ),
        case("SEED-032", ["changed-after-parsing-is-loaded", "what-was-loaded-is-what-is-remembered"]),
    ],
)
def test_scenarios_come_out_as_required(harness: Harness, scenarios: list[str]) -> None:
    require(harness, *scenarios)


@requirement("SEED-028")
def test_there_are_four_behaviors(harness: Harness) -> None:
    seen = harness.ask("enum_members", name="SeedRenderingBehavior") or {}

    missing = [name for name in BEHAVIORS if name not in seen.values()]
    assert not missing, f"SeedRenderingBehavior must have {BEHAVIORS}; seen: {seen}, without {missing}"


@pytest.mark.parametrize(
    "scenario",
    [
        case("SEED-004", "the-first-run-loads"),
        case("SEED-005", "unchanged-is-skipped-in-virtualenv-mode"),
        case("SEED-006", "changed-is-loaded"),
        case("SEED-007", "a-first-run-that-failed-is-not-remembered"),
        case("SEED-017", "full-refresh-runs-always"),
    ],
)
def test_it_is_so_in_virtualenv_mode(harness: Harness, scenario: str) -> None:
    require(harness, scenario, mode=VIRTUALENV)


@requirement("SEED-014")
def test_a_variable_that_cannot_be_read_runs_dbt(harness: Harness) -> None:
    if reason := why_no_read_fails():
        pytest.skip(reason)
    require(harness, "a-variable-that-cannot-be-read-runs-dbt")


@requirement("SEED-025")
def test_a_large_seed_is_hashed_in_constant_memory(harness: Harness, pytestconfig: pytest.Config) -> None:
    require(harness, LARGE[1024 if asked(pytestconfig, "rounds") == "full" else 256])
