"""Processes that stay by design are told apart from those left behind, and end with the race all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import Contender, CosmosRace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to a process of ours")

# Gives itself a name as servers do, says that it is there, and starts a child that has the same command line.
SERVER = """
import os, pathlib, sys, time
pathlib.Path("/proc/self/comm").write_text("harbor-server")
child = os.fork() if len(sys.argv) > 2 else None
if child == 0:
    pathlib.Path("/proc/self/comm").write_text("forgotten")
pathlib.Path(sys.argv[1] + ("-child" if child == 0 else "")).write_text(str(os.getpid()))
time.sleep(600)
"""


def keep_a_server(contender: Contender, folder: Path, *more: str) -> None:
    place = folder / "server"
    subprocess.Popen([sys.executable, "-c", SERVER, str(place), *more], start_new_session=True)
    for each in (place, *([Path(f"{place}-child")] if more else [])):
        while not each.exists() or not each.read_text():
            pass


def test_a_service_is_none_of_what_was_left_behind(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    race = cosmos_race(keep_a_server, tmp_path, contenders=1, grace=600, services=["harbor-s*"])

    pid = int((tmp_path / "server").read_text())
    assert race.left_behind == ()
    (words,) = race.services
    assert words.startswith(f"PID {pid}: harbor-server: {sys.executable} -c ")
    assert not psutil.pid_exists(pid), "it ends with the race"

    (tmp_path / "server").unlink()
    undeclared = cosmos_race(keep_a_server, tmp_path, contenders=1, grace=0.1, services=[])
    assert (len(undeclared.left_behind), undeclared.services) == (1, ())


def test_what_a_service_has_started_is_no_service(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    race = cosmos_race(keep_a_server, tmp_path, "more", contenders=1, grace=0.1, services=["harbor-server"])

    (left,) = race.left_behind
    assert left.startswith(f"PID {(tmp_path / 'server-child').read_text()}: forgotten: ")
    assert len(race.services) == 1


def say_where(contender: Contender) -> str:
    return os.environ["XDG_RUNTIME_DIR"]


def test_races_at_one_time_have_folders_for_sockets_of_their_own(cosmos_race: CosmosRace) -> None:
    outer = os.environ.get("XDG_RUNTIME_DIR")

    with cosmos_race.start(say_where, contenders=2) as race:
        meanwhile = cosmos_race(say_where, contenders=1).values
        first = race.finish().values
    later = cosmos_race(say_where, contenders=1).values

    assert len(set(first)) == 1
    assert len({outer, *first, *meanwhile}) == 3
    assert later[0] == first[0], "what a task has noted there is found by the tasks of the next race"
    assert Path(first[0]).stat().st_mode & 0o777 == 0o700
