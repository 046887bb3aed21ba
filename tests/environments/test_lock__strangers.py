"""Whoever may not write to a store cannot lock its files either: nobody waits, and nothing is built, because of him."""

from __future__ import annotations

import os
import stat
import subprocess
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from cosmos_venv.environments import store
from cosmos_venv.environments.layout import KERNEL_LOCK_FILENAME
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.store import EnvironmentStore, stores_of
from cosmos_venv.files.kernel_lock import open_for_locking
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.lease import lease_path
from tests.environments.elsewhere import as_user, needs_root
from tests.kit import MakeReady, MakeSpec, SetUmask, StartPython

SOMEBODY, GROUP = 51_235, 51_300

# Arguments: file, user id, group id, kind of lock. It holds the file until its input ends.
HOLD = """
import fcntl, os, sys
file, user, group, kind = sys.argv[1:]
os.setgroups([])
os.setgid(int(group))
os.setuid(int(user))
fcntl.flock(os.open(file, os.O_RDONLY), getattr(fcntl, kind))
print("held", flush=True)
sys.stdin.read()
"""


class Hold(Protocol):
    """Let another user lock a file, for himself alone unless another kind of lock is named."""

    def __call__(self, file: Path, *, user: int = ..., group: int = ..., kind: str = ...) -> subprocess.Popen[str]: ...


@pytest.fixture
def hold(start_python: StartPython) -> Hold:
    def hold(
        file: Path, *, user: int = SOMEBODY, group: int = SOMEBODY, kind: str = "LOCK_EX"
    ) -> subprocess.Popen[str]:
        file.chmod(0o644)  # as releases made it that did not close it
        holder = start_python(HOLD, file, user, group, kind)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        return holder

    return hold


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
    (store / "envs-v1" / "builds").mkdir(parents=True)
    for folder in (store, store / "envs-v1", store / "envs-v1" / "builds"):
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


@needs_root
def test_a_lease_that_a_stranger_keeps_locked_is_told_once_and_costs_no_rebuild(
    everybodys_folder: Path,
    make_spec: MakeSpec,
    make_ready: MakeReady,
    hold: Hold,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = make_ready(everybodys_folder / "store", make_spec()).path
    hold(lease_path(build))
    monkeypatch.setattr(store, "_LONGEST_REMOVAL", 3600.0)  # what a removal is waited for

    used = [make_ready(everybodys_folder / "store", make_spec()) for _ in range(3)]

    assert [(each.path, each.was_built) for each in used] == [(build, False)] * 3
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith(f"{lease_path(build)} was set aside as ")
    assert warning.endswith(": user id 51235 keeps it locked and may not write to this directory.")
    assert mode_of(lease_path(build)) == "0600"


@needs_root
def test_nobody_waits_for_a_stranger_who_keeps_the_lock_of_the_directory(
    everybodys_folder: Path, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    file = everybodys_folder / KERNEL_LOCK_FILENAME
    file.touch()
    hold(file)

    for _ in range(2):
        with VirtualenvLock(everybodys_folder).acquire(max_tries=0, cancellation=Cancellation(), report=print):
            assert mode_of(file) == "0600"

    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"{file} was set aside as " in warning


def test_those_of_an_older_release_are_closed_when_their_owner_comes_by(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    build = make_ready(tmp_path, make_spec()).path
    lease_path(build).chmod(0o666)
    (tmp_path / KERNEL_LOCK_FILENAME).chmod(0o644)

    make_ready(tmp_path, make_spec())
    os.close(open_for_locking(tmp_path / KERNEL_LOCK_FILENAME))

    assert [mode_of(path) for path in (lease_path(build), tmp_path / KERNEL_LOCK_FILENAME)] == ["0600"] * 2
