"""What is retired is deleted, and what cannot be deleted is a line: nothing is tried without an end."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from cosmos_venv.environments.maintenance.pruner import retire, retire_damaged
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.files.kernel_lock import lease_path
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import MakeReady, MakeSpec


def retire_damage(store: EnvironmentStore, build: Path) -> None:
    retire_damaged(store, build, max_tries=0, cancellation=Cancellation(), report=print)


def test_a_damaged_build_is_found_no_more_and_stays_for_those_who_use_it(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    make_ready(tmp_path, make_spec())
    store = EnvironmentStore(tmp_path)
    used = store.find(make_spec())
    assert used is not None

    retire_damage(store, used.path)

    assert store.find(make_spec()) is None
    assert make_ready(tmp_path, make_spec()).path != used.path
    assert used.python.exists()
    used.close()


def test_a_build_that_fails_in_place_of_a_damaged_one_is_tried_once(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    damaged = make_ready(tmp_path, make_spec()).path
    retire_damage(EnvironmentStore(tmp_path), damaged)
    lines: list[str] = []

    with pytest.raises(VirtualenvBuildError, match="installed but does not work"):
        make_ready(tmp_path, make_spec(check="raise SystemExit(1)"), lines=lines)

    assert len([line for line in lines if line.startswith("Creating the virtualenv")]) == 1


def test_a_build_that_has_taken_the_place_of_a_damaged_one_stays(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    damaged = make_ready(tmp_path, make_spec()).path
    store = EnvironmentStore(tmp_path)
    retire_damage(store, damaged)
    newer = make_ready(tmp_path, make_spec())

    retire_damage(store, damaged)

    assert store.published(newer.digest) == newer.record


@pytest.mark.timeout(60)
def test_a_folder_of_which_the_disk_says_that_it_is_gone_is_not_deleted_for_ever(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a stale handle of NFS does."""

    def gone(path: Path) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    build = make_ready(tmp_path, make_spec()).path
    monkeypatch.setattr(shutil, "rmtree", gone)
    lines: list[str] = []

    with ExitStack() as after_release:
        assert retire(EnvironmentStore(tmp_path), build, after_release, lines.append)

    (line,) = lines
    assert line.startswith(f"{build} is left over and cannot be removed: ")
    assert lease_path(build).exists(), "the next sweep finds it"
