"""Two hosts on one ``virtualenv_dir``: each a process with a host name, process ids and a network of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from cosmos_venv.environments.layout import KERNEL_LOCK_FILENAME, LOCK_FILENAME, NOTE_FILENAME
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.spec import EnvironmentSpec
from tests.environments.elsewhere import within
from tests.kit import SetAge, StartPython, WaitForBackend, WaitUntil

WORKER = """
import json, os, socket, sys
from pathlib import Path
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.processes.cancellation import Cancellation

host, directory, order, max_tries = sys.argv[1:]
socket.sethostname(host)

def report(line):
    print(line, flush=True)

try:
    with open_environment(EnvironmentStore(Path(directory)),
        EnvironmentSpec.from_dict(json.loads(order)),
        preference="uv",
        max_tries=int(max_tries),
        cancellation=Cancellation(),
        report=report,
    ) as environment:
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
        order = json.dumps(self.spec.as_dict())
        return self.start_python(WORKER, name, self.directory, order, max_tries, within=place)


@pytest.fixture
def hosts(tmp_path: Path, start_python: StartPython, slow_spec: EnvironmentSpec) -> Hosts:
    """Whose environment is built for as long as there is the gate."""
    return Hosts(start_python=start_python, directory=tmp_path / "store", spec=slow_spec)


def wait_for_line(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if word in line:
            return line.strip()
    raise AssertionError(f"the process ended without {word}: {''.join(seen)}")


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


def put_out_of_reach(directory: Path) -> None:
    """Make the record that of an owner on another machine, with a mount that shares no kernel locks between the two."""
    note = json.loads((directory / NOTE_FILENAME).read_text())
    (directory / NOTE_FILENAME).write_text(json.dumps({**note, "boot_id": "of-another-machine"}))
    (directory / KERNEL_LOCK_FILENAME).unlink()


@pytest.mark.long
def test_one_host_builds_and_the_other_waits_for_it_by_name(
    hosts: Hosts, gate: Path, wait_for_backend: WaitForBackend
) -> None:
    first = hosts.start("harbor-one")
    wait_for_backend()
    second = hosts.start("harbor-two")
    told = wait_for_line(second, "Waiting for virtualenv lock")
    owner = (hosts.directory / LOCK_FILENAME).read_text()

    gate.unlink()

    assert f"is held by process {owner} on harbor-one." in told
    assert rest_of(first)[-1] == f"READY was_built=True pid={owner}"
    assert rest_of(second)[-1].startswith("READY was_built=False")


def test_both_hosts_use_one_environment_at_once(hosts: Hosts, gate: Path, wait_for_backend: WaitForBackend) -> None:
    first = hosts.start("harbor-one")
    wait_for_backend()
    gate.unlink()
    rest_of(first)

    second, third = hosts.start("harbor-two", max_tries=0), hosts.start("harbor-three", max_tries=0)

    assert [rest_of(process)[0].split()[1] for process in (second, third)] == ["was_built=False"] * 2


def test_a_container_that_was_killed_while_it_built_keeps_the_next_one_waiting_for_nothing(
    hosts: Hosts, gate: Path, wait_for_backend: WaitForBackend
) -> None:
    kill_while_building(hosts.start("harbor-one"), gate, wait_for_backend)

    second = hosts.start("harbor-two", max_tries=5)
    wait_for_backend()
    gate.unlink()
    lines = [line for line in rest_of(second) if not line.startswith("Waiting")]

    assert lines[0].startswith("Its owner on harbor-one no longer holds the kernel lock. Lock ")
    assert lines[-1].startswith("READY was_built=True")


def test_who_asks_without_taking_it_learns_what_became_of_another_host(
    hosts: Hosts, gate: Path, wait_for_backend: WaitForBackend, wait_until: WaitUntil
) -> None:
    lines: list[str] = []
    lock = VirtualenvLock(hosts.directory)
    first = hosts.start("harbor-one")
    wait_for_backend()

    while_it_builds = lock.is_available(report=lines.append)
    kill_while_building(first, gate, wait_for_backend)
    wait_until(lambda: lock.is_available(report=lines.append))

    assert not while_it_builds
    assert lines[0].endswith(f" on harbor-one has the lock {lock.file}.")
    assert lines[-1].startswith("Its owner on harbor-one no longer holds the kernel lock.")


def test_a_record_of_a_machine_whose_locks_do_not_reach_here_binds_until_it_is_a_minute_old(
    hosts: Hosts, gate: Path, wait_for_backend: WaitForBackend, set_age: SetAge
) -> None:
    record = hosts.directory / LOCK_FILENAME
    kill_while_building(hosts.start("harbor-one"), gate, wait_for_backend)
    put_out_of_reach(hosts.directory)

    set_age(record, 45)
    refused = rest_of(hosts.start("harbor-two", max_tries=1))[-1]
    set_age(record, 61)
    second = hosts.start("harbor-two", max_tries=1)
    told = wait_for_line(second, "has shown no progress for 6")
    wait_for_backend()
    gate.unlink()

    assert refused.startswith(f"FAILED VirtualenvLockTimeout: {record} is still held by process ")
    assert " on harbor-one after " in refused
    assert told.startswith("Its owner on harbor-one ")
    assert rest_of(second)[-1].startswith("READY was_built=True")


@pytest.mark.long
def test_without_its_kernel_lock_a_living_builder_of_another_machine_is_not_robbed(
    hosts: Hosts, gate: Path, wait_for_backend: WaitForBackend
) -> None:
    first = hosts.start("harbor-one")
    wait_for_backend()
    put_out_of_reach(hosts.directory)

    refused = rest_of(hosts.start("harbor-two", max_tries=1))[-1]
    gate.unlink()

    assert " on harbor-one after " in refused
    assert rest_of(first)[-1].startswith("READY was_built=True")
