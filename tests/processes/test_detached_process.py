"""A detached process that dies: the caller reads the last lines of its log."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.detached_process import DetachedFailure, DetachedStillRunning, DetachedWork
from tests.waiting import wait_until

HERE = "tests.processes.test_detached_process"


def fails_to_import(request: bytes, cancellation: Cancellation) -> str:
    raise ImportError("Could not parse SQLAlchemy URL from postgresql://airflow:hunter2@db/airflow")


def says_nothing_and_dies(request: bytes, cancellation: Cancellation) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def writes_a_long_log_and_dies(request: bytes, cancellation: Cancellation) -> str:
    """The last 4096 bytes of the log begin in the middle of the password."""
    line = "https://ci:hunter2secret@pypi.example/simple\n"
    rest = "x" * (4096 - len("secret@pypi.example/simple\n") - 1) + "\n"
    print(line + rest, end="", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def dies_when_told(request: bytes, cancellation: Cancellation) -> str:
    print("the linker was ended", flush=True)
    with Path(request.decode()).open():  # a FIFO
        os.kill(os.getpid(), signal.SIGKILL)
    return ""


def waits_when_told(request: bytes, cancellation: Cancellation) -> str:
    with Path(request.decode()).open():
        return ""


def detached(folder: Path) -> DetachedWork:
    return DetachedWork(folder=folder, key="d" * 64)


def ask(folder: Path, work: str, request: bytes = b"request", *, wait: float | None = None) -> None:
    detached(folder).ensure_done(f"{HERE}:{work}", request, is_done=lambda: False, wait=wait, on_start=lambda: None)


def ended(folder: Path, work: str) -> str:
    with pytest.raises(DetachedFailure) as told:
        ask(folder, work)
    return str(told.value)


def test_a_process_that_dies_of_an_exception_shows_the_last_lines_of_its_log(tmp_path: Path) -> None:
    told = ended(tmp_path, fails_to_import.__name__)

    assert told.startswith(f"The process ended before its work was done. The last lines of its log {tmp_path}/dddd")
    assert "Traceback (most recent call last):" in told
    assert told.endswith("ImportError: Could not parse SQLAlchemy URL from postgresql://****@db/airflow")


def test_a_process_that_is_killed_before_it_has_said_anything_is_told_as_killed(tmp_path: Path) -> None:
    told = ended(tmp_path, says_nothing_and_dies.__name__)

    assert told == (
        "The process was killed or could not start: it left no message, and its log "
        f"{tmp_path}/{'d' * 64}.log is empty."
    )


def test_a_password_that_the_end_of_the_log_begins_in_is_not_shown(tmp_path: Path) -> None:
    told = ended(tmp_path, writes_a_long_log_and_dies.__name__)

    assert told.endswith("x")
    assert "secret" not in told


def test_a_process_that_dies_after_its_caller_stopped_waiting_is_told_to_the_next_one_who_asks(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    folder = tmp_path / "works"
    folder.mkdir()
    request = str(gate).encode()
    with pytest.raises(DetachedStillRunning, match=r"for \d+ s by process \d+"):
        ask(folder, dies_when_told.__name__, request, wait=0)
    with gate.open("w"):
        wait_until(lambda: not is_at_work(folder), "the process did not die")

    with pytest.raises(DetachedFailure, match=r"\.log:\nthe linker was ended$"):
        ask(folder, waits_when_told.__name__, request, wait=0)
    with pytest.raises(DetachedStillRunning):
        ask(folder, waits_when_told.__name__, request, wait=0)
    with gate.open("w"):
        wait_until(lambda: not is_at_work(folder), "the process did not end")

    assert not detached(folder).pid_file.exists(), "the process that followed has ended by itself"


def test_work_that_is_asked_about_and_done_is_not_claimed_right_after(tmp_path: Path) -> None:
    """Closing the descriptor alone frees the lock late where another thread has just started a process."""
    with detached(tmp_path).claim() as claim:
        assert claim is not None
        copy = os.dup(claim.descriptor)  # as a process has it that has not closed its copy yet

    was_at_work = is_at_work(tmp_path)
    os.close(copy)

    assert not was_at_work


def is_at_work(folder: Path) -> bool:
    with detached(folder).claim() as claim:
        return claim is None
