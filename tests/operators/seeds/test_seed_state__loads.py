"""The loads of a seed that have broken off, and the tasks that get to know of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cosmos_venv.operators.seeds.seed_state import SeedLoads
from pytest_cosmos_venv import Contender, TaskRace


def loads(folder: Path, key: str = "piers__3f") -> SeedLoads:
    return SeedLoads(cache_dir=folder / "cache", key=key)


def test_a_load_of_which_no_end_was_told_has_broken_off_until_one_ends_well(tmp_path: Path) -> None:
    with loads(tmp_path).own():
        pass
    assert len(loads(tmp_path).broken_off()) == 1

    with loads(tmp_path).own() as own:
        assert own.is_undisturbed(), "it writes over what was left"
        own.end_well()

    assert not loads(tmp_path).broken_off()


def load_for_ever(contender: Contender, folder: Path) -> None:
    with loads(folder).own():
        contender.point("loading")
        threading.Event().wait(60)


def test_a_load_whose_process_was_killed_has_broken_off(cosmos_task_race: TaskRace, tmp_path: Path) -> None:
    with loads(tmp_path).own() as own:
        cosmos_task_race(load_for_ever, tmp_path, contenders=1, kill_at="loading", victim=0, check=False)

        assert not own.is_undisturbed()
        own.end_well()

    assert len(loads(tmp_path).broken_off()) == 1, "what broke off meanwhile still counts"


def test_other_seeds_and_other_airflows_are_none_of_its_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loads(tmp_path).own():
        pass

    assert not loads(tmp_path, "ships__3f").broken_off()
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    assert not loads(tmp_path).broken_off()


def test_where_no_file_can_be_made_every_load_counts_as_ended_well(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")

    with loads(tmp_path).own() as own:
        assert own.is_undisturbed()
        own.break_off(is_forgotten=False)

    assert not loads(tmp_path).broken_off()
