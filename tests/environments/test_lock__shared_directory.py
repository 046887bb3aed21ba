"""The lock where other hosts and other users lock too: whose record binds, is renewed, and is left alone."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from cosmos_venv.environments import lock
from cosmos_venv.environments.layout import KERNEL_LOCK_FILENAME, LOCK_FILENAME, NOTE_FILENAME
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.lock_record import LockNote
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import VirtualenvLockTimeout
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv import VenvLock
from tests.kit import SetAge, StartPython, WaitForBackend, WaitUntil


def acquire_once(directory: Path) -> list[str]:
    """The lines reported by one who waits for nobody."""
    lines: list[str] = []
    with VirtualenvLock(directory).acquire(max_tries=0, cancellation=Cancellation(), report=lines.append):
        return lines


def leave_record_of_another_host(directory: Path, pid: int) -> None:
    note = replace(LockNote.of_this_process(), pid=pid, host="another-host")
    (directory / NOTE_FILENAME).write_text(note.to_json())
    (directory / LOCK_FILENAME).write_text(str(pid))


def test_a_record_of_another_host_with_our_number_is_left_alone(tmp_path: Path) -> None:
    leave_record_of_another_host(tmp_path, os.getpid())

    with pytest.raises(VirtualenvLockTimeout, match=rf"is still held by process {os.getpid()} on another-host after"):
        acquire_once(tmp_path)

    assert (tmp_path / LOCK_FILENAME).read_text() == str(os.getpid())
    assert json.loads((tmp_path / NOTE_FILENAME).read_text())["host"] == "another-host"


def test_the_toolkit_s_record_of_another_host_is_such_a_one(
    cosmos_venv_lock: Callable[[Path], VenvLock], tmp_path: Path
) -> None:
    pid = cosmos_venv_lock(tmp_path).other_host()

    with pytest.raises(VirtualenvLockTimeout, match=rf"is still held by process {pid} on another-host after"):
        acquire_once(tmp_path)
    written = json.loads((tmp_path / NOTE_FILENAME).read_text())
    assert set(written) == {field.name for field in fields(LockNote)} - {"device"}


def test_a_record_with_our_number_that_replaced_ours_is_left_alone(tmp_path: Path) -> None:
    lines: list[str] = []
    theirs = tmp_path / "theirs"

    with VirtualenvLock(tmp_path).acquire(max_tries=0, cancellation=Cancellation(), report=lines.append):
        theirs.write_text(str(os.getpid()))
        theirs.replace(tmp_path / LOCK_FILENAME)

    assert (tmp_path / LOCK_FILENAME).read_text() == str(os.getpid())
    assert f"owned by process of pid '{os.getpid()}'" in lines[-1]


def test_a_record_of_another_host_binds_until_it_shows_no_progress_for_a_minute(
    tmp_path: Path, set_age: SetAge
) -> None:
    leave_record_of_another_host(tmp_path, 1)
    with pytest.raises(VirtualenvLockTimeout):
        acquire_once(tmp_path)
    set_age(tmp_path / LOCK_FILENAME, 61)

    lines = acquire_once(tmp_path)

    assert "Its owner on another-host has shown no progress for 6" in lines[0]


def test_the_owner_renews_its_record_when_its_build_gets_on_but_not_at_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_age: SetAge
) -> None:
    ours = VirtualenvLock(tmp_path)
    files = [tmp_path / LOCK_FILENAME, tmp_path / NOTE_FILENAME]

    with ours.acquire(max_tries=0, cancellation=Cancellation(), report=print):
        for file in files:
            set_age(file, 50)
        ours.renew()
        at_once = [time.time() - file.stat().st_mtime for file in files]
        monkeypatch.setattr(lock, "_RENEW_AFTER", 0.0)
        ours.renew()
        later = [time.time() - file.stat().st_mtime for file in files]

    assert [seconds >= 50 for seconds in at_once] == [True, True]
    assert [seconds < 40 for seconds in later] == [True, True]


def test_a_record_that_is_not_ours_is_not_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_age: SetAge
) -> None:
    monkeypatch.setattr(lock, "_RENEW_AFTER", 0.0)
    ours = VirtualenvLock(tmp_path)
    theirs = tmp_path / "theirs"

    with ours.acquire(max_tries=0, cancellation=Cancellation(), report=lambda _: None):
        theirs.write_text("1")
        set_age(theirs, 50)
        theirs.replace(tmp_path / LOCK_FILENAME)
        ours.renew()

    assert time.time() - (tmp_path / LOCK_FILENAME).stat().st_mtime >= 50


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


def test_a_directory_in_which_no_lock_file_can_be_made_is_named_by_the_error(
    everybodys_directory: Path, start_python: StartPython
) -> None:
    everybodys_directory.chmod(0o555)

    output = start_python(AS_ANOTHER_USER, everybodys_directory).communicate()[0]

    assert output.splitlines()[-1] == (
        f"PermissionError: [Errno 13] Permission denied: '{everybodys_directory / KERNEL_LOCK_FILENAME}'"
    )


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
