"""An environment leaves a store whole; one in use, or somebody else's, stays, and is told."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from cosmos_venv.environments.maintenance.pruner import PruneLimits, Removal, prune, retire, surplus
from cosmos_venv.environments.store import Environment, EnvironmentStore
from cosmos_venv.exceptions import VirtualenvLockTimeout
from cosmos_venv.files.kernel_lock import lease_path
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import MakeReady, MakeSpec, SetAge

NO_LIMITS = PruneLimits(max_age=0, max_count=0, max_bytes=0, min_age=0)
ONE = PruneLimits(max_age=0, max_count=1, min_age=0)


def run_prune(directory: Path, limits: PruneLimits = ONE, *, lines: list[str] | None = None) -> list[Removal]:
    store = EnvironmentStore(directory)
    return prune(
        store,
        partial(surplus, store, limits, now=time.time() + 1),
        max_tries=0,
        cancellation=Cancellation(),
        report=(lines if lines is not None else []).append,
    )


def left_in(directory: Path) -> list[str]:
    """The names in the layout, each up to its first dot."""
    return sorted({path.name.partition(".")[0] for path in (directory / "envs-v2").iterdir()})


@pytest.fixture
def two(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, set_age: SetAge) -> list[Environment]:
    """Two environments in ``store``, the first of which was used longer ago."""
    made = [make_ready(tmp_path / "store", make_spec(f"hello=={version}")) for version in ("1.0", "2.0")]
    set_age(lease_path(made[0].path), 2000)
    set_age(lease_path(made[1].path), 1000)
    return made


def test_nothing_of_what_goes_is_left_and_nothing_else_is_touched(tmp_path: Path, two: list[Environment]) -> None:
    removed = run_prune(tmp_path / "store")

    assert [each.stored.path for each in removed] == [two[0].path]
    assert left_in(tmp_path / "store") == sorted([two[1].digest, two[1].path.name])
    assert subprocess.run([two[1].script("hello")], capture_output=True, check=True).stdout == b"hello 2.0\n"


def test_an_environment_in_use_stays(tmp_path: Path, two: list[Environment], make_spec: MakeSpec) -> None:
    in_use = EnvironmentStore(tmp_path / "store").find(make_spec("hello==1.0"))
    assert in_use is not None

    with closing(in_use):
        removed = run_prune(tmp_path / "store", PruneLimits(max_age=500, max_count=0, min_age=0))

    assert [each.stored.path for each in removed] == [two[1].path]
    assert two[0].python.exists()


def test_what_was_used_since_it_was_chosen_stays(tmp_path: Path, two: list[Environment], set_age: SetAge) -> None:
    store = EnvironmentStore(tmp_path / "store")
    (going,) = surplus(store, ONE, now=time.time())
    set_age(lease_path(two[0].path), 10)

    assert not retire(store, two[0].path, ExitStack(), print, used_until=going.stored.last_used)
    assert two[0].python.exists()


def test_what_no_record_names_goes(tmp_path: Path, two: list[Environment]) -> None:
    root = tmp_path / "store" / "envs-v2"
    old = root / f"{two[0].digest}-{'1' * 8}"
    for folder in (old, root / f"{'b' * 64}-{'1' * 8}"):
        (folder / "lib").mkdir(parents=True)
    (root / f".{'d' * 32}").touch()
    (root / f"{'e' * 64}-{'1' * 8}.lease").touch()

    run_prune(tmp_path / "store", NO_LIMITS)

    assert left_in(tmp_path / "store") == sorted(name for each in two for name in (each.digest, each.path.name))


def test_a_builder_at_work_is_waited_for(tmp_path: Path, two: list[Environment]) -> None:
    (tmp_path / "store" / "cosmos_virtualenv.lock").write_text(str(os.getppid()))

    with pytest.raises(VirtualenvLockTimeout, match=rf"is still held by process {os.getppid()}"):
        run_prune(tmp_path / "store")

    assert two[0].python.exists()


def test_who_builds_an_environment_prunes_the_others(
    tmp_path: Path, two: list[Environment], make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    limits = PruneLimits(max_count=2, min_age=0)
    lines: list[str] = []

    make_ready(tmp_path / "store", make_spec("hello"), lines=lines, limits=limits)

    assert f"The virtualenv {two[0].path} is removed: there are more than 2 environments." in lines
    assert [each.path.exists() for each in two] == [False, True]
