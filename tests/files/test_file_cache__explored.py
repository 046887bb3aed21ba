"""Kept parse files, listings and plans in every order of the steps of two processes that read, write and sweep them.

The model: under a digest stands one of the contents that were written whole, or nothing. Whoever has read one has all
of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.rendering.one_task.plan_cache import find, keep
from pytest_cosmos_venv import Contender, CosmosRace
from pytest_cosmos_venv.explore.run import Schedule
from tests.explored import FURTHER, SECONDS
from tests.rendering.one_task.test_plan_cache import plan

Work = Callable[[Contender], object]
DIGEST, OTHER = "d" * 64, "e" * 64
PARTS = (b"the first half\n", b"the second half\n")
OLD = 7_200.0  # seconds; a file that nobody has touched for so long counts as abandoned
APART = re.compile(r"\.[0-9a-f]{32}")


def cache(folder: Path, most: int = 50) -> FileCache:
    return FileCache(folder=folder / "cache" / "kept", suffix=".msgpack", most=most)


def write(contender: Contender, *, digest: str = DIGEST, most: int = 50) -> None:
    cache(contender.folder, most).write(digest, iter(PARTS))


def read(contender: Contender) -> bytes | None:
    return cache(contender.folder).read(DIGEST)


def make_in_turn(contender: Contender) -> bytes | None:
    """A process that needs what nobody has made: one makes it, and all have it."""
    files = cache(contender.folder)
    with files.exclusive(DIGEST, report=lambda: None):
        found = files.read(DIGEST)
        if found is None:
            with contender.span("made"):
                pass
            files.write(DIGEST, PARTS)
        return files.read(DIGEST)


def kept_long_ago(folder: Path) -> None:
    """What was kept two hours ago, and the file of a turn that was then."""
    with cache(folder).exclusive(DIGEST, report=lambda: None):
        cache(folder).write(DIGEST, PARTS)
    for path in cache(folder).folder.iterdir():
        then = path.stat().st_mtime - OLD
        os.utime(path, (then, then))


def whole_or_nothing(run: Schedule) -> None:
    for outcome in run.outcomes:
        assert outcome.value in {None, b"".join(PARTS)}, f"{outcome.actor} has read {outcome.value!r}"
    folder = run.folder / "cache" / "kept"
    unknown = [path.name for path in folder.iterdir() if APART.fullmatch(path.name)] if folder.exists() else []
    assert run.killed or not unknown, f"left behind: {unknown}"


def made_once(run: Schedule) -> None:
    whole_or_nothing(run)
    assert all(outcome.value for outcome in run.outcomes if outcome.succeeded), "there is nothing"
    assert run.killed or run.timeline.count("made") == 1, f"made {run.timeline.count('made')} times"


@pytest.mark.parametrize(
    ("works", "options"),
    [
        pytest.param([write, write], {}, id="write-and-write", marks=pytest.mark.long),  # 4 s of CPU
        pytest.param([write, read], {"fresh": kept_long_ago}, id="write-and-read"),  # 1 s
        pytest.param([partial(write, digest=OTHER, most=1), read], {"fresh": kept_long_ago}, id="sweep-and-read"),
        pytest.param(
            [partial(write, most=1), partial(write, digest=OTHER, most=1)], {}, id="full", marks=pytest.mark.long
        ),  # 4 s
        pytest.param(
            [make_in_turn, make_in_turn],
            {"after": make_in_turn, "check": made_once, "preemptions": 1, "kills": 0},
            id="turns-1",
        ),
        pytest.param(
            [make_in_turn, make_in_turn],
            {"after": make_in_turn, "check": made_once},
            id="turns",
            marks=FURTHER,  # 7 s
        ),
    ],
)
def test_two_processes_at_once(cosmos_race: CosmosRace, works: list[Work], options: dict[str, Any]) -> None:
    exploration = cosmos_race.explore(
        works, **{"after": read, "check": whole_or_nothing, "seconds": SECONDS, **options}
    )

    print(exploration)
    assert exploration.is_complete


def test_a_worker_finds_its_task_in_a_plan_that_another_one_keeps_now(cosmos_race: CosmosRace) -> None:
    def keep_plan(contender: Contender) -> None:
        keep(cache(contender.folder), DIGEST, plan(contender.folder, "a", "b", "c"), contender.folder)

    def find_task(contender: Contender) -> str | None:
        found = find(cache(contender.folder), DIGEST, "b", contender.folder)
        return None if found is None else found.task.task_id

    def found_or_not(run: Schedule) -> None:
        assert set(run.values) <= {None, "b"}
        assert run.killed or run.values[-1] == "b"

    exploration = cosmos_race.explore([keep_plan, find_task], after=find_task, check=found_or_not, seconds=SECONDS)

    print(exploration)
    assert exploration.is_complete
