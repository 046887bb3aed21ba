"""The ready-made scenarios of ``when_seed_changes``: which edits count as changes of a seed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pytest_cosmos_venv.seeds.scenario_model import (
    ASSET,
    BEST_EFFORT,
    BOTH_LOADS,
    CHANGED,
    FULL_REFRESH,
    MODES,
    NOT_UPDATED,
    SHA256,
    UNCHANGED,
    Chapter,
)

if TYPE_CHECKING:
    from pytest_cosmos_venv.seeds.edits import Obstacle
    from pytest_cosmos_venv.seeds.scenario import SeedScenario


_LARGE = 3 * 2**20 + 1

_CHANGES = Chapter(behavior="when_seed_changes", model=None)
CHANGE_SCENARIOS = _CHANGES.scenarios


@_CHANGES.scenario(CHANGED)
def _the_first_run_loads(harbor: SeedScenario) -> None:
    harbor.build().must("task")
    harbor.run().must("ran")


@_CHANGES.scenario(UNCHANGED, model="staging")
def _unchanged_is_skipped(harbor: SeedScenario) -> None:
    harbor.run().must("ran").must_call("run")
    harbor.run().must("skipped").must_call("run")


@_CHANGES.scenario(UNCHANGED, model="staging", places=("port/north",), load="dbt_ls")
def _unchanged_is_skipped_in_a_group(harbor: SeedScenario) -> None:
    harbor.run().must("ran").must_call("run")
    harbor.run().must("skipped").must_call("run")


@_CHANGES.scenario(UNCHANGED, test_behavior="after_each")
def _the_test_of_a_skipped_seed_runs(harbor: SeedScenario) -> None:
    harbor.run().must("ran").must_call("test")
    harbor.run().must("skipped").must_call("test")


@_CHANGES.scenario(CHANGED)
def _changed_is_loaded(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.edit()
    harbor.run().must("ran")


@_CHANGES.scenario(CHANGED)
def _changed_back_is_loaded(harbor: SeedScenario) -> None:
    first = harbor.file().read_text(encoding="utf-8")
    harbor.run().must("ran")
    harbor.edit()
    harbor.run().must("ran")
    harbor.edit(csv=first)
    harbor.run().must("ran")


@_CHANGES.scenario(SHA256)
def _a_change_of_equal_size_and_time_is_loaded(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.edit_unnoticed()
    harbor.run().must("ran")


@_CHANGES.scenario(SHA256)
def _a_touched_file_is_unchanged(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.touch()
    harbor.run().must("skipped")


@_CHANGES.scenario(SHA256)
def _a_file_deleted_and_made_again_is_unchanged(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.delete()
    harbor.restore()
    harbor.run().must("skipped")


@_CHANGES.scenario(SHA256, level="should")
def _a_link_to_the_same_content_is_unchanged(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.replace_by_link()
    harbor.run().must("skipped")


@_CHANGES.scenario(SHA256, level="should")
def _other_line_endings_are_a_change(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.replace_line_endings()
    harbor.run().must("ran")


@_CHANGES.scenario(SHA256, level="should")
def _a_byte_order_mark_is_a_change(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.add_byte_order_mark()
    harbor.run().must("ran")


@_CHANGES.scenario(SHA256)
def _an_empty_file_has_a_checksum(harbor: SeedScenario) -> None:
    harbor.edit(csv="")
    harbor.run().must("ran")
    harbor.run().must("skipped")


@_CHANGES.scenario(SHA256)
def _the_last_byte_of_a_large_file_counts(harbor: SeedScenario) -> None:
    harbor.grow(size=_LARGE)
    harbor.run().must("ran")
    harbor.change_last_byte()
    harbor.run().must("ran")


@_CHANGES.scenario(CHANGED, level="should")
def _changed_after_parsing_is_loaded(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.run(after_parsing=harbor.edit).must("ran")


@_CHANGES.scenario(CHANGED, level="should")
def _what_was_loaded_is_what_is_remembered(harbor: SeedScenario) -> None:
    harbor.run(after_parsing=harbor.edit).must("ran")
    harbor.run().must("skipped")


@_CHANGES.scenario(CHANGED, level="should")
def _changed_while_dbt_runs_is_loaded_again(harbor: SeedScenario) -> None:
    harbor.run(while_dbt_runs=harbor.edit).must("ran")
    harbor.run().must("ran")


@_CHANGES.scenario(CHANGED, seeds=("piers", "ships"))
def _only_the_changed_seed_is_loaded(harbor: SeedScenario) -> None:
    harbor.run().must("ran", seed="piers").must("ran", seed="ships")
    harbor.run().must("skipped", seed="piers").must("skipped", seed="ships")
    harbor.edit("ships")
    harbor.run().must("skipped", seed="piers").must("ran", seed="ships")


@_CHANGES.scenario(CHANGED)
def _a_first_run_that_failed_is_not_remembered(harbor: SeedScenario) -> None:
    harbor.run(dbt_fails=True).must("failed", stored=False)
    harbor.run().must("ran")


@_CHANGES.scenario(CHANGED)
def _a_change_that_failed_is_not_remembered(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.edit()
    harbor.run(dbt_fails=True).must("failed", stored=False)
    harbor.run().must("ran")


@_CHANGES.scenario(CHANGED, seeds=("piers", "ships"))
def _a_seed_that_failed_does_not_make_others_run(harbor: SeedScenario) -> None:
    harbor.run(dbt_fails="ships").must("ran", seed="piers").must("failed", seed="ships")
    harbor.run().must("skipped", seed="piers").must("ran", seed="ships")


@_CHANGES.scenario(BOTH_LOADS)
def _a_manifest_and_dbt_ls_agree(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.change(load="dbt_ls")
    harbor.run().must("skipped")
    harbor.edit()
    harbor.run().must("ran")
    harbor.change(load="manifest")
    harbor.run().must("skipped")


@_CHANGES.scenario(BOTH_LOADS)
def _the_checksum_in_the_manifest_does_not_count(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.set_manifest_checksum("0" * 64)
    harbor.run().must("skipped")
    harbor.edit()
    harbor.run().must("ran")


@_CHANGES.scenario(BOTH_LOADS, level="should")
def _a_manifest_without_checksums_is_enough(harbor: SeedScenario) -> None:
    harbor.set_manifest_checksum(None)
    harbor.run().must("ran")
    harbor.run().must("skipped")
    harbor.edit()
    harbor.run().must("ran")


@_CHANGES.scenario(FULL_REFRESH)
def _full_refresh_runs_always(harbor: SeedScenario) -> None:
    harbor.run().must("ran", full_refresh=False)
    harbor.run(full_refresh=True).must("ran", full_refresh=True)


@_CHANGES.scenario(NOT_UPDATED)
def _full_refresh_remembers_nothing(harbor: SeedScenario) -> None:
    harbor.run(full_refresh=True).must("ran", stored=False)
    harbor.run().must("ran", stored=True)
    harbor.edit()
    harbor.run(full_refresh=True).must("ran", stored=False)
    harbor.run().must("ran")


@_CHANGES.scenario(ASSET)
def _a_skip_updates_no_asset(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.run().must("skipped", asset=False)


@_CHANGES.scenario(ASSET, level="should")
def _a_load_updates_the_asset(harbor: SeedScenario) -> None:
    harbor.run().must("ran", asset=True)


@_CHANGES.scenario(MODES, execution_mode="virtualenv")
def _unchanged_is_skipped_in_virtualenv_mode(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.run().must("skipped")


@_CHANGES.scenario(BEST_EFFORT)
def _a_missing_file_runs_dbt(harbor: SeedScenario) -> None:
    # Without the file, an implementation might use the checksum of the manifest instead, so there is none.
    harbor.set_manifest_checksum(None)
    harbor.run().must("ran")
    harbor.delete()
    # dbt finds no seed without its file. The sentence does not say whether such a task succeeds.
    harbor.run().must_call("seed")
    harbor.run().must_call("seed")


def _unreadable(by: Obstacle, harbor: SeedScenario) -> None:
    harbor.set_manifest_checksum(None)
    harbor.run().must("ran")
    harbor.make_unreadable(by=by)
    harbor.run().must_call("seed")
    harbor.run().must_call("seed")


_CHANGES.add("a-dangling-link-runs-dbt", BEST_EFFORT, partial(_unreadable, "dangling link"))
_CHANGES.add("a-directory-in-its-place-runs-dbt", BEST_EFFORT, partial(_unreadable, "directory"))
