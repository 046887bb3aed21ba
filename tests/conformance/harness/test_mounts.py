"""Places that a task finds: a directory that takes nothing, on machines that mount it and on those that do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv.conformance.harness.mounts import make_places
from pytest_cosmos_venv.processes import mounts
from pytest_cosmos_venv.processes.mounts import MountError
from tests.environments.elsewhere import REPOSITORY, open_to_everybody, own_python, require_root, tmpfs, within

WRITES = """
import sys
from pathlib import Path

from pytest_cosmos_venv.conformance.adapter import Adapter, Outcome, Task
from pytest_cosmos_venv.processes.mounts import MountError
from pytest_cosmos_venv.conformance.harness.probes import performed

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


@pytest.mark.parametrize(("kind", "error"), [("read-only", READ_ONLY), ("full", FULL)])
def test_a_task_finds_its_place_also_under_an_adapter_that_performs_it_its_own_way(
    tmp_path: Path, kind: str, error: str
) -> None:
    command = [sys.executable, "-c", WRITES, str(tmp_path), kind]

    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert any(words in told for words in (error, "cannot be had here")), told
    assert list(tmp_path.iterdir()) == []


def test_an_ordinary_user_mounts_read_only_what_is_mounted_without_devices(everybodys_directory: Path) -> None:
    require_root("only root may become another user")
    directory = everybodys_directory / "shm"
    directory.mkdir()
    shm = f"{tmpfs(directory, 'nosuid,nodev')}\nchmod 777 {directory}"
    somebody = within(setup=f"{open_to_everybody(own_python(), directory)}\n{shm}", user=SOMEBODY)
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [*somebody, sys.executable, "-c", WRITES, str(directory), "read-only"]

    told = subprocess.run(command, capture_output=True, text=True, check=True, env=variables).stdout

    assert READ_ONLY in told


@pytest.mark.usefixtures("_nobody_may_mount")
@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_a_machine_that_lets_nobody_mount_says_what_the_kernel_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(MountError, match=f"is {kind} cannot be had here: unshare: Operation not permitted"):
        make_places({kind: str(tmp_path)})
