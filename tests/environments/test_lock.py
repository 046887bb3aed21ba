"""The lock between real processes: one owner at a time, the dead bind nobody, the living are never robbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path

import pytest

from cosmos_venv.environments import lock
from cosmos_venv.environments.layout import KERNEL_LOCK_FILENAME, LOCK_FILENAME, NOTE_FILENAME
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.lock_record import LockNote, LockRecord, Machine, ProcessState, staleness
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import VirtualenvLockTimeout
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv import VenvLocks
from tests.kit import SetAge, StartPython, WaitForBackend, WaitUntil

HOLDER = """
import sys
from pathlib import Path
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.processes.cancellation import Cancellation
with VirtualenvLock(Path(sys.argv[1])).acquire(max_tries=60, cancellation=Cancellation(), report=lambda line: None):
    print("held", flush=True)
    sys.stdin.read()
"""


def acquire_and_release(directory: Path, *, max_tries: int = 0) -> list[str]:
    """The reported lines; without a try to wait for unless asked."""
    lines: list[str] = []
    with VirtualenvLock(directory).acquire(max_tries=max_tries, cancellation=Cancellation(), report=lines.append):
        assert (directory / LOCK_FILENAME).read_text() == str(os.getpid())
    assert not (directory / LOCK_FILENAME).exists()
    return lines


def taken(directory: Path) -> AbstractContextManager[None]:
    return VirtualenvLock(directory).acquire(max_tries=0, cancellation=Cancellation(), report=print)


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
    steps = iter([0, 1, 2])
    lines: list[str] = []
    waiter = VirtualenvLock(tmp_path, progress=lambda: next(steps, 2))

    with (
        pytest.raises(VirtualenvLockTimeout, match=r"after \d+ s"),
        waiter.acquire(max_tries=1, cancellation=Cancellation(), report=lines.append),
    ):
        pytest.fail("the lock of a living process was taken")

    assert ["its build gets on" in line for line in lines] == [True, True, False]
    assert "try 1 of 1" in lines[2]


# Just before a record that was judged is moved away, another implementation puts its own in its place.
REPLACED = """
import os, sys
from pathlib import Path
from cosmos_venv.environments.layout import LOCK_FILENAME
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.exceptions import VirtualenvLockTimeout
from cosmos_venv.processes.cancellation import Cancellation
file, theirs = Path(sys.argv[1], LOCK_FILENAME), Path(sys.argv[1], "theirs")
def replace(event, arguments):
    if event == "os.rename" and str(arguments[0]) == str(file) and theirs.exists():
        theirs.replace(file)
sys.addaudithook(replace)
try:
    with VirtualenvLock(file.parent).acquire(max_tries=0, cancellation=Cancellation(), report=print):
        print("taken")
except VirtualenvLockTimeout:
    print("waited for")
"""


def test_a_living_owner_that_has_replaced_the_judged_record_keeps_the_lock(
    tmp_path: Path, start_python: StartPython, living_pid: int, set_age: SetAge
) -> None:
    (tmp_path / LOCK_FILENAME).write_text("garbage")
    set_age(tmp_path / LOCK_FILENAME, 60)
    (tmp_path / "theirs").write_text(str(living_pid))

    output = start_python(REPLACED, tmp_path).communicate()[0]

    assert output.splitlines()[-1] == "waited for"
    assert (tmp_path / LOCK_FILENAME).read_text() == str(living_pid)
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("act", "left", "words"),
    [
        pytest.param(lambda file: file.write_text("1"), ["1"], "owned by process of pid '1', while", id="replaced"),
        pytest.param(Path.unlink, [], "not found, perhaps deleted by other concurrent operator?", id="gone"),
    ],
)
def test_a_record_that_is_not_ours_any_more_is_left_alone(
    tmp_path: Path, act: Callable[[Path], object], left: list[str], words: str
) -> None:
    lines: list[str] = []

    with VirtualenvLock(tmp_path).acquire(max_tries=0, cancellation=Cancellation(), report=lines.append):
        act(tmp_path / LOCK_FILENAME)

    assert [file.read_text() for file in tmp_path.glob(LOCK_FILENAME)] == left
    assert words in lines[-1]


def test_the_thread_that_holds_it_goes_on_and_others_wait(tmp_path: Path) -> None:
    with taken(tmp_path), ThreadPoolExecutor() as pool:
        with taken(tmp_path), taken(tmp_path / "."):
            pass
        assert (tmp_path / LOCK_FILENAME).read_text() == str(os.getpid())

        (tmp_path / LOCK_FILENAME).unlink()  # the kernel lock keeps others out, too
        with pytest.raises(VirtualenvLockTimeout):
            pool.submit(acquire_and_release, tmp_path).result()

    acquire_and_release(tmp_path)


def test_a_child_that_was_forked_meanwhile_waits(tmp_path: Path) -> None:
    with taken(tmp_path):
        child = os.fork()
        if not child:
            try:
                with taken(tmp_path):
                    os._exit(1)
            except VirtualenvLockTimeout:
                os._exit(0)
            finally:
                os._exit(2)
        status = os.waitpid(child, 0)[1]

    assert os.waitstatus_to_exitcode(status) == 0


# Which records bind: the table of the decision, for records of all kinds that no test can leave on one machine.
NOW, OWN_PID = 1_000_000.0, 4711
HERE = Machine(host="here", boot_id="this-boot", pid_namespace="pid:[1]", booted_at=NOW - 10_000)
RUNNING = ProcessState(name="python", is_zombie=False, started_at=NOW - 500.75, start_ticks=5000)
NOTE = LockNote(pid=123, host="here", boot_id="this-boot", pid_namespace="pid:[1]", process_start_ticks=5000)
THERE = replace(NOTE, host="there", device=7)


def record(text: str = "123", *, age: float = 100.25, note: LockNote | None = None) -> LockRecord:
    return LockRecord(text=text, age=age, written_at=NOW - age, note=note)


@pytest.mark.parametrize(
    ("found", "process", "locked_device", "binds"),
    [
        pytest.param(record(), RUNNING, None, True, id="owner-lives"),
        pytest.param(record("123\n"), replace(RUNNING, started_at=None), None, True, id="start-unknown"),
        pytest.param(record(), None, None, False, id="owner-gone"),
        pytest.param(record(), replace(RUNNING, started_at=NOW - 100.15), None, False, id="pid-used-again"),
        pytest.param(record(), replace(RUNNING, started_at=NOW - 100.23), None, True, id="within-a-tick"),
        pytest.param(record(age=100), replace(RUNNING, started_at=NOW - 99.5), None, True, id="mount-counts-seconds"),
        pytest.param(record(note=NOTE), replace(RUNNING, start_ticks=5001), None, False, id="another-start"),
        pytest.param(record(note=NOTE), replace(RUNNING, started_at=NOW), None, True, id="the-very-process"),
        pytest.param(record("", age=0.1), None, None, True, id="empty-this-moment"),
        pytest.param(record("", age=-100), None, None, False, id="empty-from-the-future"),
        pytest.param(record("9" * 30), None, None, False, id="no-kernel-has-such"),
        pytest.param(record("²"), None, None, False, id="digit-of-another-script"),
        pytest.param(
            record(age=20_000), replace(RUNNING, started_at=NOW - 30_000), None, False, id="of-before-the-boot"
        ),
        pytest.param(record(note=replace(NOTE, boot_id="last-boot")), RUNNING, None, False, id="another-boot"),
        pytest.param(record(age=20_000, note=NOTE), replace(RUNNING, started_at=0), None, True, id="clock-was-set"),
        pytest.param(record(age=10, note=THERE), None, None, True, id="other-host"),
        pytest.param(record(age=70, note=THERE), RUNNING, None, False, id="other-host-silent"),
        pytest.param(
            record(age=10, note=replace(NOTE, pid_namespace="pid:[2]")), None, None, True, id="other-container"
        ),
        pytest.param(record(age=10, note=THERE), None, 7, False, id="lost-the-kernel-lock-that-we-have"),
        pytest.param(record(age=10, note=THERE), None, 8, True, id="another-mount-has-other-locks"),
        pytest.param(record(age=10, note=replace(THERE, boot_id="other")), None, 7, True, id="another-kernel"),
    ],
)
def test_a_record_binds_while_its_owner_may_live(
    found: LockRecord, process: ProcessState | None, locked_device: int | None, binds: bool
) -> None:
    reason = staleness(found, process=process, here=HERE, own_pid=OWN_PID, locked_device=locked_device)

    assert (reason is None) is binds


def test_a_start_is_known_to_the_hundredth_of_a_second() -> None:
    """psutil's is up to a second early: it counts from the full second in which the machine was started."""
    before = time.time()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        state = ProcessState.of(process.pid)

    assert state is not None
    assert state.started_at is not None
    assert before - 0.05 < state.started_at < time.time()


@pytest.mark.parametrize("text", ["[", "1", '{"pid": 1}'])
def test_half_a_note_says_nothing_and_a_longer_one_what_is_known(text: str) -> None:
    own = LockNote.of_this_process(device=7)

    assert LockNote.from_json(json.dumps({**json.loads(own.to_json()), "colour": "red"})) == own
    assert LockNote.from_json(text) is None


def test_a_record_of_another_host_binds_until_it_shows_no_progress_for_a_minute(
    cosmos_venv_lock: VenvLocks, tmp_path: Path, set_age: SetAge
) -> None:
    pid = cosmos_venv_lock(tmp_path).other_host()
    written = json.loads((tmp_path / NOTE_FILENAME).read_text())

    with pytest.raises(VirtualenvLockTimeout, match=rf"is still held by process {pid} on another-host after"):
        acquire_and_release(tmp_path)
    set_age(tmp_path / LOCK_FILENAME, 61)
    lines = acquire_and_release(tmp_path)

    assert "Its owner on another-host has shown no progress for 6" in lines[0]
    assert set(written) == {field.name for field in fields(LockNote)} - {"device"}


def test_a_build_renews_its_record_while_its_installer_is_silent(
    tmp_path: Path,
    slow_spec: EnvironmentSpec,
    gate: Path,
    wait_for_backend: WaitForBackend,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A record that is not renewed is that of a dead builder to other hosts; uv downloads in silence."""
    monkeypatch.setattr(lock, "_RENEW_AFTER", 0.0)
    directory = tmp_path / "store"
    files = [directory / LOCK_FILENAME, directory / NOTE_FILENAME]
    renewed: list[bool] = []

    def age_and_watch() -> None:
        wait_for_backend()
        try:
            for file in files:
                os.utime(file, times=(0, 0))
            wait_until(lambda: all(file.stat().st_mtime > 0 for file in files))
            renewed.append(True)
        finally:
            gate.unlink()  # until now the installer waits

    watcher = threading.Thread(target=age_and_watch)
    watcher.start()
    with open_environment(
        EnvironmentStore(directory), slow_spec, preference="uv", max_tries=1, cancellation=Cancellation(), report=print
    ):
        pass
    watcher.join()

    assert renewed == [True]


# Another user may not be able to read this Python's files: all that is needed is imported before.
AS_ANOTHER_USER = """
import encodings.ascii, os, sys
from pathlib import Path
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.processes.cancellation import Cancellation
if os.getuid() == 0:
    os.setuid(65534)
with VirtualenvLock(Path(sys.argv[1])).acquire(max_tries=0, cancellation=Cancellation(), report=print):
    print("held")
"""


def test_the_kernel_lock_file_of_another_user_serves_as_well(
    everybodys_directory: Path, start_python: StartPython
) -> None:
    file = everybodys_directory / KERNEL_LOCK_FILENAME
    file.touch()
    file.chmod(0o444)  # as little as another user has of it; nobody but root may write it

    output = start_python(AS_ANOTHER_USER, everybodys_directory).communicate()[0]

    assert "held" in output.splitlines()
