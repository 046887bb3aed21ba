"""The PIDs of ``cosmos_lock`` are what they are said to be, and every process is gone afterwards."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import CosmosLock
from pytest_cosmos_venv.processes.pids import Pids

pytest_plugins = ["pytester"]


def test_a_dead_one_is_gone_and_its_number_is_not_given_out_again(cosmos_lock: CosmosLock) -> None:
    pid = cosmos_lock.pids.dead()

    assert not psutil.pid_exists(pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    # The group of that number has a member, which is what keeps the kernel from giving it to a process.
    os.killpg(pid, 0)


def test_a_reused_one_is_younger_than_the_lock_that_names_it(cosmos_lock: CosmosLock, tmp_path: Path) -> None:
    lock = tmp_path / "environments" / "cosmos_virtualenv.lock"

    pid = cosmos_lock.pids.reused(lock)

    assert lock.read_text() == str(pid)
    assert psutil.Process(pid).create_time() > lock.stat().st_mtime + 3000
    assert time.time() > lock.stat().st_mtime


def test_a_foreign_one_belongs_to_another_user(cosmos_lock: CosmosLock) -> None:
    pid = cosmos_lock.pids.foreign()

    assert psutil.Process(pid).uids().real != os.getuid()


def test_nothing_is_left_of_them() -> None:
    pids = Pids()
    made = [pids.live(), pids.zombie(), pids.dead(), pids.foreign()]
    group = made[2]

    pids.close()

    assert not [pid for pid in made if psutil.pid_exists(pid)]
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
