"""What needs no Airflow. Several tests end while something of theirs still runs: it is the toolkit's to end it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests
from uv import find_uv_bin

from pytest_cosmos_venv import Contender, CosmosDbt, CosmosDuckDB, CosmosLock, CosmosProject, CosmosRace, FakeVenv
from pytest_cosmos_venv.errors import ToolkitMisuse

UV = find_uv_bin()


def test_a_scripted_dbt(cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("debug", exit_code=1)

    done = subprocess.run([cosmos_fake_venv.dbt, "debug"], check=False, capture_output=True)

    assert done.returncode == 1
    assert [call.command for call in cosmos_fake_venv.calls] == ["debug"]


def test_a_dbt_that_still_runs(cosmos_fake_venv: FakeVenv, cosmos_project: CosmosProject) -> None:
    project = cosmos_project("harbor")
    project.model("mart", "select 1 as id")
    cosmos_fake_venv.script("run", hold=True, child=True, ignore_signals=[signal.SIGTERM])
    dbt = str(cosmos_fake_venv.dbt)
    subprocess.Popen([dbt, "run"], cwd=project.path, stdout=subprocess.DEVNULL, start_new_session=True)

    assert cosmos_fake_venv.wait_for_call("run", held=True).child_pid


def test_an_installation(cosmos_dbt: CosmosDbt, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([UV, "-q", "venv", "--python", sys.executable, environment], check=True)
    subprocess.run([UV, "-q", "pip", "install", "--python", environment, "dbt-core", "dbt-duckdb"], check=True)

    subprocess.run([environment / "bin" / "dbt", "--version"], check=True, capture_output=True)

    assert cosmos_dbt.calls[0].command == "--version"


def test_an_installation_that_still_runs(cosmos_dbt: CosmosDbt, tmp_path: Path) -> None:
    cosmos_dbt.index.require_login("harbor", "s3cret")
    sdist = cosmos_dbt.add_sdist("dbt-harbor", hold=True)
    options = ["--target", str(tmp_path / "installed"), *cosmos_dbt.index.pip_install_options]
    command = [UV, "-q", "pip", "install", "--python", sys.executable, *options, "dbt-harbor"]

    subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert sdist.wait_for_build().pid
    assert {request.status for request in cosmos_dbt.index.requests if request.authorised} == {200}


def test_processes_in_every_state(cosmos_lock: CosmosLock, tmp_path: Path) -> None:
    lock = cosmos_lock(tmp_path / "environments")
    owner = cosmos_lock.pids.live()
    lock.held_by(owner)
    lock.release_after(60)

    assert psutil.pid_exists(owner)
    assert not psutil.pid_exists(cosmos_lock.pids.dead())
    assert psutil.Process(cosmos_lock.pids.zombie()).status() == psutil.STATUS_ZOMBIE
    assert cosmos_lock.pids.reused(tmp_path / "lock")
    with pytest.raises(psutil.AccessDenied):
        psutil.Process(cosmos_lock.pids.denied()).status()
    assert [one.pid for one in lock.history] == [owner]


def test_a_manifest(
    cosmos_project: CosmosProject,
) -> None:
    project = cosmos_project("harbor")
    project.model("mart", "select 1 as id")
    manifest = cosmos_project.serve(project).answer(200).answer(200, after=60)

    nodes = requests.get(manifest.url, timeout=60).json()["nodes"]
    with pytest.raises(requests.ReadTimeout):
        requests.get(manifest.url, timeout=0.1)

    assert list(nodes) == ["model.harbor.mart"]


def test_a_process_that_a_contender_leaves(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    race = cosmos_race(leave_a_process, tmp_path, contenders=2, grace=0)

    assert len(race.left_behind) == 2


def leave_a_process(contender: Contender, folder: Path) -> None:
    subprocess.Popen(["sleep", "60"], start_new_session=True, env={})


def test_a_real_dbt_that_nobody_has_asked_for(
    cosmos_duckdb: CosmosDuckDB,
    cosmos_fake_venv: FakeVenv,
    cosmos_dbt: CosmosDbt,
    tmp_path: Path,
) -> None:
    assert cosmos_duckdb.release == "1.11"
    with pytest.raises(ToolkitMisuse, match="there is no such executable"):
        cosmos_dbt.record(tmp_path / "dbt", tmp_path / "recording")
    with pytest.raises(ToolkitMisuse, match="recording"):
        cosmos_fake_venv.replay(tmp_path / "recording")
