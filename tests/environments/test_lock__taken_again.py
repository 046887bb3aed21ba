"""The thread that holds the lock and asks again goes on, every other one waits."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cosmos_venv.environments.layout import LOCK_FILENAME
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.exceptions import VirtualenvLockTimeout
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import SetAge, StartPython

TRY = """
import sys
from pathlib import Path
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.exceptions import VirtualenvLockTimeout
from cosmos_venv.processes.cancellation import Cancellation
try:
    with VirtualenvLock(Path(sys.argv[1])).acquire(max_tries=0, cancellation=Cancellation(), report=lambda line: None):
        print("taken")
except VirtualenvLockTimeout:
    print("held")
"""


def taken(directory: Path) -> AbstractContextManager[None]:
    return VirtualenvLock(directory).acquire(max_tries=0, cancellation=Cancellation(), report=print)


def test_the_outer_block_keeps_what_an_inner_one_has_left(tmp_path: Path, start_python: StartPython) -> None:
    with taken(tmp_path):
        with taken(tmp_path), taken(tmp_path / "."):
            assert (tmp_path / LOCK_FILENAME).read_text() == str(os.getpid())

        assert (tmp_path / LOCK_FILENAME).read_text() == str(os.getpid())
        (tmp_path / LOCK_FILENAME).unlink()  # a process is told by the kernel lock, too
        assert start_python(TRY, tmp_path).communicate()[0] == "held\n"

    assert start_python(TRY, tmp_path).communicate()[0] == "taken\n"


def test_another_thread_of_the_process_waits(tmp_path: Path) -> None:
    def take() -> None:
        with taken(tmp_path):
            pytest.fail("two threads would build at once")

    with taken(tmp_path), ThreadPoolExecutor() as pool, pytest.raises(VirtualenvLockTimeout):
        pool.submit(take).result()


def test_another_directory_is_another_lock(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()

    with taken(tmp_path), taken(tmp_path / "other"):
        assert (tmp_path / "other" / LOCK_FILENAME).exists()
    assert not (tmp_path / "other" / LOCK_FILENAME).exists()


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


def test_an_inner_block_renews_the_record_of_the_outer_one(
    tmp_path: Path, set_age: SetAge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmos_venv.environments.lock._RENEW_AFTER", 0.0)
    inner = VirtualenvLock(tmp_path)

    with taken(tmp_path), inner.acquire(max_tries=0, cancellation=Cancellation(), report=print):
        set_age(tmp_path / LOCK_FILENAME, 50)
        before = (tmp_path / LOCK_FILENAME).stat().st_mtime
        inner.renew()

        assert (tmp_path / LOCK_FILENAME).stat().st_mtime > before + 40


def test_a_record_that_vanished_is_written_again_for_the_inner_block(tmp_path: Path) -> None:
    with taken(tmp_path):
        (tmp_path / LOCK_FILENAME).unlink()
        with taken(tmp_path):
            assert (tmp_path / LOCK_FILENAME).read_text() == str(os.getpid())


def test_a_record_of_a_living_process_in_the_place_of_ours_is_waited_for(tmp_path: Path) -> None:
    with taken(tmp_path):
        (tmp_path / LOCK_FILENAME).unlink()
        (tmp_path / LOCK_FILENAME).write_text(str(os.getppid()))

        with pytest.raises(VirtualenvLockTimeout), taken(tmp_path):
            pytest.fail("the lock of a living process was taken")
