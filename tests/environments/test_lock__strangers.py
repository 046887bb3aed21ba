"""Whoever may not write to a store cannot lock its files either: nobody waits, and nothing is built, because of him."""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path

import pytest

from cosmos_venv.environments.lock import KERNEL_LOCK_FILENAME
from cosmos_venv.environments.store import EnvironmentStore, stores_of
from cosmos_venv.files.kernel_lock import lease_path
from tests.environments.elsewhere import as_user, needs_root
from tests.kit import MakeReady, MakeSpec, SetUmask

SOMEBODY, GROUP = 51_235, 51_300


def mode_of(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


@pytest.mark.parametrize(
    ("shared", "umask", "expected"),
    [
        pytest.param(False, 0o000, "0600", id="of-one-user"),
        pytest.param(True, 0o002, "0660", id="of-a-group"),
    ],
)
def test_leases_and_locks_are_closed_to_others(
    tmp_path: Path,
    make_spec: MakeSpec,
    make_ready: MakeReady,
    set_umask: SetUmask,
    shared: bool,
    umask: int,
    expected: str,
) -> None:
    store = tmp_path / "store"
    (store / "envs-v2").mkdir(parents=True)
    for folder in (store, store / "envs-v2"):
        folder.chmod(0o775 if shared else 0o755)
    set_umask(umask)

    build = make_ready(store, make_spec()).path

    assert [mode_of(path) for path in (lease_path(build), store / KERNEL_LOCK_FILENAME)] == [expected] * 2


@needs_root
def test_a_user_who_may_not_open_the_lease_uses_the_environment_without(
    everybodys_folder: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    environment = make_ready(everybodys_folder / "store", make_spec())
    # The interpreter of the tests may lie where another user cannot look.
    (environment.path / "bin").chmod(0o755)
    (environment.path / "bin" / "python").unlink()
    (environment.path / "bin" / "python").symlink_to("/bin/sh")
    (searched,) = stores_of(str(everybodys_folder / "store"))

    for find in (EnvironmentStore(everybodys_folder / "store").find, searched.find):
        found = as_user(SOMEBODY, SOMEBODY, partial(find, make_spec()))
        assert f"path={environment.path!r}" in found
        assert "lease=None" in found
