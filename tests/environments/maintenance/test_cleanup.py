"""A build is deleted whatever its permissions, also by several who have found the same rubbish."""

from __future__ import annotations

from pathlib import Path

from cosmos_venv.environments.maintenance import cleanup
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


def test_a_directory_that_may_not_even_be_listed_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "build" / "closed" / "below").mkdir(parents=True)
    (tmp_path / "build" / "closed").chmod(0)

    cleanup.remove(tmp_path / "build")

    assert not (tmp_path / "build").exists()
