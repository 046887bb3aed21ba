"""Temporary folders: gone after the block, and after a kill as soon as somebody makes the next one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from cosmos_venv.processes.scratch import scratch_folder
from pytest_cosmos_venv.dags.side_effects import watching
from tests.environments.elsewhere import needs_root
from tests.installed import ROOT

pytestmark = pytest.mark.usefixtures("temporary_folder")

# Says which folder it made, and which process works in it under a guard that has the folder's lease.
MAKE = """
import subprocess, sys
from cosmos_venv.processes.guarded_process import GuardedProcess
from cosmos_venv.processes.scratch import descriptors_of, scratch_folder
with scratch_folder(sys.argv[1]) as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("left")
    if sys.argv[2:]:
        command = [sys.executable, "-c", "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ignoring', flush=True); open(sys.argv[1]).read()"]
        guarded = GuardedProcess([*command, *sys.argv[2:]], keep_open=descriptors_of(folder))
        guarded.output.readline()
    print(folder, flush=True)
    sys.stdin.read()
"""


class Start(Protocol):
    """Start a process that has made a folder and is at work in it."""

    def __call__(self, prefix: str = ..., *arguments: object) -> tuple[subprocess.Popen[str], Path]: ...


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(prefix: str = "cosmos-venv", *arguments: object) -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", MAKE, prefix, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def make_one() -> None:
    with scratch_folder():
        pass


def test_a_folder_is_private_and_gone_afterwards_with_its_lease(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), scratch_folder("cosmos-venv-run-") as folder:
        names = sorted(path.name for path in tmp_path.iterdir())
        mode = folder.stat().st_mode & 0o777
        raise ZeroDivisionError

    assert folder.name.startswith("cosmos-venv-run-")
    assert names == [folder.name, f"{folder.name}.lease"]
    assert mode == 0o700
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prefix", ["cosmos-venv", "cosmos-venv-run-"])
def test_what_a_killed_process_left_is_removed_by_the_next(start: Start, tmp_path: Path, prefix: str) -> None:
    process, folder = start(prefix)
    process.kill()
    process.wait()
    assert (folder / "deep" / "file").exists()

    make_one()

    assert list(tmp_path.iterdir()) == []


def test_a_folder_stays_while_what_the_killed_process_started_is_at_work_in_it(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    process, folder = start("cosmos-venv", gate)
    process.kill()
    process.wait()

    make_one()
    stayed = (folder / "deep" / "file").exists()
    with contextlib.suppress(OSError):  # its guard may have ended it by now
        os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
    while folder.exists():  # pytest-timeout is the deadline
        make_one()

    assert stayed


def test_the_lease_of_another_process_is_not_opened_for_writing(start: Start, tmp_path: Path) -> None:
    """A parse budget of one pytest worker failed by chance, because another worker had a temporary folder."""
    _, folder = start()

    with watching() as watch:
        make_one()

    assert {Path(each.place) for each in watch.side_effects} & {folder, tmp_path / f"{folder.name}.lease"} == set()


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    """Folders named as another implementation and tempfile name theirs, and what only looks like a lease of ours."""
    for name in ("cosmos-venvab12_xyz", f"cosmos-venv{'a' * 16}", "cosmos-venv-tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / f"cosmos-venv{'b' * 16}").symlink_to(tmp_path / "precious")
    (tmp_path / "cosmos-venv-tests.lease").touch()
    (tmp_path / f"cosmos-venv{'a' * 16}.lease").symlink_to(tmp_path / "cosmos-venv-tests.lease")
    before = sorted(tmp_path.iterdir())

    make_one()

    assert sorted(tmp_path.iterdir()) == before


@needs_root
def test_what_another_user_left_is_his(tmp_path: Path) -> None:
    (tmp_path / f"cosmos-venv{'a' * 16}").mkdir()
    (tmp_path / f"cosmos-venv{'a' * 16}.lease").touch()
    os.chown(tmp_path / f"cosmos-venv{'a' * 16}.lease", 12345, -1)

    make_one()

    assert len(list(tmp_path.iterdir())) == 2


def test_a_mount_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)

    with pytest.raises(OSError, match=rf"Operation not supported: '{tmp_path}/cosmos-venv"), scratch_folder():
        pass

    assert list(tmp_path.iterdir()) == []
