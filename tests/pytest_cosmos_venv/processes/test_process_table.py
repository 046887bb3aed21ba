"""Code that asks psutil or the kernel sees the simulated processes, whatever it imported when."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from psutil import Process, pid_exists, process_iter  # noqa: TID251 - on purpose: before any table is in place

from pytest_cosmos_venv.processes.process_table import ProcessTable


def test_a_live_one_answers_like_any_other(cosmos_process_table: ProcessTable) -> None:
    pid = cosmos_process_table.live(name="airflow", started_at=1000.0)

    process = Process(pid)

    assert (process.name(), process.create_time(), process.status()) == ("airflow", 1000.0, psutil.STATUS_SLEEPING)
    assert process.is_running()
    assert pid_exists(pid)
    assert pid in psutil.pids()
    assert pid in {process.pid for process in process_iter()}
    os.kill(pid, 0)
    with process.oneshot():
        assert process.as_dict(["name", "status"]) == {"name": "airflow", "status": "sleeping"}


def test_a_denied_one_is_there_and_tells_nothing(cosmos_process_table: ProcessTable) -> None:
    pid = cosmos_process_table.denied()

    process = Process(pid)

    assert pid_exists(pid)
    for question in (process.create_time, process.status, process.name, process.environ, process.memory_info):
        with pytest.raises(psutil.AccessDenied):
            question()
    with pytest.raises(PermissionError):
        os.kill(pid, 0)


def test_a_vanishing_one_is_gone_at_the_second_look(cosmos_process_table: ProcessTable) -> None:
    process = Process(cosmos_process_table.vanishing())
    with pytest.raises(psutil.NoSuchProcess):
        process.status()
    assert not process.is_running()

    pid = cosmos_process_table.vanishing(looks=2)
    assert Process(pid).status() == "sleeping"
    with pytest.raises(psutil.NoSuchProcess):
        Process(pid)

    pid = cosmos_process_table.vanishing()
    os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_live_one_can_be_ended(cosmos_process_table: ProcessTable) -> None:
    pid = cosmos_process_table.live()
    process = Process(pid)

    cosmos_process_table.end(pid)

    assert not process.is_running()
    assert pid not in psutil.pids()


def test_a_zombie_is_found_and_has_ended(cosmos_process_table: ProcessTable) -> None:
    assert Process(cosmos_process_table.zombie()).status() == psutil.STATUS_ZOMBIE


def test_numbers_of_no_process(cosmos_process_table: ProcessTable) -> None:
    for pid in (
        cosmos_process_table.dead(),
        cosmos_process_table.beyond_limit(),
        cosmos_process_table.beyond_limit(digits=20),
    ):
        with pytest.raises(psutil.NoSuchProcess):
            Process(pid)
    with pytest.raises(OverflowError):
        os.kill(cosmos_process_table.beyond_limit(digits=20), 0)
    with pytest.raises(psutil.NoSuchProcess):
        Process(cosmos_process_table.zero())


def test_signals_are_told_and_reach_nobody(cosmos_process_table: ProcessTable) -> None:
    pid = cosmos_process_table.live()

    os.kill(pid, signal.SIGTERM)
    Process(pid).kill()
    os.kill(cosmos_process_table.zero(), 0)

    assert cosmos_process_table.signals == [(pid, signal.SIGTERM), (pid, signal.SIGKILL), (0, 0)]


def test_all_is_undone() -> None:
    real = (psutil._psplatform.Process, psutil._psplatform.pid_exists, psutil._psplatform.pids, os.kill)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        pid = ProcessTable(patch).live()
        assert psutil.pid_exists(pid)

    assert not psutil.pid_exists(pid)
    assert real == (
        psutil._psplatform.Process,  # type: ignore[attr-defined]
        psutil._psplatform.pid_exists,  # type: ignore[attr-defined]
        psutil._psplatform.pids,  # type: ignore[attr-defined]
        os.kill,
    )
