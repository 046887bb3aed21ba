"""Places that a task finds: a directory that takes nothing, on machines that mount it and on those that do not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_cosmos_venv.conformance.harness.mounts import mounted
from pytest_cosmos_venv.processes import mounts
from pytest_cosmos_venv.processes.mounts import MountError
from tests.environments.elsewhere import REPOSITORY, open_to_everybody, own_python, require_root, tmpfs, within

WRITES = """
import sys
from pathlib import Path

from pytest_cosmos_venv.conformance.adapter import Adapter, Outcome, Task
from pytest_cosmos_venv.processes.mounts import MountError
from pytest_cosmos_venv.conformance.harness.task_process import performed

class Writes(Adapter):
    import_root = "another"

    def perform(self, task):
        try:
            Path(sys.argv[1], "new").write_text("whole")
        except OSError as error:
            return Outcome(state="failed", exception=str(error))
        return Outcome(state="success")

try:
    task = Task(command="run", profile={}, arguments={}, place={sys.argv[2]: sys.argv[1]})
    print(performed(Writes(), task))
except MountError as error:
    print(error)
"""
SOMEBODY = 51_234
FULL, READ_ONLY = "No space left on device", "Read-only file system"


@pytest.fixture
def _nobody_may_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *_: object) -> None:
        raise MountError(f"{name}: Operation not permitted")

    monkeypatch.setattr(mounts, "_call", refuse)


@pytest.mark.parametrize(
    ("kind", "error"), [("read-only", READ_ONLY), ("mounted read-only", READ_ONLY), ("full", FULL)]
)
def test_a_task_finds_its_place_also_under_an_adapter_that_performs_it_its_own_way(
    tmp_path: Path, kind: str, error: str
) -> None:
    command = [sys.executable, "-c", WRITES, str(tmp_path), kind]

    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert any(words in told for words in (error, "Permission denied", "cannot be had here")), told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_nobody_may_mount")
def test_where_nobody_may_mount_permissions_make_it_read_only_for_an_ordinary_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cached = tmp_path / "virtualenvs", tmp_path / "cached.py"
    (folder / "bin").mkdir(parents=True)
    for file in (cached, folder / "own.py"):
        file.write_text("")
    (folder / "linked.py").hardlink_to(cached)
    (folder / "bin" / "python").symlink_to(cached)
    found = (folder, folder / "bin", folder / "own.py", cached)
    before = [each.stat().st_mode & 0o777 for each in found]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with mounted({"read-only": str(folder)}):
        closed = [each.stat().st_mode & 0o777 for each in found]

    assert closed == [*(mode & 0o555 for mode in before[:-1]), before[-1]]
    assert [each.stat().st_mode & 0o777 for each in found] == before


def renamed(folder: Path) -> None:
    folder.with_name("made").mkdir()
    folder.with_name("made").replace(folder)


def opened(folder: Path) -> None:
    folder.chmod(0o755)


@pytest.mark.usefixtures("_nobody_may_mount")
@pytest.mark.parametrize("get_round", [renamed, opened])
def test_permissions_that_were_got_round_were_no_read_only_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, get_round: Callable[[Path], None]
) -> None:
    folder = tmp_path / "virtualenvs"
    folder.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(MountError, match="by its permissions alone"), mounted({"read-only": str(folder)}):
        get_round(folder)

    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", ["read-only", "mounted read-only"])
def test_an_ordinary_user_mounts_read_only_what_is_mounted_without_devices(
    everybodys_directory: Path, kind: str
) -> None:
    require_root("only root may become another user")
    directory = everybodys_directory / "shm"
    directory.mkdir()
    shm = f"{tmpfs(directory, 'nosuid,nodev')}\nchmod 777 {directory}"
    somebody = within(setup=f"{open_to_everybody(own_python(), directory)}\n{shm}", user=SOMEBODY)
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [*somebody, sys.executable, "-c", WRITES, str(directory), kind]

    told = subprocess.run(command, capture_output=True, text=True, check=True, env=variables).stdout

    assert READ_ONLY in told


@pytest.mark.usefixtures("_nobody_may_mount")
@pytest.mark.parametrize(
    ("kind", "user", "reason"),
    [
        pytest.param("read-only", 0, "permissions do not bind root", id="root"),
        pytest.param("full", 1000, "permissions do not make it", id="full"),
        pytest.param("mounted read-only", 1000, "permissions do not make it", id="where-a-task-has-to-succeed"),
    ],
)
def test_what_permissions_cannot_make_is_said_with_what_the_kernel_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, user: int, reason: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)

    with (
        pytest.raises(MountError, match=rf"{kind} cannot be had here: unshare: Operation not permitted, and {reason}"),
        mounted({kind: str(tmp_path)}),
    ):
        pass


def test_a_place_that_there_is_not_is_no_reason_to_judge_nothing(tmp_path: Path) -> None:
    given = {"wet": str(tmp_path)}

    with pytest.raises(ValueError, match="give one of read-only, mounted read-only, full"), mounted(given):
        pass
