"""The lock between real processes: one owner at a time, the dead bind nobody, the living are never robbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cosmos_venv.environments import lock_record
from cosmos_venv.environments.layout import LOCK_FILENAME, NOTE_FILENAME
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.exceptions import CommandKilled, VirtualenvLockTimeout
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import SetAge, StartPython

HOLDER = """
import sys
from pathlib import Path
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.processes.cancellation import Cancellation
with VirtualenvLock(Path(sys.argv[1])).acquire(max_tries=60, cancellation=Cancellation(), report=lambda line: None):
    print("held", flush=True)
    sys.stdin.read()
"""

COUNTER = """
import sys
from pathlib import Path
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.processes.cancellation import Cancellation
directory, counter = Path(sys.argv[1]), Path(sys.argv[1], "counter")
for _ in range(5):
    lock = VirtualenvLock(directory)
    with lock.acquire(max_tries=60, cancellation=Cancellation(), report=lambda line: print(line)):
        holder = directory / "holder"
        holder.touch(exist_ok=False)
        counter.write_text(str(int(counter.read_text()) + 1))
        holder.unlink()
"""


def acquire_and_release(directory: Path, *, max_tries: int = 0) -> list[str]:
    """The reported lines; without a try to wait for unless asked."""
    lines: list[str] = []
    with VirtualenvLock(directory).acquire(max_tries=max_tries, cancellation=Cancellation(), report=lines.append):
        assert (directory / LOCK_FILENAME).read_text() == str(os.getpid())
    assert not (directory / LOCK_FILENAME).exists()
    return lines


@pytest.fixture
def living_pid() -> int:
    """A process that lives and is older than any record a test writes."""
    return os.getppid()


def test_the_record_is_plain_decimal_text_while_the_lock_is_held(tmp_path: Path) -> None:
    with VirtualenvLock(tmp_path).acquire(max_tries=0, cancellation=Cancellation(), report=print):
        text = (tmp_path / LOCK_FILENAME).read_text()
        note = json.loads((tmp_path / NOTE_FILENAME).read_text())

    assert text == str(os.getpid())
    assert note["pid"] == os.getpid()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cosmos_virtualenv.flock"]


def test_the_lock_is_released_by_an_error_too(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="inside"),
        VirtualenvLock(tmp_path).acquire(max_tries=0, cancellation=Cancellation(), report=print),
    ):
        raise RuntimeError("inside")

    acquire_and_release(tmp_path)


def test_processes_hold_it_one_at_a_time(tmp_path: Path, start_python: StartPython) -> None:
    (tmp_path / "counter").write_text("0")

    contenders = [start_python(COUNTER, tmp_path) for _ in range(6)]
    outputs = [process.communicate()[0] for process in contenders]

    assert [process.returncode for process in contenders] == [0] * 6, outputs
    assert (tmp_path / "counter").read_text() == "30"


def test_a_waiter_goes_on_when_the_owner_releases(tmp_path: Path, start_python: StartPython) -> None:
    holder = start_python(HOLDER, tmp_path)
    assert holder.stdout is not None
    holder.stdout.readline()
    waiter = start_python(HOLDER, tmp_path)

    holder.communicate()
    assert waiter.stdout is not None
    waiter.stdout.readline()

    waiter.communicate()
    assert waiter.returncode == 0


def test_an_owner_whose_record_was_deleted_keeps_the_lock(tmp_path: Path, start_python: StartPython) -> None:
    holder = start_python(HOLDER, tmp_path)
    assert holder.stdout is not None
    holder.stdout.readline()
    (tmp_path / LOCK_FILENAME).unlink()

    with pytest.raises(VirtualenvLockTimeout, match=r"is still held by another process after \d+ s"):
        acquire_and_release(tmp_path)


def test_a_killed_owner_binds_nobody(tmp_path: Path, start_python: StartPython) -> None:
    holder = start_python(HOLDER, tmp_path)
    assert holder.stdout is not None
    holder.stdout.readline()

    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lines = acquire_and_release(tmp_path)

    assert lines[0] == f"Process {holder.pid} is not running. Lock {tmp_path / LOCK_FILENAME} was outdated."


@pytest.mark.parametrize("text", ["", "garbage", "12 34", str(os.getpid())], ids=["empty", "garbage", "two", "own-pid"])
def test_a_record_that_names_nobody_is_replaced_at_once(tmp_path: Path, text: str, set_age: SetAge) -> None:
    file = tmp_path / LOCK_FILENAME
    file.write_text(str(os.getpid()) if text.isdigit() else text)
    set_age(file, 1)

    lines = acquire_and_release(tmp_path)

    assert "was outdated" in lines[0]


def test_a_record_of_a_zombie_is_replaced_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / LOCK_FILENAME).write_text(str(process.pid))

    lines = acquire_and_release(tmp_path)

    assert f"Process {process.pid} has ended. Lock" in lines[0]
    process.communicate()


def test_a_record_older_than_the_process_it_names_is_replaced_at_once(
    tmp_path: Path, start_python: StartPython, set_age: SetAge
) -> None:
    younger = start_python("import sys; sys.stdin.read()")
    file = tmp_path / LOCK_FILENAME
    file.write_text(str(younger.pid))
    set_age(file, 5)

    lines = acquire_and_release(tmp_path)

    assert "started after it was written" in lines[0]


def test_a_waiter_survives_the_moment_in_which_another_writes_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_record, "UNFINISHED_GRACE", 3600.0)
    (tmp_path / LOCK_FILENAME).write_text("")

    with pytest.raises(VirtualenvLockTimeout):
        acquire_and_release(tmp_path)

    assert (tmp_path / LOCK_FILENAME).read_text() == ""


def test_a_living_owner_is_waited_for_named_and_left_alone(tmp_path: Path, living_pid: int) -> None:
    file = tmp_path / LOCK_FILENAME
    file.write_text(str(living_pid))
    lines: list[str] = []
    began = time.monotonic()

    with (
        pytest.raises(
            VirtualenvLockTimeout,
            match=rf"{LOCK_FILENAME} is still held by process {living_pid} \(.+\) after \d+ s\. "
            r"Raise \[cosmos\] virtualenv_max_retries_lock, or give this project a virtualenv_dir of its own\.",
        ),
        VirtualenvLock(tmp_path).acquire(max_tries=2, cancellation=Cancellation(), report=lines.append),
    ):
        pytest.fail("the lock of a living process was taken")

    assert time.monotonic() - began >= 2
    assert file.read_text() == str(living_pid)
    assert [f"try {number} of 2" in line for number, line in enumerate(lines, start=1)] == [True, True]


def test_waiting_ends_when_the_other_removes_its_record(tmp_path: Path, living_pid: int) -> None:
    file = tmp_path / LOCK_FILENAME
    file.write_text(str(living_pid))
    lines: list[str] = []

    def owner_goes_after_the_first_try(line: str) -> None:
        lines.append(line)
        if line.startswith("Waiting"):
            file.unlink()

    with VirtualenvLock(tmp_path).acquire(
        max_tries=3, cancellation=Cancellation(), report=owner_goes_after_the_first_try
    ):
        assert file.read_text() == str(os.getpid())

    assert [line.split(":")[0] for line in lines] == [
        "Waiting for virtualenv lock to be released",
        f"Acquiring lock at {file} with pid {os.getpid()}",
        "Releasing virtualenv lock",
    ]


def test_tries_do_not_count_while_the_owner_gets_on(tmp_path: Path, living_pid: int) -> None:
    (tmp_path / LOCK_FILENAME).write_text(str(living_pid))
    steps = iter([0, 1])
    lines: list[str] = []
    waiter = VirtualenvLock(tmp_path, progress=lambda: next(steps, 1))

    with (
        pytest.raises(VirtualenvLockTimeout, match=r"after \d+ s"),
        waiter.acquire(max_tries=1, cancellation=Cancellation(), report=lines.append),
    ):
        pytest.fail("the lock of a living process was taken")

    assert "its build gets on" in lines[0]
    assert "try 1 of 1" in lines[1]


def test_a_request_to_end_ends_the_waiting(tmp_path: Path, living_pid: int) -> None:
    (tmp_path / LOCK_FILENAME).write_text(str(living_pid))
    cancellation = Cancellation()

    with (
        pytest.raises(CommandKilled),
        VirtualenvLock(tmp_path).acquire(
            max_tries=60, cancellation=cancellation, report=lambda _: cancellation.request()
        ),
    ):
        pytest.fail("the lock of a living process was taken")

    assert (tmp_path / LOCK_FILENAME).read_text() == str(living_pid)


def test_a_record_that_another_put_in_place_of_ours_is_left_alone(tmp_path: Path) -> None:
    lines: list[str] = []

    with VirtualenvLock(tmp_path).acquire(max_tries=0, cancellation=Cancellation(), report=lines.append):
        (tmp_path / LOCK_FILENAME).write_text("1")

    assert (tmp_path / LOCK_FILENAME).read_text() == "1"
    assert f"owned by process of pid '1', while operator has pid {os.getpid()}. It is left alone." in lines[-1]


def test_a_record_that_vanished_meanwhile_does_not_hide_what_was_done(tmp_path: Path) -> None:
    lines: list[str] = []

    with VirtualenvLock(tmp_path).acquire(max_tries=0, cancellation=Cancellation(), report=lines.append):
        (tmp_path / LOCK_FILENAME).unlink()

    assert "not found, perhaps deleted by other concurrent operator?" in lines[-1]
