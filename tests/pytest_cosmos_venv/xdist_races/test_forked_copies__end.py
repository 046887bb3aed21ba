"""Racers are gone, with all that they have started, when the process that runs the tests is killed."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from tests.waiting import wait_until

pytest_plugins = ["pytester"]

DEADLINE = 60.0


def test_racers_do_not_outlive_the_process_that_runs_the_tests(pytester: pytest.Pytester) -> None:
    pids = pytester.mkdir("pids")
    pytester.makepyfile(
        f"""
        import os, signal, subprocess, sys
        from pathlib import Path
        import pytest

        @pytest.mark.cosmos_race(racers=2)
        def test_for_ever(cosmos_racer):
            sleeper = [sys.executable, "-c", "import signal; signal.pause()"]
            for pid in (os.getpid(), os.getppid(), subprocess.Popen(sleeper, start_new_session=True).pid):
                Path({str(pids)!r}, str(pid)).touch()
            signal.pause()
        """
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", str(pytester.path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        # Two racers, what each has started, and who looks after them.
        wait_until(lambda: len(list(pids.iterdir())) == 5, "the racers did not start")
        process.kill()

    left = {int(file.name) for file in pids.iterdir()}
    wait_until(lambda: not any(is_running(pid) for pid in left), "there are racers left")


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
