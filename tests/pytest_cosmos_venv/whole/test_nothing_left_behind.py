"""A run that is stopped in the middle, by Ctrl-C or by SIGKILL, leaves nothing, whatever was running."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.pytest_cosmos_venv.inner_run import Finished, InnerRun, wait_for

READY = "ready"

LOOK_ALIKES = """
import signal
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin


def test_dbt_and_an_installation(cosmos_fake_venv, cosmos_dbt, cosmos_airflow, tmp_path):
    (tmp_path / "dbt_project.yml").write_text("name: harbor")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mart.sql").write_text("select 1 as id")
    cosmos_fake_venv.script("run", hold=True, child=True)
    subprocess.Popen([cosmos_fake_venv.dbt, "run"], cwd=tmp_path, start_new_session=True)
    sdist = cosmos_dbt.add_sdist("dbt-harbor", hold=True)
    uv = [find_uv_bin(), "pip", "install", "--python", sys.executable, "--target", tmp_path / "there"]
    subprocess.Popen([*uv, *cosmos_dbt.index.pip_install_options, "dbt-harbor"])
    sdist.wait_for_build()
    cosmos_fake_venv.wait_for_call("run", held=True)
    cosmos_airflow.at("2026-01-01")
    Path("ready").touch()
    signal.pause()
"""

PROCESSES = """
import signal
import subprocess
from pathlib import Path


def work(contender):
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    contender.point("begun")
    signal.pause()


def test_contenders_and_owners(
    cosmos_lock, cosmos_race, cosmos_project, tmp_path
):
    cosmos_project.serve({})
    cosmos_lock(tmp_path).held_by(cosmos_lock.pids.live())
    cosmos_lock.pids.dead()
    cosmos_lock.pids.zombie()
    with cosmos_race.start(work, contenders=2) as race:
        race.wait_for("begun")
        Path("ready").touch()
        signal.pause()
"""

COPIES = """
import signal
import subprocess
from pathlib import Path

import pytest


@pytest.mark.cosmos_race(contenders=2)
def test_two(cosmos_race):
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    cosmos_race.barrier("both are here")
    Path("ready").touch()
    signal.pause()
"""


def stopped(run: InnerRun, test: str, how: signal.Signals, *, patience: float) -> Finished:
    """The run, after it was sent a signal in the middle of its only test."""
    run.add(test_busy=test)
    with run.watching() as watch:
        process = run.start("-p", "no:xdist")
        wait_for(run.project / READY, process)
        process.send_signal(how)
        done = watch.finish(process, patience=patience)
    print(done.output)
    return done


@pytest.mark.long
@pytest.mark.parametrize("test", [LOOK_ALIKES, PROCESSES, COPIES], ids=["fakes", "processes", "copies"])
def test_ctrl_c_leaves_no_process_and_no_file(test: str, tmp_path: Path) -> None:
    done = stopped(InnerRun("cosmos", tmp_path, tmp_path / "cache"), test, signal.SIGINT, patience=1.0)

    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "Traceback" not in done.output
    assert done.processes == []
    assert done.files == [f"project/{READY}"]


# Held fakes end by themselves as well, but not before ten minutes are over.
@pytest.mark.parametrize("test", [PROCESSES, COPIES], ids=["processes", "copies"])
def test_sigkill_leaves_no_process(test: str, tmp_path: Path) -> None:
    done = stopped(InnerRun("cosmos", tmp_path, tmp_path / "cache"), test, signal.SIGKILL, patience=10.0)

    assert done.returncode == -signal.SIGKILL
    assert done.processes == []
