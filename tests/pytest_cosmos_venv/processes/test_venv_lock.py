"""The lock file can be brought into every state, and it is told which process has held it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import psutil
import pytest

from pytest_cosmos_venv import CosmosLock, real_time
from pytest_cosmos_venv.processes.venv_lock import VenvLock

# As Cosmos does it (opened for writing, then written) and as cosmos-venv does it (a finished file is linked).
TAKE_AND_RELEASE = """
import os, sys
directory, rounds = sys.argv[1], int(sys.argv[2])
lock, draft = f"{directory}/cosmos_virtualenv.lock", f"{directory}/draft"
for number in range(rounds):
    if number % 2:
        with open(draft, "w") as file:
            file.write(str(number + 1000))
        os.link(draft, lock)
        os.unlink(draft)
    else:
        with open(lock, "w") as file:
            file.write(str(number + 1000))
    os.unlink(lock)
"""


@pytest.fixture
def lock(cosmos_lock: CosmosLock, tmp_path: Path) -> VenvLock:
    return cosmos_lock(tmp_path / "environments")


def test_it_is_held_released_and_told(lock: VenvLock, cosmos_lock: CosmosLock) -> None:
    assert lock.owner is None
    pid = cosmos_lock.pids.live()

    lock.held_by(pid, age=100)
    assert lock.file.read_text() == str(pid)
    assert lock.owner == pid
    assert 99 < time.time() - lock.file.stat().st_mtime < 130
    stale = lock.stale()
    assert not psutil.pid_exists(stale)
    lock.release()
    lock.held_by(pid)

    assert [owner.pid for owner in lock.history] == [pid, stale, pid]
    assert [owner.until is None for owner in lock.history] == [False, False, True]


def test_it_is_empty_or_garbage(lock: VenvLock) -> None:
    lock.empty(age=0)
    assert lock.file.read_text() == ""
    assert lock.owner is None

    lock.garbage("12x")
    assert lock.file.read_text() == "12x"
    assert lock.owner is None
    assert [(owner.pid, owner.text) for owner in lock.history] == [(None, ""), (None, "12x")]


def test_it_is_of_another_host(lock: VenvLock) -> None:
    pid = lock.other_host()

    kernel_lock = lock.directory / "cosmos_virtualenv.flock"
    assert lock.owner == pid
    assert not psutil.pid_exists(pid)
    assert is_locked(kernel_lock)
    lock.release()
    assert not is_locked(kernel_lock)
    lock.other_host()
    lock.stale()
    assert not is_locked(kernel_lock)


def test_a_copy_of_the_descriptor_does_not_keep_the_lock_of_another_host(lock: VenvLock) -> None:
    lock.other_host()
    assert lock._kernel_lock is not None
    # A process that was just spawned has such a copy until its own program begins.
    copy = os.dup(lock._kernel_lock)
    try:
        lock.release()

        assert not is_locked(lock.directory / "cosmos_virtualenv.flock")
    finally:
        os.close(copy)


def is_locked(file: Path) -> bool:
    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize("how", ["directory", "dangling-link"])
def test_nobody_can_read_it(lock: VenvLock, how: Literal["directory", "dangling-link"]) -> None:
    lock.unreadable(how)

    assert os.path.lexists(lock.file)
    with pytest.raises(OSError, match=r"cosmos_virtualenv\.lock"):
        lock.file.read_text()
    lock.held_by(1)
    assert lock.owner == 1


def test_it_is_released_while_somebody_waits(lock: VenvLock, cosmos_lock: CosmosLock) -> None:
    lock.held_by(cosmos_lock.pids.live())
    lock.release_after(0.05)

    assert real_time.wait_until(lambda: lock.owner is None, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells every change of a folder")
def test_no_owner_is_missed_however_short(lock: VenvLock) -> None:
    process = subprocess.Popen([sys.executable, "-c", TAKE_AND_RELEASE, str(lock.directory), "2000"])
    process.wait(30)

    history = lock.history
    assert len(history) == 2000
    wrong = [owner for at, owner in enumerate(history) if owner.pid not in {at + 1000, None}]
    assert not wrong, "an unknown owner is told as such"
    assert all(owner.until is not None for owner in history)


def test_owners_are_told_when_the_directory_was_made_anew(lock: VenvLock) -> None:
    lock.held_by(1001)
    shutil.rmtree(lock.directory)
    lock.directory.mkdir()
    for pid in (1002, 1003):
        lock.file.write_text(str(pid))
        end = time.monotonic() + 10
        # Not `history`, which looks itself: nobody asks between the owners.
        while lock._history._owners[-1].pid != pid:
            assert time.monotonic() < end, "the watching has ended"

    assert [owner.pid for owner in lock.history] == [1001, 1002, 1003]
