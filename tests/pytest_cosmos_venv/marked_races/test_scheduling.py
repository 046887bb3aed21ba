"""Races are handed out so that nothing can be stuck: thousands of runs before the real schedulers of pytest-xdist."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from xdist.scheduler import (  # type: ignore[import-untyped]
    LoadFileScheduling,
    LoadGroupScheduling,
    LoadScheduling,
    LoadScopeScheduling,
    WorkStealingScheduling,
)

from pytest_cosmos_venv.marked_races.mark import copy_id
from tests.pytest_cosmos_venv.marked_races.simulated_workers import Run

SCHEDULINGS = [
    LoadFileScheduling,
    LoadGroupScheduling,
    LoadScheduling,
    LoadScopeScheduling,
    WorkStealingScheduling,
]
SEEDS = range(60)

every_scheduling = pytest.mark.parametrize("scheduling", SCHEDULINGS, ids=lambda scheduling: scheduling.__name__)


def chance(seed: int) -> Random:
    """The same course of events every time."""
    return Random(seed)  # noqa: S311 - no secret


def collection(random: Random, workers: int) -> list[str]:
    """Tests and races of every size that fits, and of one that does not, in any order."""
    ids = [f"t{random.randrange(3)}.py::plain[{number}]" for number in range(random.choice([0, 1, 2, 5, 20]))]
    for number in range(random.choice([1, 2, 5])):
        copies = random.randrange(2, workers + 2)
        ids += [f"r{number % 2}.py::race[{number}-{copy_id(index, copies)}]" for index in range(copies)]
    random.shuffle(ids)
    return ids


def one_run(scheduling: Any, root: Path, seed: int, **how: Any) -> Run:
    random = chance(seed)
    workers = random.choice([2, 3, 4])
    return Run(scheduling, collection(random, workers), workers, root, random, **how)


@every_scheduling
def test_every_test_is_run_once_and_no_two_races_at_once(scheduling: Any, tmp_path: Path) -> None:
    for seed in SEEDS:
        run = one_run(scheduling, tmp_path / str(seed), seed)

        run.go()

        assert sorted(run.done) == list(range(len(run.ids))), seed
        assert run.left_out == [], seed
        assert all(len(races) == 1 for races in run.at_once), seed


@every_scheduling
def test_after_crashes_every_test_was_run_or_is_blamed(scheduling: Any, tmp_path: Path) -> None:
    # Of the schedulers by scope, only copies: they get stuck now and then when another test crashes, races or not.
    only_copies = issubclass(scheduling, LoadScopeScheduling)
    crashes = 0
    for seed in SEEDS:
        run = one_run(scheduling, tmp_path / str(seed), seed, crashes=3, crash_of_copies=only_copies)

        run.go()

        blamed = {run.ids.index(one) for one in run.blamed}
        assert {*run.done} | blamed == set(range(len(run.ids))), seed
        assert not blamed & {*run.done} & {*run.race_of}, seed
        assert all(len(races) == 1 for races in run.at_once), seed
        assert run.left_out == [], seed
        crashes += len(run.blamed)
    assert crashes > len(SEEDS) / 4, "hardly anything has crashed"


def test_a_run_whose_new_worker_has_collected_other_tests_ends(tmp_path: Path) -> None:
    ids = [f"r.py::race[{number}-{copy_id(index, 3)}]" for number in range(4) for index in range(3)]
    run = Run(LoadScheduling, ids, 3, tmp_path, chance(1), crashes=1, stranger=True)

    with pytest.raises(pytest.exit.Exception, match=r"The worker gw.x, which replaces one that crashed, has collected"):
        run.go()


@every_scheduling
def test_a_run_that_is_stopped_lets_no_race_begin(
    scheduling: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in SEEDS:
        run = one_run(scheduling, tmp_path / str(seed), seed)
        stop_at = run.random.randrange(len(run.ids))

        def stop_or_begin(index: int, run: Run = run, stop_at: int = stop_at) -> None:
            Run.begins(run, index)
            if index == stop_at and not run.is_shutting_down:
                run.is_shutting_down = True
                for one in run.sched.nodes:
                    one.shutdown()

        monkeypatch.setattr(run, "begins", stop_or_begin)

        run.go()

        begun = [race for race in run.races if {*race.positions} & ({*run.done} - {*run.left_out})]
        assert all({*race.positions} <= {*run.done} for race in begun), seed


@every_scheduling
def test_without_a_race_the_chosen_scheduler_is_left_alone(scheduling: Any, tmp_path: Path) -> None:
    ids = [f"t.py::plain[{number}]" for number in range(9)] + [f"t.py::race[{copy_id(0, 2)}]"]
    run = Run(scheduling, ids, 2, tmp_path, chance(1))

    run.go()

    assert sorted(run.done) == list(range(10))
    assert isinstance(run.sched, scheduling)
    assert run.sched.__class__ is scheduling
    assert run.sched._target is run.sched._inner
    assert not any(tmp_path.iterdir())
