"""The loads of a seed that have broken off, and the tasks that get to know of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cosmos_venv.operators.seeds.seed_state import SeedLoads
from pytest_cosmos_venv import Contender, TaskRace


def loads(folder: Path, key: str = "piers__3f") -> SeedLoads:
    return SeedLoads(cache_dir=folder / "cache", key=key)


def test_a_load_that_lasts_has_not_broken_off_and_one_that_ended_well_leaves_nothing(tmp_path: Path) -> None:
    with loads(tmp_path).own() as own:
        assert not loads(tmp_path).broken_off()
        assert own.is_undisturbed()
        own.end_well()

    assert not loads(tmp_path).broken_off()
    assert [path.suffix for path in (tmp_path / "cache" / "seeds-v1").iterdir()] == [".flock"]


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


def count_misses(contender: Contender, folder: Path) -> int:
    return sum(len(loads(folder).broken_off()) != 1 for _ in range(500))


def test_all_who_ask_at_once_find_it(cosmos_task_race: TaskRace, tmp_path: Path) -> None:
    with loads(tmp_path).own():
        pass

    race = cosmos_task_race(count_misses, tmp_path, contenders=4)

    assert [outcome.value for outcome in race.outcomes] == [0] * 4


@pytest.mark.parametrize("is_forgotten", [True, False])
def test_where_nobody_else_is_at_it_a_failure_is_kept_only_for_what_could_not_be_forgotten(
    is_forgotten: bool, tmp_path: Path
) -> None:
    with loads(tmp_path).own() as own:
        own.break_off(is_forgotten=is_forgotten)

    assert bool(loads(tmp_path).broken_off()) is not is_forgotten


def test_those_that_last_learn_of_a_failure(tmp_path: Path) -> None:
    with loads(tmp_path).own() as lasting:
        with loads(tmp_path).own() as failing:
            failing.break_off(is_forgotten=True)

        assert not lasting.is_undisturbed()


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
