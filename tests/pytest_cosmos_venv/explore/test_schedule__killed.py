"""No process that a contender has started outlives its schedule."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import Contender, CosmosRace
from pytest_cosmos_venv.explore.run import Schedule
from tests.waiting import wait_until


def start_and_go_on(contender: Contender) -> int:
    pid = subprocess.Popen(["sleep", "300"]).pid
    (contender.folder / "both").exists()
    return pid


def touch_both(contender: Contender) -> None:
    (contender.folder / "both").touch()


def test_no_process_of_a_contender_outlives_its_schedule(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    def start_and_write_down(contender: Contender) -> None:
        pid = start_and_go_on(contender)
        with (tmp_path / str(os.getppid())).open("a") as file:
            file.write(f"{pid}\n")
        (contender.folder / "written-down").touch()

    def none_is_left(run: Schedule) -> None:
        own = tmp_path / str(os.getpid())  # the parent of this schedule's contenders
        pids = own.read_text().split() if own.exists() else []
        assert [pid for pid in pids if psutil.pid_exists(int(pid))] == []

    exploration = cosmos_race.explore([start_and_write_down, touch_both], check=none_is_left, preemptions=1)

    assert exploration.is_complete
    assert any(tmp_path.iterdir())


def test_no_process_of_a_contender_outlives_an_interrupted_exploration(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    test = os.getpid()

    def start_then_interrupt(contender: Contender) -> None:
        pid = start_and_go_on(contender)
        (tmp_path / str(pid)).touch()
        os.kill(test, signal.SIGINT)
        signal.pause()

    with pytest.raises(KeyboardInterrupt):
        cosmos_race.explore([start_then_interrupt])

    (pid,) = tmp_path.iterdir()
    wait_until(lambda: has_ended(int(pid.name)))


def has_ended(pid: int) -> bool:
    """Whether a process is no more, or is a zombie: in a container PID 1 may never reap it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
