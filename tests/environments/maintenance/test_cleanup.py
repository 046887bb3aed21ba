"""A build is deleted whatever its permissions, also by several who have found the same rubbish."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cosmos_venv.environments.layout import StoreLayout
from cosmos_venv.environments.maintenance import cleanup
from cosmos_venv.files.filesystem_check import TRIAL_PREFIX
from pytest_cosmos_venv import Contender, TaskRace


def make_tree(root: Path) -> Path:
    for number in range(60):
        folder = root / f"package{number}" / "below"
        folder.mkdir(parents=True)
        for file in range(5):
            (folder / f"module{file}.py").touch()
    cleanup.protect(root)
    return root


def remove(contender: Contender, root: Path) -> bool:
    cleanup.remove(root)
    return root.exists()


def test_several_may_delete_the_same_at_once(tmp_path: Path, cosmos_task_race: TaskRace) -> None:
    for number in range(5):
        tree = make_tree(tmp_path / f"tree{number}")

        race = cosmos_task_race(remove, tree, contenders=4)

        assert race.values == (False,) * 4


def test_what_is_gone_already_is_no_error(tmp_path: Path) -> None:
    cleanup.remove(tmp_path / "gone")


def test_a_directory_that_may_not_even_be_listed_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "build" / "closed" / "below").mkdir(parents=True)
    (tmp_path / "build" / "closed").chmod(0)

    cleanup.remove(tmp_path / "build")

    assert not (tmp_path / "build").exists()


@pytest.fixture
def store(tmp_path: Path) -> StoreLayout:
    """A store of which nothing but the root is there."""
    layout = StoreLayout(tmp_path / "store")
    layout.builds.mkdir(parents=True)
    return layout


def test_a_bin_that_cannot_be_listed_is_told_and_stops_no_sweep(store: StoreLayout) -> None:
    (store.directory / "bin").symlink_to("bin")
    half_link = store.root / f".{'a' * 32}"
    trial = store.directory / f"{TRIAL_PREFIX}left"
    half_note = store.directory / f".{'b' * 32}"
    half_link.symlink_to("nowhere")
    half_note.touch()
    trial.mkdir()
    lines: list[str] = []

    cleanup.sweep_links(store, lines.append)

    assert not os.path.lexists(half_link)
    assert not half_note.exists()
    assert not trial.exists()
    (line,) = lines
    assert line.startswith(f"{store.directory / 'bin'} keeps what killed builders left there: ")


def test_a_half_made_command_goes_whatever_its_time_and_a_users_own_stays(store: StoreLayout) -> None:
    folder = store.directory / "bin"
    folder.mkdir()
    half, of_a_fast_clock, theirs = folder / f".{'a' * 32}", folder / f".{'b' * 32}", folder / "unpacking-tool"
    for path in (half, of_a_fast_clock, theirs):
        path.touch()
    ahead = time.time() + 600
    os.utime(of_a_fast_clock, (ahead, ahead))

    cleanup.sweep_links(store, pytest.fail)

    assert [path.name for path in folder.iterdir()] == ["unpacking-tool"]
