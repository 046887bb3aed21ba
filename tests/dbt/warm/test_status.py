"""A search for servers does not believe the text of a file: its owner can write there what he likes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.server import fork_conditions
from cosmos_venv.dbt.warm.status import running_servers
from tests.dbt.warm.conftest import Tool

NOTE = {"environment": "/harbor", "started": 0.0, "is_ready": True}


@pytest.fixture
def lock(short_folder: Path) -> Iterator[int]:
    """The lock of a server, as the user writes it who holds it."""
    folder = next(servers.folders())
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder / "harbor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    assert fork_conditions.claim(descriptor)
    yield descriptor
    os.close(descriptor)


def places_below(folder: Path) -> list[Path]:
    return [each.place.folder for each in running_servers() if each.place.folder.is_relative_to(folder)]


def test_a_server_is_not_shown_for_the_note_of_another_place(tool: Tool, lock: int, short_folder: Path) -> None:
    tool.run("importer")
    (pid,) = {place.note()["pid"] for place in servers.servers() if place.note()}
    os.pwrite(lock, json.dumps({**NOTE, "pid": pid}).encode(), 0)

    assert len(servers.servers()) == 2
    assert [each.place.key != "harbor" for each in running_servers(below=tool.folder)] == [True]
    assert len(places_below(short_folder)) == 1


# Says when it was told to end. Whoever loses his parent below it becomes its child.
ADOPTING = """
import ctypes, os, signal, subprocess, sys, time
from pathlib import Path
from cosmos_venv.dbt.warm import process, servers
from cosmos_venv.processes.cancellation import Cancellation
from tests.dbt.warm.conftest import Tool

signal.signal(signal.SIGTERM, lambda *_: (print("told to end", flush=True), os._exit(3)))
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
tool = Tool(folder=Path(sys.argv[1]))
tool.run("importer")
(place,) = servers.servers()
server = tool.server()
connection = servers.connect(place, within=10.0)
keeper = int(connection.makefile("r").readline().split()[1])
server.kill()
os.waitpid(server.pid, 0)
text = b'{"ask": "stop"}'
connection.sendall(len(text).to_bytes(8, "big") + text)
os.waitpid(keeper, 0)
print("nobody told", flush=True)
"""


def test_a_stop_that_its_server_does_not_live_to_hear_ends_nobody_else(tool: Tool) -> None:
    """The parent of an orphan is, in a container, often the container's first process, of the same user."""
    done = subprocess.run(
        [sys.executable, "-c", ADOPTING, str(tool.folder)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.stdout, done.returncode) == ("nobody told\n", 0), done.stderr
