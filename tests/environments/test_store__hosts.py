"""Two hosts on one ``virtualenv_dir``: each a process with a host name, process ids and a network of its own."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from cosmos_venv.environments.spec import EnvironmentSpec
from tests.environments.elsewhere import within
from tests.kit import StartPython, WaitForBackend, as_words

WORKER = """
import json, os, socket, sys, pickle
from pathlib import Path
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.processes.cancellation import Cancellation

host, directory, order, max_tries = sys.argv[1:]
socket.sethostname(host)

def report(line):
    print(line, flush=True)

try:
    request = BuildRequest(
        store=EnvironmentStore(Path(directory)),
        spec=pickle.loads(bytes.fromhex(order)),
        preference="uv",
        max_tries=int(max_tries),
    )
    with open_environment(request, cancellation=Cancellation(), report=report) as environment:
        report(f"READY was_built={environment.was_built} pid={os.getpid()}")
except VirtualenvError as error:
    report(f"FAILED {type(error).__name__}: {error}")
"""


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """Starts workers on hosts of their own."""

    start_python: StartPython
    directory: Path
    spec: EnvironmentSpec

    def start(self, name: str, *, max_tries: int = 60) -> subprocess.Popen[str]:
        place = within("--uts", "--pid", "--net", "--fork", "--mount-proc", "--kill-child")
        order = as_words(self.spec)
        return self.start_python(WORKER, name, self.directory, order, max_tries, within=place)


@pytest.fixture
def hosts(tmp_path: Path, start_python: StartPython, slow_spec: EnvironmentSpec) -> Hosts:
    """Whose environment is built for as long as there is the gate."""
    return Hosts(start_python=start_python, directory=tmp_path / "store", spec=slow_spec)


def rest_of(process: subprocess.Popen[str]) -> list[str]:
    return process.communicate()[0].splitlines()


def kill_while_building(worker: subprocess.Popen[str], gate: Path, wait_for_backend: WaitForBackend) -> None:
    """Kill the whole host of a worker, and remove the gate: ``wait_for_backend`` waits for the next backend then.

    The kernel ends the other processes of the host after the worker. If a backend still runs when the gate is removed,
    its build succeeds and uv keeps the wheel. The next build then starts no backend (seen once in some hundred runs).
    """
    wait_for_backend()
    host = psutil.Process(worker.pid).children(recursive=True)
    worker.kill()
    worker.wait()
    assert psutil.wait_procs(host, timeout=30)[1] == []  # the backend itself ends after 60
    gate.unlink()


def test_a_container_that_was_killed_while_it_built_keeps_the_next_one_waiting_for_nothing(
    hosts: Hosts, gate: Path, wait_for_backend: WaitForBackend
) -> None:
    kill_while_building(hosts.start("harbor-one"), gate, wait_for_backend)

    second = hosts.start("harbor-two", max_tries=5)
    wait_for_backend()
    gate.unlink()
    lines = [line for line in rest_of(second) if not line.startswith("Waiting")]

    assert lines[0].startswith("Process 1, which wrote it, no longer holds the kernel lock. Lock ")
    assert lines[-1].startswith("READY was_built=True")
