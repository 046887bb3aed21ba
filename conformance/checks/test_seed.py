"""SEED: which seeds are rendered, and which of them dbt loads again: scenarios of the toolkit, played on whole DAGs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_cosmos_venv.seeds.ready_made import OTHER_MODES

from ..adapter import COMMANDS
from ..declaration import Declaration
from ..fixtures import DoesNotApply
from ..harness.harness import Harness
from ..harness.runs import memory_for_a_large_seed, require
from ..harness.seed_scenarios import VIRTUALENV, why_no_read_fails
from ..requirements import requirement

BEHAVIORS = ["always", "when_seed_changes", "render_only", "none"]
MIB = 2**20
LARGE = {"full": 2**30}
"""Bytes of a large seed, by profile."""
LARGE_UNLESS_FULL = 2**28


@requirement("SEED-028")
def test_there_are_four_behaviors(harness: Harness) -> None:
    seen = harness.ask("enum_members", name="SeedRenderingBehavior") or {}

    missing = [name for name in BEHAVIORS if name not in seen.values()]
    assert not missing, f"SeedRenderingBehavior must have {BEHAVIORS}; seen: {seen}, without {missing}"


@requirement("SEED-001")
def test_a_seed_runs_each_time_unless_something_else_is_said(harness: Harness) -> None:
    require(
        harness,
        "the-default-runs-each-time",
        "always-runs-each-time",
        "always-runs-each-time-in-a-group",
        "always-runs-each-time-under-build",
    )


@requirement("SEED-002")
def test_render_only_leaves_an_empty_operator(harness: Harness) -> None:
    require(harness, "render-only-leaves-an-empty-operator", "render-only-leaves-an-empty-operator-in-a-group")


@requirement("SEED-003")
def test_none_leaves_no_task(harness: Harness) -> None:
    require(harness, "none-leaves-no-task", "none-leaves-no-task-in-a-group")


@requirement("SEED-004")
def test_the_first_run_loads(harness: Harness) -> None:
    require(harness, "the-first-run-loads")


@requirement("SEED-005")
def test_an_unchanged_seed_succeeds_without_dbt_and_holds_nothing_up(harness: Harness) -> None:
    require(harness, "unchanged-is-skipped", "unchanged-is-skipped-in-a-group", "the-test-of-a-skipped-seed-runs")


@requirement("SEED-005")
def test_content_alone_counts(harness: Harness) -> None:
    require(
        harness,
        "a-touched-file-is-unchanged",
        "a-file-deleted-and-made-again-is-unchanged",
        "an-empty-file-has-a-checksum",
    )


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param("the-first-run-loads", marks=requirement("SEED-004")),
        pytest.param("unchanged-is-skipped-in-virtualenv-mode", marks=requirement("SEED-005")),
        pytest.param("changed-is-loaded", marks=requirement("SEED-006")),
        pytest.param("a-first-run-that-failed-is-not-remembered", marks=requirement("SEED-007")),
        pytest.param("full-refresh-runs-always", marks=requirement("SEED-017")),
    ],
)
def test_it_is_so_in_virtualenv_mode(harness: Harness, scenario: str) -> None:
    require(harness, scenario, mode=VIRTUALENV)


@requirement("SEED-006")
def test_changed_content_is_loaded(harness: Harness) -> None:
    require(
        harness,
        "changed-is-loaded",
        "changed-back-is-loaded",
        "a-change-of-equal-size-and-time-is-loaded",
        "the-last-byte-of-a-large-file-counts",
    )


@requirement("SEED-007")
def test_only_a_successful_run_is_remembered(harness: Harness) -> None:
    require(harness, "a-first-run-that-failed-is-not-remembered", "a-change-that-failed-is-not-remembered")


@requirement("SEED-008")
def test_the_checksum_is_sha256(harness: Harness) -> None:
    require(harness, "the-checksum-is-sha256", "the-remembered-sha256-is-recognised")


@requirement("SEED-009")
def test_it_is_kept_in_an_airflow_variable(harness: Harness) -> None:
    require(harness, "a-run-sets-a-variable", "another-checksum-than-the-remembered-one-is-a-change")


@requirement("SEED-010")
def test_each_dag_remembers_for_itself(harness: Harness) -> None:
    require(harness, "two-dags-remember-apart", "another-dag-starts-afresh")


@requirement("SEED-011")
def test_each_group_remembers_for_itself(harness: Harness) -> None:
    require(
        harness,
        "two-groups-of-a-dag-remember-apart",
        "equal-groups-of-two-dags-remember-apart",
        "a-dag-and-a-group-of-its-name-remember-apart",
        "a-group-and-one-of-another-dag-within-a-group-remember-apart",
    )


@requirement("SEED-012")
def test_each_seed_is_remembered_for_itself(harness: Harness) -> None:
    require(harness, "only-the-changed-seed-is-loaded", "a-seed-that-failed-does-not-make-others-run")


@requirement("SEED-013")
def test_a_file_that_cannot_be_read_runs_dbt(harness: Harness) -> None:
    require(harness, "a-missing-file-runs-dbt", "a-dangling-link-runs-dbt", "a-directory-in-its-place-runs-dbt")


@requirement("SEED-014")
def test_a_variable_that_cannot_be_read_runs_dbt(harness: Harness) -> None:
    if reason := why_no_read_fails():
        pytest.skip(reason)
    require(harness, "a-variable-that-cannot-be-read-runs-dbt")


@requirement("SEED-015")
def test_a_variable_that_cannot_be_written_fails_nothing(harness: Harness) -> None:
    require(harness, "a-variable-that-cannot-be-written-fails-nothing", "variables-that-are-down-run-dbt")


@requirement("SEED-016")
def test_a_corrupt_variable_runs_dbt(harness: Harness) -> None:
    require(harness, "a-corrupt-variable-runs-dbt", "json-of-another-shape-runs-dbt")


@requirement("SEED-017")
def test_full_refresh_runs_always(harness: Harness) -> None:
    require(harness, "full-refresh-runs-always")


@requirement("SEED-018")
def test_full_refresh_remembers_nothing(harness: Harness) -> None:
    require(harness, "full-refresh-remembers-nothing")


@requirement("SEED-019")
def test_a_skip_updates_no_asset(harness: Harness) -> None:
    require(harness, "a-skip-updates-no-asset")


@requirement("SEED-020")
def test_a_load_updates_the_asset(harness: Harness) -> None:
    require(harness, "a-load-updates-the-asset")


@requirement("SEED-021")
def test_other_execution_modes_are_refused(harness: Harness) -> None:
    refused = [f"refused-with-{mode}" for mode in OTHER_MODES]
    require(harness, *refused, "refused-with-a-mode-in-a-group", "accepted-in-local", "accepted-in-virtualenv")


@requirement("SEED-033")
def test_a_refusal_names_what_cannot_be_together(harness: Harness) -> None:
    require(harness, *(f"refused-in-words-with-{mode}" for mode in OTHER_MODES))


@requirement("SEED-033")
def test_a_refusal_names_the_test_behavior(
    harness: Harness, adapter: Declaration, does_not_apply: DoesNotApply
) -> None:
    if COMMANDS["build"] in adapter.absent:
        does_not_apply("it has no operator for dbt build")
    require(harness, "refused-with-test-behavior-build", "refused-with-test-behavior-build-in-a-group")


@requirement("SEED-034")
def test_other_execution_modes_are_refused_without_their_libraries(harness: Harness) -> None:
    require(harness, *(f"refused-without-the-library-of-{mode}" for mode in OTHER_MODES))


@requirement("SEED-031")
def test_airflow_async_is_accepted(harness: Harness) -> None:
    require(harness, "accepted-in-airflow_async")


@requirement("SEED-022")
def test_test_behavior_build_is_refused(harness: Harness) -> None:
    require(harness, "refused-with-build", "refused-with-build-in-a-group")


@requirement("SEED-023")
def test_manifest_and_dbt_ls_agree(harness: Harness) -> None:
    require(harness, "a-manifest-and-dbt-ls-agree", "the-checksum-in-the-manifest-does-not-count")


@requirement("SEED-024")
def test_a_manifest_without_checksums_is_enough(harness: Harness) -> None:
    require(harness, "a-manifest-without-checksums-is-enough")


@requirement("SEED-025")
def test_a_large_seed_is_hashed_in_constant_memory(
    harness: Harness, pytestconfig: pytest.Config, evidence: Callable[[str], None]
) -> None:
    size = LARGE.get(pytestconfig.getoption("cosmos_profile"), LARGE_UNLESS_FULL)

    more = memory_for_a_large_seed(harness, size)

    evidence(f"{more // MIB} MiB more for a seed of {size // MIB} MiB")
    assert more < 64 * MIB, (
        f"a seed of {size // MIB} MiB must need less than 64 MiB of memory more than a small one; "
        f"seen: {more // MIB} MiB more"
    )


@requirement("SEED-026")
def test_a_file_that_changes_while_dbt_runs_is_not_remembered_as_loaded(harness: Harness) -> None:
    require(harness, "changed-while-dbt-runs-is-loaded-again")


@requirement("SEED-027")
def test_what_the_watcher_renders(harness: Harness) -> None:
    require(harness, "watcher-renders-always", "watcher-renders-render-only", "watcher-renders-none")


@requirement("SEED-029")
def test_ids_that_join_to_the_same_text_remember_apart(harness: Harness) -> None:
    require(
        harness,
        "ids-that-join-to-the-same-text-remember-apart",
        "a-dag-whose-id-looks-like-a-group-remembers-apart",
    )


@requirement("SEED-030")
def test_bytes_count_and_not_characters(harness: Harness) -> None:
    require(
        harness,
        "other-line-endings-are-a-change",
        "a-byte-order-mark-is-a-change",
        "a-link-to-the-same-content-is-unchanged",
    )


@requirement("SEED-032")
def test_what_was_loaded_is_what_is_remembered(harness: Harness) -> None:
    require(harness, "changed-after-parsing-is-loaded", "what-was-loaded-is-what-is-remembered")
