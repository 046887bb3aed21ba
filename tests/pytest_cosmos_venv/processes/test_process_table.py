"""Code that asks psutil or the kernel sees the simulated processes, whatever it imported when."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from psutil import Process, pid_exists, process_iter  # noqa: TID251 - on purpose: before any table is in place

from pytest_cosmos_venv import CosmosLock
from pytest_cosmos_venv.processes.pids import Pids


def test_a_denied_one_is_there_and_tells_nothing(cosmos_lock: CosmosLock) -> None:
    pid = cosmos_lock.pids.denied()

    process = Process(pid)

    assert pid_exists(pid)
    for question in (process.create_time, process.status, process.name, process.environ, process.memory_info):
        with pytest.raises(psutil.AccessDenied):
            question()
    with pytest.raises(PermissionError):
        os.kill(pid, 0)


def test_a_vanishing_one_is_gone_at_the_second_look(cosmos_lock: CosmosLock) -> None:
    process = Process(cosmos_lock.pids.vanishing())
    with pytest.raises(psutil.NoSuchProcess):
        process.status()
    assert not process.is_running()

    pid = cosmos_lock.pids.vanishing(looks=2)
    assert Process(pid).cmdline() == ["cat"]
    with pytest.raises(psutil.NoSuchProcess):
        Process(pid)

    pid = cosmos_lock.pids.vanishing()
    os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_pid_0_is_no_process(cosmos_lock: CosmosLock) -> None:
    with pytest.raises(psutil.NoSuchProcess):
        Process(cosmos_lock.pids.zero())


def test_all_is_undone() -> None:
    real = (psutil._psplatform.Process, psutil._psplatform.pid_exists, psutil._psplatform.pids, os.kill)  # type: ignore[attr-defined]
    pids = Pids()
    pid = pids.denied()
    assert psutil.pid_exists(pid)
    pids.close()

    assert not psutil.pid_exists(pid)
    assert real == (
        psutil._psplatform.Process,  # type: ignore[attr-defined]
        psutil._psplatform.pid_exists,  # type: ignore[attr-defined]
        psutil._psplatform.pids,  # type: ignore[attr-defined]
        os.kill,
    )


def test_no_signal_reaches_anybody(cosmos_lock: CosmosLock) -> None:
    pid = cosmos_lock.pids.vanishing(looks=9)

    Process(pid).kill()
    os.kill(cosmos_lock.pids.zero(), signal.SIGTERM)

    assert pid in psutil.pids()
    assert pid in {process.pid for process in process_iter()}
    cosmos_lock.pids.kill(pid)
    assert not pid_exists(pid)


def test_an_answer_that_somebody_changes_stays_as_it_is_for_others(cosmos_lock: CosmosLock) -> None:
    pid = cosmos_lock.pids.vanishing(looks=9)

    Process(pid).cmdline().append("--changed")

    assert Process(pid).cmdline() == ["cat"]
