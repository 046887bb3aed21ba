"""The lock between real processes: one owner at a time, the dead bind nobody, the living are never robbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cosmos_venv.environments.lock import KERNEL_LOCK_FILENAME, LOCK_FILENAME, LockRecord, VirtualenvLock
from cosmos_venv.exceptions import VirtualenvLockTimeout
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv.processes.venv_lock import CosmosLock
from tests.environments.elsewhere import needs_root, within
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


def acquire_and_release(directory: Path, *, max_tries: int = 0) -> list[str]:
    """The reported lines; without a try to wait for unless asked."""
    lines: list[str] = []
    with VirtualenvLock(directory).acquire(max_tries=max_tries, cancellation=Cancellation(), report=lines.append):
        assert (directory / LOCK_FILENAME).read_text() == str(os.getpid())
    assert not (directory / LOCK_FILENAME).exists()
    return lines


def taken(directory: Path) -> AbstractContextManager[bool]:
    return VirtualenvLock(directory).acquire(max_tries=0, cancellation=Cancellation(), report=print)


@pytest.fixture
def living_pid() -> int:
    """A process that lives and is older than any record a test writes."""
    return os.getppid()


def test_the_record_is_plain_decimal_text_while_the_lock_is_held(tmp_path: Path) -> None:
    with VirtualenvLock(tmp_path).acquire(max_tries=0, cancellation=Cancellation(), report=print):
        text = (tmp_path / LOCK_FILENAME).read_text()

    assert text == str(os.getpid())
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

    reason = f"Process {holder.pid}, which wrote it, no longer holds the kernel lock"
    assert lines[0] == f"{reason}. Lock {tmp_path / LOCK_FILENAME} was outdated."


def test_a_record_of_a_zombie_is_replaced_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / LOCK_FILENAME).write_text(str(process.pid))

    lines = acquire_and_release(tmp_path)

    assert f"Process {process.pid} has ended. Lock" in lines[0]
    process.communicate()


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


HIDDEN = "mount -t proc -o hidepid=2 proc /proc"
JUDGE = """
import encodings.ascii, os, sys, psutil  # ascii is here since the other user may not read the standard library
from pathlib import Path
from cosmos_venv.environments.lock import VirtualenvLock
os.setgroups([])
os.setgid(51_235)  # root's group sees all processes
os.setuid(51_235)
print(psutil.pid_exists(int(sys.argv[2])), VirtualenvLock(Path(sys.argv[1])).is_available(report=print))
"""


@needs_root
def test_a_living_owner_of_another_user_that_proc_hides_is_waited_for(
    everybodys_folder: Path, cosmos_lock: CosmosLock
) -> None:
    owner = cosmos_lock.pids.foreign()
    (everybodys_folder / LOCK_FILENAME).write_text(str(owner))
    command = [*within(setup=HIDDEN), sys.executable, "-c", JUDGE, str(everybodys_folder), str(owner)]

    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert lines == [
        f"process {owner} has the lock {everybodys_folder / LOCK_FILENAME}.",
        "False False",
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
# Arguments: the directory, and whether it writes into the judged file, or renames a file of its own.
REPLACED = """
import os, sys
from pathlib import Path
from cosmos_venv.environments.lock import LOCK_FILENAME
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.exceptions import VirtualenvLockTimeout
from cosmos_venv.processes.cancellation import Cancellation
file, theirs = Path(sys.argv[1], LOCK_FILENAME), Path(sys.argv[1], "theirs")
def replace(event, arguments):
    if event == "os.rename" and str(arguments[0]) == str(file) and theirs.exists():
        if sys.argv[2] == "writes":
            file.write_text(theirs.read_text())
            theirs.unlink()
        else:
            theirs.replace(file)
sys.addaudithook(replace)
try:
    with VirtualenvLock(file.parent).acquire(max_tries=0, cancellation=Cancellation(), report=print):
        print("taken")
except VirtualenvLockTimeout:
    print("waited for")
"""


@pytest.mark.parametrize("how", ["renames", "writes"])
def test_a_living_owner_that_has_replaced_the_judged_record_keeps_the_lock(
    tmp_path: Path, start_python: StartPython, living_pid: int, set_age: SetAge, how: str
) -> None:
    (tmp_path / LOCK_FILENAME).write_text("garbage")
    set_age(tmp_path / LOCK_FILENAME, 60)
    (tmp_path / "theirs").write_text(str(living_pid))

    output = start_python(REPLACED, tmp_path, how).communicate()[0]

    assert output.splitlines()[-1] == "waited for"
    assert (tmp_path / LOCK_FILENAME).read_text() == str(living_pid)
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("act", "left", "words"),
    [
        pytest.param(
            lambda file: file.write_text("1"), ["1"], "belongs to process '1', and no longer belongs", id="replaced"
        ),
        pytest.param(Path.unlink, [], "is gone, and no longer belongs", id="gone"),
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


@pytest.mark.parametrize(
    ("text", "age", "binds"),
    [
        pytest.param("", 0.1, True, id="empty-this-moment"),
        pytest.param("", -100.0, False, id="empty-from-the-future"),
        pytest.param("garbage", 1.0, False, id="no-number"),
        pytest.param(str(os.getpid()), 0.0, False, id="our-own-id"),
        pytest.param("9" * 30, 1.0, False, id="no-kernel-has-such"),
        pytest.param("\u00b2", 1.0, False, id="digit-of-another-script"),
        pytest.param(f"{os.getppid()}\n", 0.0, True, id="a-process-that-lives"),
        pytest.param(f"{os.getppid()}", 10.0**9, False, id="of-before-that-process-started"),
    ],
)
def test_a_record_binds_while_its_owner_may_live(tmp_path: Path, text: str, age: float, binds: bool) -> None:
    file = tmp_path / LOCK_FILENAME
    file.write_text(text)
    os.utime(file, times=(time.time() - age,) * 2)

    found = LockRecord.read(file)

    assert found is not None
    assert (found.why_stale(last_of_ours="") is None) is binds


def test_a_record_of_ours_binds_nobody_without_the_kernel_lock_though_a_process_has_its_number(
    tmp_path: Path, living_pid: int
) -> None:
    """Each container has a process 7: of another container's record the kernel lock alone can tell."""
    acquire_and_release(tmp_path)
    (tmp_path / LOCK_FILENAME).write_text(str(living_pid))
    found = LockRecord.read(tmp_path / LOCK_FILENAME)
    assert found is not None
    (tmp_path / KERNEL_LOCK_FILENAME).write_text(found.mark)

    assert VirtualenvLock(tmp_path).is_available(report=print)
    lines = acquire_and_release(tmp_path)

    assert lines[0].startswith(f"Process {living_pid}, which wrote it, no longer holds the kernel lock. Lock ")


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


def test_a_file_apart_that_another_host_has_swept_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a mount without locks between hosts the next builder of another host sweeps while this one takes the lock."""
    link = os.link

    def link_and_sweep(source: Path, target: Path) -> None:
        link(source, target)
        source.unlink()

    monkeypatch.setattr(os, "link", link_and_sweep)

    assert acquire_and_release(tmp_path)
